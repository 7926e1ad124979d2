"""Requests that the Agents SDK was recorded to send, sent again.

They go out as they were recorded; only ids that the recording's server had minted, and that a
request refers to, are replaced by those minted here in their place.
"""

from typing import Any

import httpx2
import msgspec

from tests.whole.running import MODEL, ROOT, Running, function

RECORDED = ROOT / "tests/contract/samples/agents_sdk_captured_requests.json"
TOOL = function("get_weather", city="string")

SESSION = f"conv_{0:048}"
CONVERSATION = f"conv_{1:048}"
POPPED = f"msg_{'14':0>50}"
CALLS_IN_CONVERSATION = [f"call_{'1f':0>50}", f"call_{27:050}"]
CALL_IN_CHAIN = f"call_{'2f':0>50}"
PARENT = f"resp_{30:050}"
COMPACTED = f"resp_{38:050}"


class Request(msgspec.Struct, frozen=True):
    """One request; a body of a GET or DELETE is null."""

    method: str
    path: str
    body: msgspec.Raw


class Scenario(msgspec.Struct, frozen=True):
    """What one run sent."""

    scenario: str
    requests: list[Request]


class Recording(msgspec.Struct, frozen=True):
    """The file."""

    scenarios: list[Scenario]


SCENARIOS = msgspec.json.decode(RECORDED.read_bytes(), type=Recording).scenarios


class Replay:
    """Sends recorded requests to a server."""

    def __init__(self, http: httpx2.Client) -> None:
        self._http = http
        self._minted: dict[str, str] = {}
        self.streamed = 0

    def prepare(self) -> None:
        """Make what requests refer to but did not make themselves."""
        self._minted[CONVERSATION] = self._made("/v1/conversations", {})["id"]
        asked: dict[str, Any] = {
            "model": MODEL,
            "input": "[[call get_weather]]",
            "tools": [TOOL],
        }
        parent = self._made("/v1/responses", asked)
        self._minted[PARENT] = parent["id"]
        self._minted[CALL_IN_CHAIN] = parent["output"][0]["call_id"]
        self._minted[COMPACTED] = self._made("/v1/responses", {"model": MODEL, "input": "x"})["id"]

    def send(self, request: Request) -> None:
        """Send one and learn from the answer what it minted."""
        body = bytes(request.body)
        self._answer_for(body)
        answer = self._http.request(
            request.method,
            self._replaced(request.path),
            content=None if body == b"null" else self._replaced(body.decode()),
        )
        told = f"{request.method} {request.path}: {answer.text}"
        assert answer.status_code == 200, told
        if answer.headers["content-type"].startswith("text/event-stream"):
            assert "event: response.completed\n" in told
            self.streamed += 1
            return
        given = answer.json()
        if request.path == "/v1/conversations":
            self._minted[SESSION] = given["id"]
        elif request.path == "/v1/responses":
            assert given["status"] == "completed", told
        elif request.path.endswith("?order=desc"):
            self._minted[POPPED] = given["data"][0]["id"]

    def _answer_for(self, body: bytes) -> None:
        """Make the call that ``body`` answers: the recording's model made others than this one."""
        for call_id in CALLS_IN_CONVERSATION:
            if call_id.encode() in body:
                call = {
                    "type": "function_call",
                    "call_id": call_id,
                    "name": "get_weather",
                    "arguments": "{}",
                }
                items = f"/v1/conversations/{self._minted[CONVERSATION]}/items"
                self._made(items, {"items": [call]})

    def _made(self, path: str, body: dict[str, Any]) -> Any:
        answer = self._http.post(path, json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def _replaced(self, text: str) -> str:
        for recorded, minted in self._minted.items():
            text = text.replace(recorded, minted)
        return text


def test_every_recorded_request_is_accepted(running: Running):
    with running.http() as http:
        replay = Replay(http)
        replay.prepare()
        for scenario in SCENARIOS:
            for request in scenario.requests:
                replay.send(request)

    assert replay.streamed == 1
    assert len(SCENARIOS) == 10
