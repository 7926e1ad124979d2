"""A gateway that is told to stop leaves nobody without a word."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest
from websockets.exceptions import ConnectionClosed

from tests.whole.running import MODEL, WAIT_S, Child, Running, begin_gateway, listed, until
from tests.whole.test_streaming import FRAME, events_of
from tests.whole.wire import Wire, of_lane, wired

STOP_WAIT_S = 3.0
LONG = "[[gate stop-long 5]] [[words 120]]"
PATIENT_S = 60.0
"""Seconds it may take that nobody waits for."""


@pytest.fixture(params=[STOP_WAIT_S])
def gateway(shared: Running, request: pytest.FixtureRequest) -> Iterator[tuple[str, Child]]:
    url, child = begin_gateway(shared, stop_wait_s=str(request.param))
    try:
        yield url, child
    finally:
        child.process.kill()


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as executor:
        yield executor


def post(running: Running, url: str, text: str, **fields: Any) -> httpx2.Response:
    with running.http(url) as http:
        return http.post("/v1/responses", json={"model": MODEL, "input": text, **fields})


def told(answer: httpx2.Response) -> list[dict[str, Any]]:
    """Events of a stream, whichever they end with."""
    assert answer.status_code == 200
    assert FRAME.sub(b"", answer.content) == b""
    events = [json.loads(data) for _, data in FRAME.findall(answer.content)]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    return events


def stopping(child: Child) -> None:
    """Tell it to stop, and wait until it knows."""
    child.process.terminate()
    child.said("gateway.stopping")


def test_what_cannot_end_in_time_is_told_to_come_again(
    shared: Running, gateway: tuple[str, Child], pool: ThreadPoolExecutor
):
    url, child = gateway
    with shared.client(url) as client:
        kept, plain = client.conversations.create().id, client.conversations.create().id
    streams = [
        pool.submit(post, shared, url, f"{LONG} stop-s", stream=True, conversation=kept),
        pool.submit(post, shared, url, f"{LONG} stop-b", stream=True, background=True),
    ]
    long = pool.submit(post, shared, url, "[[gate stop-long]] stop-p", conversation=plain)
    in_time = [
        pool.submit(post, shared, url, "[[gate stop-short]] stop-t"),
        pool.submit(post, shared, url, "[[gate stop-short 3]] stop-q", stream=True),
    ]
    for mark in "sbptq":
        until(lambda m=mark: shared.received_with(f"stop-{m}"))
    stopping(child)
    shared.open_gate("stop-short")

    assert child.process.wait(WAIT_S) == 0
    assert in_time[0].result().json()["status"] == "completed"
    assert events_of(in_time[1].result().content)[-1]["type"] == "response.completed"
    refused = long.result()
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    assert refused.json()["error"] == {
        "message": "The server is stopping; the turn goes on. Please retry.",
        "type": "server_error",
        "param": None,
        "code": None,
    }
    heard = [told(stream.result()) for stream in streams]
    for events in heard:
        assert events[-1] == {
            "type": "error",
            "code": "server_error",
            "message": "The server is stopping; the turn goes on. Please retry.",
            "param": None,
            "sequence_number": len(events) - 1,
        }

    # What the client was told is so: the turns go on, and are told from where it was left.
    shared.open_gate("stop-long")
    for conversation in (kept, plain):
        until(lambda c=conversation: shared.events(c)[-1] == "turn_completed")
        with shared.http() as http:
            assert len(listed(http, conversation)) == 2
    background = heard[1]
    with shared.http() as http:
        rest = http.get(
            f"/v1/responses/{background[0]['response']['id']}",
            params={"stream": "true", "starting_after": str(len(background) - 2)},
        )
    later = [json.loads(data) for _, data in FRAME.findall(rest.content)]
    whole = [*background[:-1], *later]
    assert [event["sequence_number"] for event in whole] == list(range(len(whole)))
    assert whole[-1]["type"] == "response.completed"
    said = "".join(e["delta"] for e in whole if e["type"] == "response.output_text.delta")
    assert len(said.split()) == 120


def test_a_repeat_elsewhere_has_the_turn_that_was_left(
    shared: Running, gateway: tuple[str, Child], pool: ThreadPoolExecutor
):
    url, child = gateway
    body = {"model": MODEL, "input": "[[gate stop-again]] stop-again"}

    def ask(where: str, count: int) -> httpx2.Response:
        with shared.http(where) as http:
            return http.post(
                "/v1/responses", json=body, headers={"X-Stainless-Retry-Count": str(count)}
            )

    first = pool.submit(ask, url, 0)
    until(lambda: shared.received_with("stop-again"))
    assert child.end() == 0
    assert first.result().status_code == 503
    again = pool.submit(ask, shared.url, 1)
    shared.open_gate("stop-again")
    assert again.result().json()["status"] == "completed"
    assert len(shared.received_with("stop-again")) == 1


@pytest.mark.parametrize("gateway", [PATIENT_S], indirect=True)
def test_what_is_idle_does_not_hold_it_up(shared: Running, gateway: tuple[str, Child]):
    url, child = gateway
    with shared.http(url) as http, wired(url) as wire:
        assert http.get("/v1/models").status_code == 200
        wire.response("x")
        assert child.end(wait_s=PATIENT_S / 2) == 0
        closed(wire)
        with pytest.raises(httpx2.TransportError):
            http.get("/v1/models")


def test_lanes_of_a_websocket_are_told_what_has_begun_on_them(
    shared: Running, gateway: tuple[str, Child], pool: ThreadPoolExecutor
):
    url, child = gateway
    with wired(url) as wire:
        wire.ask("[[gate lane-long 3]] stop-lane-long", stream_id="long")
        wire.ask("[[gate lane-short 3]] stop-lane-short", stream_id="short")
        wire.ask("stop-lane-behind", stream_id="short")
        for mark in ("long", "short"):
            until(lambda m=mark: shared.received_with(f"stop-lane-{m}"))
        heard = pool.submit(wire.until_ends, 3)
        stopping(child)
        shared.open_gate("lane-short")
        assert child.process.wait(WAIT_S) == 0
        frames = heard.result(WAIT_S)
        closed(wire)
    shared.open_gate("lane-long")
    short, long = of_lane(frames, "short"), of_lane(frames, "long")
    assert [frame["type"] for frame in short[-2:]] == ["response.completed", "error"]
    assert short[-1]["status"] == long[-1]["status"] == 503
    assert short[-1]["error"]["message"] == "The server is stopping. Please retry."
    assert long[-1]["error"]["message"] == (
        "The server is stopping; the turn goes on. Please retry."
    )
    assert shared.received_with("stop-lane-behind") == []
    with shared.client() as client:
        until(lambda: shared.turns_waiting() == 0)
        begun = long[0]["response"]["id"]
        assert client.responses.retrieve(begun).status == "completed"


def closed(wire: Wire) -> None:
    """The connection has ended, in words after which the SDK connects again."""
    with pytest.raises(ConnectionClosed) as ended:
        wire.frame()
    assert ended.value.rcvd is not None
    assert ended.value.rcvd.code == 1012
