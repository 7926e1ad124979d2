"""Encrypted content that was not written here is refused at every door, and leaves no trace."""

import base64
import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import pytest

from services.sealing import Sealer, fresh_key
from tests.whole.asking import request, told
from tests.whole.running import MODEL, Running, message, until
from tests.whole.wire import wired

Items = list[dict[str, Any]]
Door = Callable[[Running, httpx2.Client, Items], tuple[int, dict[str, Any]]]
"""Sends items through one door; the status and the error that came back."""


@pytest.fixture
def http(shared: Running) -> Iterator[httpx2.Client]:
    with shared.http() as bytes_as_they_come:
        yield bytes_as_they_come


@pytest.fixture(scope="module")
def genuine(shared: Running) -> dict[str, Any]:
    """A compaction item of this server."""
    with shared.http() as http:
        body = {"model": MODEL, "input": "Hello"}
        item: dict[str, Any] = http.post("/v1/responses/compact", json=body).json()["output"][-1]
    return item


def _posted(path: str, name: str, **beside: object) -> Door:
    def door(_running: Running, http: httpx2.Client, items: Items) -> tuple[int, dict[str, Any]]:
        where = path
        if "{conversation}" in path:
            made = http.post("/v1/conversations", json={}).json()
            where = path.format(conversation=made["id"])
        answer = http.post(where, json={name: items, **beside})
        return answer.status_code, answer.json()["error"]

    return door


def _on_a_connection(**beside: object) -> Door:
    def door(running: Running, _http: httpx2.Client, items: Items) -> tuple[int, dict[str, Any]]:
        with wired(running.url) as wire:
            wire.ask(items, **beside)
            frame = wire.refusal()
            return frame["status"], frame["error"]

    return door


def _on_the_queue(running: Running, _http: httpx2.Client, items: Items) -> tuple[int, Any]:
    asked = request("")
    asked["body"]["input"] = items
    (last,) = told(running, asked)
    headers = last.headers or {}
    return int(headers["Turnlog-Status"]), json.loads(last.data)["error"]


DOORS: dict[str, Door] = {
    "create": _posted("/v1/responses", "input", model=MODEL),
    "streamed": _posted("/v1/responses", "input", model=MODEL, stream=True),
    "background": _posted("/v1/responses", "input", model=MODEL, background=True),
    "unstored": _posted("/v1/responses", "input", model=MODEL, store=False),
    "unstored_streamed": _posted("/v1/responses", "input", model=MODEL, store=False, stream=True),
    "compact": _posted("/v1/responses/compact", "input", model=MODEL),
    "input_tokens": _posted("/v1/responses/input_tokens", "input", model=MODEL),
    "conversation": _posted("/v1/conversations", "items"),
    "items": _posted("/v1/conversations/{conversation}/items", "items"),
    "websocket": _on_a_connection(),
    "websocket_unstored": _on_a_connection(store=False),
    "queue": _on_the_queue,
}


def changed(blob: str, at: int, bits: int = 1) -> str:
    raw = bytearray(base64.urlsafe_b64decode(blob))
    raw[at] ^= bits
    return base64.urlsafe_b64encode(bytes(raw)).decode()


SPOILT: dict[str, Callable[[str], str]] = {
    "other_version": lambda blob: changed(blob, 1, 3),
    "as_of_an_upstream": lambda blob: changed(blob, 0, ord("t") ^ ord("u")),
    "other_key": lambda blob: changed(blob, 5),
    "other_nonce": lambda blob: changed(blob, 12),
    "forged": lambda blob: changed(blob, 24),
    "other_tag": lambda blob: changed(blob, -1),
    "half": lambda blob: blob[: len(blob) // 2],
    "truncated": lambda blob: blob[:-4],
    "longer": lambda blob: blob + "AAAA",
    "twice": lambda blob: blob.rstrip("=") + blob,
    "other_alphabet": lambda blob: "+" + blob[1:],
    "foreign": lambda _blob: Sealer(fresh_key()).seal("Written by another server."),
    "foreign_upstream": lambda _blob: Sealer(fresh_key()).enclose("gAAAAABo"),
    "of_the_hosted_service": lambda _blob: "gAAAAABo...opaque",
    "empty": lambda _blob: "",
    "no_base64": lambda _blob: "\u0000 é ☃",
}


def refused(
    running: Running, http: httpx2.Client, door: str, item: dict[str, Any], blob: str
) -> None:
    """It is, in the contract's words; the items beside it are of no use to it."""
    items = [message("Hello"), {**item, "encrypted_content": blob}]
    status, error = DOORS[door](running, http, items)
    assert (status, error["code"]) == (400, "invalid_encrypted_content"), error
    assert (error["type"], error["param"]) == ("invalid_request_error", None)
    assert error["message"].startswith(
        f"The encrypted content for item {item['id']} could not be verified. Reason: "
    )


@pytest.mark.parametrize("door", sorted(DOORS))
def test_content_this_server_did_not_write_is_refused(
    shared: Running, http: httpx2.Client, genuine: dict[str, Any], door: str
):
    before = shared.last_sequence()
    for spoil in SPOILT.values():
        refused(shared, http, door, genuine, spoil(genuine["encrypted_content"]))
    commits = len(SPOILT) if door == "items" else 0
    assert shared.last_sequence() == before + commits
    until(lambda: shared.turns_waiting() == 0)


def test_content_changed_anywhere_is_refused(
    shared: Running, http: httpx2.Client, genuine: dict[str, Any]
):
    blob = genuine["encrypted_content"]
    size = len(base64.urlsafe_b64decode(blob))
    doors = ("conversation", "unstored", "compact", "input_tokens")
    before = shared.last_sequence()
    for at in range(size):
        refused(shared, http, doors[at % len(doors)], genuine, changed(blob, at, 1 << at % 8))
    assert shared.last_sequence() == before


def test_content_as_it_was_written_is_taken_at_every_door(
    shared: Running, http: httpx2.Client, genuine: dict[str, Any]
):
    for path, name, beside in (
        ("/v1/responses", "input", {"model": MODEL}),
        ("/v1/responses", "input", {"model": MODEL, "store": False}),
        ("/v1/responses/compact", "input", {"model": MODEL}),
        ("/v1/responses/input_tokens", "input", {"model": MODEL}),
        ("/v1/conversations", "items", {}),
    ):
        answer = http.post(path, json={name: [genuine, message("Hi")], **beside})
        assert answer.status_code == 200, answer.text
    with wired(shared.url) as wire:
        assert wire.response([genuine, message("Hi")], store=False)["status"] == "completed"
