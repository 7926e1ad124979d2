"""Frames no SDK would send: each is told what is wrong with it, and the connection goes on."""

import json
import os
import socket
import struct
from collections.abc import Iterator
from typing import Any

import pytest
import websockets.exceptions
from websockets.sync.client import connect

from tests.whole.running import MODEL, WAIT_S, Running
from tests.whole.wire import Wire, wired

MEBIBYTE = 1 << 20
CREATE = {"type": "response.create", "model": MODEL, "input": "x"}


@pytest.fixture
def wire(shared: Running) -> Iterator[Wire]:
    with wired(shared.url) as connection:
        yield connection


def frame(**fields: Any) -> str:
    return json.dumps(CREATE | fields)


@pytest.mark.parametrize(
    ("sent", "code", "param"),
    [
        ("", "missing_required_parameter", "type"),
        (" ", "invalid_json", None),
        ("{", "invalid_json", None),
        ("nonsense", "invalid_json", None),
        ('{"type":"response.create","input":[}', "invalid_json", None),
        ("[" * 100_000, "invalid_json", None),
        ('{"a":' * 300 + "1" + "}" * 300, "invalid_json", None),
        ("null", "invalid_type", None),
        ("[]", "invalid_type", None),
        ('"response.create"', "invalid_type", None),
        ("{}", "missing_required_parameter", "type"),
        ('{"type":null}', "missing_required_parameter", "type"),
        ('{"type":7}', "invalid_type", "type"),
        ('{"type":"response.created"}', "invalid_value", "type"),
        ('{"type":"ping"}', "invalid_value", "type"),
        (b'{"type":"response.create"}', "invalid_frame", None),
        (b"", "invalid_frame", None),
        (
            '{"type":"response.steer","previous_response_id":"resp_1","input":[]}',
            "steering_not_supported",
            None,
        ),
        (frame(stream_id=""), "invalid_stream_id", "stream_id"),
        (frame(stream_id="x" * 257), "invalid_stream_id", "stream_id"),
        (frame(stream_id="a b"), "invalid_stream_id", "stream_id"),
        (frame(stream_id='a"b'), "invalid_stream_id", "stream_id"),
        (frame(stream_id="lane\n"), "invalid_stream_id", "stream_id"),
        (frame(stream_id="é"), "invalid_stream_id", "stream_id"),
        (frame(stream_id=1), "invalid_stream_id", "stream_id"),
        (frame(stream_id=["a"]), "invalid_stream_id", "stream_id"),
        (frame(generate="no"), "invalid_type", "generate"),
        (frame(model=None), "invalid_type", "model"),
        (frame(input=None), "missing_required_parameter", None),
        (frame(input=[{"type": "nothing"}]), "invalid_value", "input[0].type"),
        (frame(temperature=3), "decimal_above_max_value", "temperature"),
        (frame(conversation="x"), "invalid_value", "conversation"),
        (frame(conversation="conv_00000000"), None, None),
        (frame(previous_response_id="resp_1"), "previous_response_not_found", None),
        (
            frame(previous_response_id="resp_1", conversation="conv_1"),
            "mutually_exclusive_parameters",
            None,
        ),
        (frame(model="nope"), "model_not_found", "model"),
    ],
)
def test_a_frame_that_cannot_be_read_is_told_so(
    wire: Wire, sent: str | bytes, code: str | None, param: str | None
):
    wire.send(sent)
    refused = wire.refusal()

    assert 400 <= refused["status"] < 500
    assert set(refused) == {"type", "status", "error"}
    assert list(refused["error"]) == ["type", "code", "message", "param"]
    assert refused["error"]["type"] == "invalid_request_error"
    assert refused["error"]["code"] == code
    if param is not None:
        assert refused["error"]["param"] == param
    assert wire.response("still here")["status"] == "completed"


@pytest.mark.parametrize("name", ["x" * 256, ".", "-_.A9", "None", "null"])
def test_a_lane_may_be_called_so(wire: Wire, name: str):
    wire.ask("x", stream_id=name)
    assert {each["stream_id"] for each in wire.answer()} == {name}


@pytest.mark.parametrize("empty", [{"stream_id": None}, {"generate": None}, {"background": True}])
def test_what_has_no_meaning_is_ignored(wire: Wire, empty: dict[str, Any]):
    wire.ask("x", stream=False, **empty)
    response = wire.answer()[-1]["response"]
    assert (response["status"], response["background"]) == ("completed", False)


def test_an_error_of_a_lane_says_so(wire: Wire):
    wire.ask({"no": "input"}, stream_id="lane")
    refused = wire.refusal()
    assert (refused["stream_id"], refused["error"]["param"]) == ("lane", "input")


def test_a_frame_above_the_limit_is_refused_and_the_connection_goes_on(wire: Wire):
    wire.ask("x" * 6 * MEBIBYTE)
    refused = wire.refusal()
    assert (refused["status"], refused["error"]["code"]) == (413, "request_too_large")
    assert wire.response("x" * 4 * MEBIBYTE)["status"] == "completed"


def test_a_history_that_has_outgrown_a_request_is_refused(wire: Wire):
    first = wire.response("x" * 5 * MEBIBYTE, store=False)
    wire.ask("y" * 4 * MEBIBYTE, store=False, previous_response_id=first["id"])
    refused = wire.refusal()
    assert (refused["status"], refused["error"]["code"]) == (413, "request_too_large")
    assert "history" in refused["error"]["message"]
    assert wire.response("small")["status"] == "completed"


@pytest.mark.parametrize(
    ("payload", "close_code"),
    [
        (b"\x81\xff" + struct.pack("!Q", 1 << 40) + b"\0\0\0\0", 1009),  # larger than is read
        (b"\x81\x81\0\0\0\0\xff", 1007),  # not UTF-8
        (b"\x83\x81\0\0\0\0a", 1002),  # an opcode that means nothing
        (b"\x81\x01a", 1002),  # not masked
        (b"\xc1\x81\0\0\0\0a", 1002),  # a compressed frame, which was not agreed upon
        (b"\x80\x81\0\0\0\0a", 1002),  # the end of nothing
        (b"\x88\x82\0\0\0\0\x00\x01", 1002),  # a farewell with a code that does not exist
    ],
)
def test_what_breaks_the_protocol_ends_the_connection(
    shared: Running, payload: bytes, close_code: int
):
    with wired(shared.url) as wire:
        wire.socket.socket.sendall(payload)
        with pytest.raises(websockets.exceptions.ConnectionClosed) as closed:
            wire.frame()
    assert closed.value.rcvd
    assert closed.value.rcvd.code == close_code
    assert shared.health()[0] == 200


def test_a_message_in_many_pieces_is_one(wire: Wire):
    wire.socket.send(iter(frame(input="[[say in pieces]]")))
    assert wire.answer()[-1]["response"]["output"][0]["content"][0]["text"] == "in pieces"


def test_pings_are_answered_between_the_pieces_of_an_answer(shared: Running, wire: Wire):
    wire.ask("[[gate pinged 5]] [[words 30]]")
    for _ in range(5):
        wire.frame()
        assert wire.socket.ping(os.urandom(8)).wait(WAIT_S)
    shared.open_gate("pinged")
    assert wire.answer()[-1]["type"] == "response.completed"


@pytest.mark.parametrize(
    ("origin", "status"),
    [("http://evil.example", 403), ("null", 403), ("https://127.0.0.1:1", 403), (None, 101)],
)
def test_pages_of_other_sites_may_not_connect(shared: Running, origin: str | None, status: int):
    own = shared.url
    headers = {} if origin is None else {"Origin": origin}
    if status == 101:
        with wired(own, additional_headers={"Origin": own}) as wire:
            assert wire.response("from our own page")["status"] == "completed"
        return
    with pytest.raises(websockets.exceptions.InvalidStatus) as refused:
        connect(own.replace("http", "ws") + "/v1/responses", additional_headers=headers)
    assert refused.value.response.status_code == status
    body = json.loads(refused.value.response.body)
    assert body["error"]["code"] == "origin_not_allowed"
    assert refused.value.response.headers["x-request-id"].startswith("req_")


def test_a_handshake_that_asks_for_an_unknown_overlap_is_refused(shared: Running):
    with (
        pytest.raises(websockets.exceptions.InvalidStatus) as refused,
        wired(shared.url, additional_headers={"Turnlog-Overlap": "push"}),
    ):
        pass
    assert refused.value.response.status_code == 400
    assert json.loads(refused.value.response.body)["error"]["param"] == "Turnlog-Overlap"


def test_only_responses_are_reached_by_websocket(shared: Running):
    with pytest.raises(websockets.exceptions.InvalidStatus) as refused:
        connect(shared.url.replace("http", "ws") + "/v1/conversations")
    assert refused.value.response.status_code == 403
    with shared.http() as http:
        assert http.get("/v1/responses").status_code == 405


def test_a_handshake_that_is_none_is_refused(shared: Running):
    host, port = shared.url.removeprefix("http://").split(":")
    for key in ("", "Sec-WebSocket-Key: short\r\n"):
        with socket.create_connection((host, int(port)), timeout=10) as raw:
            raw.sendall(
                b"GET /v1/responses HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n"
                b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" + key.encode() + b"\r\n"
            )
            assert raw.recv(4096).startswith(b"HTTP/1.1 400 ")
    assert shared.health()[0] == 200
