"""Answers that wait until somebody opens their gate."""

import asyncio
import json
import time

import httpx2 as httpx
import pytest

from services.simulator.gates import Gates
from tests.simulator.exchanges import listed, until


@pytest.fixture
async def http(simulator_url):
    async with httpx.AsyncClient(
        base_url=simulator_url.removesuffix("/v1"), timeout=30
    ) as connected:
        yield connected


@pytest.fixture
def name():
    return f"gate-{time.monotonic_ns()}"


async def opened(http, name):
    assert (await http.post(f"/simulator/gates/{name}")).json() == {}


async def asked(http, text):
    await until(lambda: listed(http, text))


def body(api, text, *, stream):
    said = {"input": text} if api == "responses" else {"messages": [message(text)]}
    return {"model": "simulator", "stream": stream, **said}


def message(text):
    return {"role": "user", "content": text}


@pytest.mark.parametrize("api", ["responses", "chat/completions"])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("place", ["", " 2", " last"])
async def test_an_answer_waits_for_its_gate_and_is_the_same(http, name, api, stream, place):
    text = f"[[say one two three four]] [[gate {name}{place}]]"
    asking = asyncio.create_task(http.post(f"/v1/{api}", json=body(api, text, stream=stream)))
    await asked(http, name)
    done, _ = await asyncio.wait({asking}, timeout=0.05)
    assert not done
    await opened(http, name)
    answer = await asking
    assert answer.status_code == 200
    assert " three" in answer.text
    # From now on it is open.
    again = await http.post(f"/v1/{api}", json=body(api, text, stream=stream))
    assert len(again.content) == len(answer.content)


@pytest.mark.parametrize(
    ("place", "last", "deltas"),
    [
        ("0", "response.content_part.added", 0),
        ("2", "response.output_text.delta", 2),
        ("last", "response.output_item.done", 4),
    ],
)
async def test_a_gate_lets_so_many_deltas_pass(http, name, place, last, deltas):
    text = f"[[say one two three four]] [[gate {name} {place}]]"
    seen = []
    async with http.stream(
        "POST", "/v1/responses", json=body("responses", text, stream=True)
    ) as it:
        lines = it.aiter_lines()
        # What never comes ends in the client's own patience.
        while not (seen[-1:] == [last] and seen.count("response.output_text.delta") == deltas):
            line = await anext(lines)
            if line.startswith("data: "):
                seen.append(json.loads(line[6:])["type"])
        (exchange,) = await listed(http, name)
        assert exchange["ended"] is False
        await opened(http, name)
        assert '"type":"response.completed"' in "".join([line async for line in lines])


async def test_a_client_that_leaves_a_gate_is_noticed(http, name):
    asking = asyncio.create_task(
        http.post("/v1/responses", json=body("responses", f"[[gate {name}]]", stream=True))
    )
    await asked(http, name)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)

    async def ended():
        (exchange,) = await listed(http, name)
        return exchange["ended"]

    await until(ended)
    (exchange,) = await listed(http, name)
    assert exchange["aborted"] is True


async def test_what_is_forgotten_closes_what_was_open_and_keeps_who_waits(http, name):
    await opened(http, name)
    await http.delete("/simulator/requests")
    request = body("responses", f"[[gate {name}]]", stream=False)
    asking = asyncio.create_task(http.post("/v1/responses", json=request))
    await asked(http, name)
    await http.delete("/simulator/requests")
    assert not asking.done()
    await opened(http, name)
    assert (await asking).status_code == 200


def test_open_gates_are_bounded():
    gates = Gates(names_max=2)
    for name in ("a", "b", "c"):
        gates.open(name)
    assert [gates.opened(name).is_set() for name in ("c", "b")] == [True, True]
    assert not gates.opened("a").is_set()
