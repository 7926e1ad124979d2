"""What is put into a conversation comes out of it again: in pages of any size, and one by one."""

import json
import sys
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from openai import OpenAI

from tests.whole.conversing import CHUNK, Recorded, recorded
from tests.whole.running import Running, together

ADDED = {"id", "type", "status"}
"""What the contract adds to an item; and parts around a string."""


def stored_form(sent: dict[str, Any], stored: dict[str, Any]) -> dict[str, Any]:
    """What ``sent`` must come back as, given the id it was stored under."""
    expected = {"type": "message", "status": "completed", **sent, "id": stored["id"]}
    if isinstance(sent.get("content"), str):
        text = sent["content"]
        part: dict[str, Any] = {"type": "input_text", "text": text}
        if sent["role"] == "assistant":
            part = {"type": "output_text", "annotations": [], "logprobs": [], "text": text}
        expected["content"] = [part]
    return expected


def listed(http: httpx2.Client, conversation_id: str, **query: object) -> list[dict[str, Any]]:
    return list(_pages(http, f"/v1/conversations/{conversation_id}/items", query))


def _pages(http: httpx2.Client, path: str, query: dict[str, object]) -> Iterator[dict[str, Any]]:
    after: dict[str, str] = {}
    while True:
        page = http.get(path, params={**query, **after}).json()
        assert len(page["data"]) <= int(str(query["limit"]))
        yield from page["data"]
        if not page["has_more"]:
            return
        assert page["last_id"] == page["data"][-1]["id"]
        after = {"after": page["last_id"]}


def round_trip(client: OpenAI, http: httpx2.Client, given: Recorded) -> tuple[int, int]:
    """Create, list and retrieve one conversation; items and bytes that came back."""
    sent = given.items
    conversation = client.conversations.create(items=sent[:CHUNK])
    for at in range(CHUNK, len(sent), CHUNK):
        client.conversations.items.create(conversation.id, items=sent[at : at + CHUNK])
    whole = listed(http, conversation.id, limit=100, order="asc")
    assert whole == [stored_form(*pair) for pair in zip(sent, whole, strict=True)]
    assert all(set(stored) - set(item) <= ADDED for item, stored in zip(sent, whole, strict=True))
    for limit in (1, 7, 100):
        assert listed(http, conversation.id, limit=limit, order="asc") == whole
        assert listed(http, conversation.id, limit=limit, order="desc") == whole[::-1]
    for item in whole:
        path = f"/v1/conversations/{conversation.id}/items/{item['id']}"
        assert http.get(path).json() == item
    return len(whole), len(json.dumps(whole))


@pytest.fixture(scope="module")
def conversations() -> list[Recorded]:
    return recorded()


def test_every_conversation_comes_back_as_it_was_sent(
    shared: Running, conversations: list[Recorded]
):
    with shared.client(timeout=300) as client, shared.http(timeout=300) as http:
        found = together(lambda each: round_trip(client, http, each), conversations, workers=8)
    items, size = (sum(column) for column in zip(*found, strict=True))
    told = {"conversations": len(found), "items": items, "bytes": size}
    sys.stdout.write(json.dumps(told) + "\n")
