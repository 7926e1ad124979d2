import asyncio
import json
import signal
import subprocess
import sys

import httpx2 as httpx
import pytest
from openai import NotFoundError

from services.simulator.received import Received


@pytest.fixture
async def http(simulator_url):
    async with httpx.AsyncClient(base_url=simulator_url.removesuffix("/v1")) as connected:
        yield connected


async def test_its_models_are_listed(client):
    assert [model.id async for model in client.models.list()] == [
        "simulator",
        "simulator-reasoning",
        "simulator-forgetful",
    ]


async def test_any_model_but_an_unknown_one_can_be_looked_up(client):
    assert (await client.models.retrieve("mine/with-a-slash")).id == "mine/with-a-slash"
    with pytest.raises(NotFoundError, match="The requested model 'nope' does not exist") as caught:
        await client.models.retrieve("nope")
    assert (caught.value.param, caught.value.code) == ("model", "model_not_found")


async def test_received_requests_are_told_as_they_came(http):
    await http.delete("/simulator/requests")
    bodies = [b'{"model": "a",  "input":"1"}', b'{"model":"b","messages":[]}', b"{broken"]
    await http.post("/v1/responses", content=bodies[0], headers={"Authorization": "Bearer x"})
    await http.post("/v1/chat/completions", content=bodies[1])
    await http.post("/v1/responses", content=bodies[2])
    newest = (await http.get("/simulator/requests?limit=1")).json()
    listed = (await http.get("/simulator/requests")).json()
    assert newest == listed[-1:]
    numbers = [request.pop("number") for request in listed]
    assert numbers == [numbers[0], numbers[0] + 1, numbers[0] + 2]
    ended = {"ended": True, "aborted": False}
    assert listed == [
        {
            "path": "/v1/responses",
            "headers": {"authorization": True},
            "body": {"model": "a", "input": "1"},
            **ended,
        },
        {
            "path": "/v1/chat/completions",
            "headers": {"authorization": False},
            "body": {"model": "b", "messages": []},
            **ended,
        },
        {
            "path": "/v1/responses",
            "headers": {"authorization": False},
            "body": "{broken",
            **ended,
        },
    ]
    assert bodies[0] in (await http.get("/simulator/requests")).content


async def test_calls_are_counted_by_api(http):
    before = (await http.get("/simulator/counts")).json()
    await http.post("/v1/responses", json={"model": "m", "input": "Hi"})
    await http.delete("/simulator/requests")
    after = (await http.get("/simulator/counts")).json()
    assert after["responses"] == before["responses"] + 1
    assert after["chat_completions"] == before["chat_completions"]


@pytest.mark.parametrize("path", ["/v1/responses", "/v1/chat/completions"])
async def test_a_body_that_is_no_json_is_refused(http, path):
    for content, code in ((b"{broken", "invalid_json"), (b"[]", "invalid_type")):
        response = await http.post(path, content=content)
        assert (response.status_code, response.json()["error"]["code"]) == (400, code)


async def test_a_stream_without_delays_is_a_single_write(http):
    body = {"model": "m", "input": "Hi", "stream": True}
    async with http.stream("POST", "/v1/responses", json=body) as response:
        parts = [part async for part in response.aiter_raw()]
    assert len(parts) == 1


async def test_a_long_stream_comes_whole(client):
    async with client.responses.stream(model="m", input="[[words 9000]]") as stream:
        final = await stream.get_final_response()
    assert len(final.output_text.split()) == 9_000


def test_what_is_remembered_is_bounded_in_number_and_bytes():
    received = Received(requests_max=2, bytes_max=10)
    for body in (b"1", b"2", b"3"):
        received.add("/v1/responses", authorized=False, body=body)
    assert [request["body"] for request in json.loads(received.newest(9))] == [2, 3]
    received.add("/v1/responses", authorized=False, body=b'"1234567"')
    assert [request["body"] for request in json.loads(received.newest(9))] == [3, "1234567"]
    received.add("/v1/responses", authorized=False, body=b"1" * 11)
    assert json.loads(received.newest(9)) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_it_cleanly_with_a_connection_open(number):
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.simulator", stderr=subprocess.PIPE
    )
    started = json.loads(await process.stderr.readline())
    assert started["event"] == "simulator.started"
    async with httpx.AsyncClient(base_url=started["url"]) as connected:
        await connected.get("/models")
        process.send_signal(number)
        _, rest = await asyncio.wait_for(process.communicate(), timeout=5)
    assert (process.returncode, rest) == (0, b"")


async def test_a_port_in_use_is_said_in_one_line(simulator_url):
    port = simulator_url.removesuffix("/v1").rpartition(":")[2]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.simulator", "--port", port, stderr=subprocess.PIPE
    )
    _, said = await process.communicate()
    assert process.returncode == 1
    assert said == f"Error: cannot listen on 127.0.0.1:{port}: Address already in use\n".encode()
