"""How connections end, and that turns do not end with them."""

import json
import signal
import socket
import struct
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
import websockets.exceptions

from tests.whole.running import (
    MODEL,
    WAIT_S,
    Received,
    Running,
    another_gateway,
    begin_gateway,
    listed,
    texts,
    together,
    until,
)
from tests.whole.wire import TERMINAL, of_lane, wired


def ended_lines(running: Running, **fields: object) -> list[dict[str, Any]]:
    assert running.up is not None
    return running.up.lines("request.answered", method="WEBSOCKET", **fields)


@pytest.mark.parametrize("frames", [0, 1, 12])
def test_the_turn_of_a_client_that_leaves_is_finished(shared: Running, frames: int):
    with shared.client() as client, shared.http() as http:
        conversation = client.conversations.create()
        with wired(shared.url) as wire:
            text = f"[[gate left-wire-{frames} 12]] [[words 60]] left after {frames}"
            wire.ask(text, conversation=conversation.id)
            for _ in range(frames):
                wire.frame()
        shared.open_gate(f"left-wire-{frames}")
        items = until(lambda: listed(http, conversation.id))

    assert [json.loads(raw)["status"] for raw in items] == ["completed"] * 2
    assert len(texts(items)[1].split()) == 60


def test_the_turn_of_a_client_that_is_cut_off_is_finished(shared: Running):
    with shared.client() as client, shared.http() as http:
        conversation = client.conversations.create()
        with wired(shared.url) as wire:
            wire.ask("[[gate cut-off]] cut off", conversation=conversation.id)
            until(lambda: shared.received_with("cut off"))
            wire.socket.socket.shutdown(socket.SHUT_RDWR)
        shared.open_gate("cut-off")
        assert len(until(lambda: listed(http, conversation.id))) == 2


def test_what_waited_behind_a_turn_is_not_begun_once_the_client_has_left(shared: Running):
    shared.forget_received()
    known = len(ended_lines(shared))
    with wired(shared.url) as wire:
        wire.ask("[[gate begun-and-left 3]] begun and left")
        wire.ask("waited and never begun")
        wire.frame()
    until(lambda: len(ended_lines(shared)) > known)
    shared.open_gate("begun-and-left")
    until(lambda: shared.turns_waiting() == 0)

    assert len(shared.received_with("begun and left")) == 1
    assert shared.received_with("waited and never begun") == []


def test_an_unstored_turn_whose_client_leaves_is_kept_nowhere(shared: Running):
    until(lambda: shared.turns_waiting() == 0)
    before = shared.last_stored()
    with wired(shared.url) as wire:
        wire.ask("[[gate of-nobody 3]] of nobody", store=False)
        response_id = wire.frame()["response"]["id"]
        while wire.frame()["type"] != "response.output_text.delta":
            pass
    with wired(shared.url) as wire:
        assert wire.response("next", store=False)["status"] == "completed"
    shared.open_gate("of-nobody")
    until(lambda: _answer(shared, "of nobody").ended)
    assert shared.last_stored() == before
    assert shared.words_kept(response_id) == 0


def _answer(running: Running, text: str) -> Received:
    (found,) = [each for each in running.received() if text.encode() in bytes(each.body)]
    return found


def test_a_connection_leaves_one_line_in_the_log(shared: Running):
    known = len(ended_lines(shared))
    with wired(shared.url) as wire:
        assert wire.socket.response
        request_id = wire.socket.response.headers["x-request-id"]
        for _ in range(3):
            wire.response("the secret of the line")
    until(lambda: len(ended_lines(shared)) > known)

    (line,) = ended_lines(shared, request_id=request_id)
    assert (line["path"], line["status"], line["close_code"]) == ("/v1/responses", 101, 1000)
    assert line["duration_ms"] > 0
    assert shared.up is not None
    assert "the secret of the line" not in shared.up.log_path.read_text()


def test_a_connection_has_a_life(shared: Running):
    with another_gateway(shared, websocket_life_s="3") as url, wired(url) as wire:
        wire.ask("[[gate longer 3]] longer than the connection")
        while (frame := wire.frame())["type"] != "error":
            pass
        with pytest.raises(websockets.exceptions.ConnectionClosed) as closed:
            wire.frame()
        first = wire.heard[0]["response"]["id"]
    shared.open_gate("longer")

    assert frame == {
        "type": "error",
        "status": 400,
        "error": {
            "type": "invalid_request_error",
            "code": "websocket_connection_limit_reached",
            "message": "Responses websocket connection limit reached (0.05 minutes). "
            "Create a new websocket connection to continue.",
            "param": None,
        },
    }
    assert closed.value.rcvd
    assert closed.value.rcvd.code == 1001
    assert not {each["type"] for each in wire.heard} & set(TERMINAL)
    with shared.client() as client:
        until(lambda: shared.turns_waiting() == 0)
        assert client.responses.retrieve(first).status == "completed"


def test_a_gateway_that_stops_says_so_and_its_turns_go_on(shared: Running):
    url, gateway = begin_gateway(shared, stop_wait_s="2")
    with wired(url) as idle, wired(url) as busy, ThreadPoolExecutor(1) as pool:
        busy.ask("[[gate while-it-stops 3]] while it stops")
        first = busy.frame()["response"]["id"]
        idle.response("x")
        heard = pool.submit(busy.answer)
        assert gateway.end() == 0
        *_, told = heard.result(WAIT_S)
        assert (told["type"], told["status"]) == ("error", 503)
        for wire in (idle, busy):
            with pytest.raises(websockets.exceptions.ConnectionClosed) as closed:
                wire.frame()
            assert closed.value.rcvd
            assert closed.value.rcvd.code == 1012
    assert gateway.lines("request.answered", close_code=1012)
    assert "Traceback" not in gateway.log_path.read_text()
    shared.open_gate("while-it-stops")
    with shared.client() as client:
        until(lambda: shared.turns_waiting() == 0)
        assert client.responses.retrieve(first).status == "completed"


def test_the_sdk_connects_again_after_its_gateway_was_killed(wounded: Running):
    seen: list[int] = []
    with wounded.client() as client:
        conversation = client.conversations.create()
        with client.responses.connect(
            on_reconnecting=lambda event: seen.append(event.close_code), initial_delay=0.1
        ) as connection:
            connection.response.create(
                model=MODEL, input="[[gate before 3]] before", conversation=conversation.id
            )
            events = iter(connection)
            while (event := next(events)).type != "response.output_text.delta":
                if event.type == "response.created":
                    response_id = event.response.id
            wounded.kill("gateway")
            wounded.open_gate("before")
            with ThreadPoolExecutor(1) as pool:
                # Who waits for events is who connects again.
                later = pool.submit(lambda: next(each for each in events if each.type in TERMINAL))
                until(lambda: seen)
                until(lambda: wounded.turns_waiting() == 0)
                connection.response.create(
                    model=MODEL, input="after", previous_response_id=response_id
                )
                event = later.result(WAIT_S)

    assert seen[0] == 1006
    assert event.response.previous_response_id == response_id
    with wounded.http() as http:
        assert len(listed(http, conversation.id)) == 2


def test_a_turn_whose_responder_is_killed_is_told_to_its_end(wounded: Running):
    with wired(wounded.url) as wire:
        wire.ask("[[hang 3]] survives")
        while wire.frame()["type"] != "response.output_text.delta":
            pass
        wounded.kill("responder")
        last = wire.answer()[-1]

    assert last["type"] == "response.failed"
    assert last["response"]["error"]["code"] == "server_error"
    numbers = [frame["sequence_number"] for frame in wire.heard]
    assert numbers == list(range(len(numbers)))


def test_without_a_responder_an_unstored_turn_is_refused(wounded: Running):
    assert wounded.up is not None
    with wired(wounded.url) as wire:
        # Nor is another one started.
        wounded.up.process.send_signal(signal.SIGSTOP)
        try:
            wounded.kill("responder")
            until(lambda: "NoRespondersError" in str(wounded.health()))
            wire.ask("nobody is there", store=False)
            refused = wire.refusal()
        finally:
            wounded.up.process.send_signal(signal.SIGCONT)
        assert (refused["status"], refused["error"]["type"]) == (503, "server_error")
        assert refused["error"]["headers"] == {"retry-after": "1"}

        def answered() -> bool:
            wire.ask("somebody is there again", store=False)
            return wire.answer()[-1]["type"] == "response.completed"

        until(answered)


@contextmanager
def deaf(url: str, lanes: int) -> Iterator[socket.socket]:
    """A client that asks a lot and never reads an answer."""
    host, port = url.removeprefix("http://").split(":")
    with socket.socket() as raw:
        # As little as possible is taken on its behalf.
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.connect((host, int(port)))
        raw.sendall(
            b"GET /v1/responses HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n"
            b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        assert raw.recv(4096).startswith(b"HTTP/1.1 101 ")
        create = {"type": "response.create", "model": MODEL, "input": "[[words 20000]] deaf"}
        for number in range(lanes):
            text = json.dumps(create | {"stream_id": f"{number}"}).encode()
            raw.sendall(b"\x81\xfe" + struct.pack("!H", len(text)) + b"\0\0\0\0" + text)
        yield raw


def test_clients_that_do_not_read_hinder_nobody(shared: Running):
    url, gateway = begin_gateway(shared, stop_wait_s=str(2 * WAIT_S))
    shared.forget_received()
    with deaf(url, 4), deaf(url, 4) as leaving, wired(url) as wire:
        until(lambda: len(shared.received_with("deaf")) == 8)
        until(lambda: shared.turns_waiting() == 0)
        # All has been told by now, and is on its way to who does not take it.
        assert wire.response("in spite of them")["status"] == "completed"
        leaving.sendall(b"\x88\x82\0\0\0\0\x03\xe8")
        assert wire.response("in spite of its farewell")["status"] == "completed"
        # Nobody is waited for.
        assert gateway.end() == 0
    assert "Traceback" not in gateway.log_path.read_text()
    assert gateway.lines("gateway.stopped")
    assert len(gateway.lines("request.answered", status=101)) == 3


def test_many_connections_with_many_lanes_are_all_answered(shared: Running):
    def lead(number: int) -> int:
        with wired(shared.url) as wire:
            for step in range(3):
                for lane in range(6):
                    wire.ask(
                        f"[[words 12]] {number} {lane} {step}",
                        stream_id=f"{lane}",
                        store=lane % 2 == 0,
                    )
            frames = wire.until_ends(18)
        for lane in range(6):
            expected = 0
            for frame in of_lane(frames, f"{lane}"):
                assert frame["sequence_number"] == expected
                expected = 0 if frame["type"] in TERMINAL else expected + 1
            assert expected == 0
        return sum(frame["type"] == "response.completed" for frame in frames)

    assert together(lead, range(50), workers=50) == [18] * 50
