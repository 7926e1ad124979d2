"""Items of every type through the doors of a running instance, in the SDK's strict types."""

import json
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import httpx2
import openai
import pytest
from nats.aio.client import Client
from openai import OpenAI

from schemas.item_types import TYPES
from services.journal.keys import ContentKeys
from tests.schemas.item_shapes import (
    CONVERSATION_ITEM,
    MINIMAL,
    STORED,
    is_what_the_sdk_describes,
)
from tests.whole.running import MODEL, Running, listed, message

CHUNK = 20
T = TypeVar("T")
SUMMARY = "They spoke of the weather in Oslo."


@pytest.fixture
def client(shared: Running):
    with shared.client() as sdk:
        yield sdk


@pytest.fixture
def http(shared: Running):
    with shared.http() as plain:
        yield plain


@pytest.fixture(scope="module")
def blob(shared: Running) -> str:
    """What this installation has encrypted: it takes no compaction of others."""

    async def sealed(client: Client) -> str:
        return (await ContentKeys(client).sealer()).seal(SUMMARY)

    return shared.on_log(sealed)


def of_ours(items: list[dict[str, Any]], blob: str) -> list[dict[str, Any]]:
    """Samples that may be stored here, with a compaction that can be opened."""
    return [
        {**item, "encrypted_content": blob} if item.get("type") == "compaction" else item
        for item in items
        if item.get("type") not in {"item_reference", "compaction_trigger"}
    ]


def chunks(values: Sequence[T]) -> Iterator[list[T]]:
    """As many as one call takes."""
    return (list(values[start : start + CHUNK]) for start in range(0, len(values), CHUNK))


def created(http: httpx2.Client, conversation_id: str, items: list[dict[str, Any]]):
    """What items.create answers for all of them, a chunk at a time."""
    told = []
    for chunk in chunks(items):
        answer = http.post(f"/v1/conversations/{conversation_id}/items", json={"items": chunk})
        assert answer.status_code == 200, answer.text
        page = answer.json()
        assert (page["first_id"], page["last_id"]) == (
            page["data"][0]["id"],
            page["data"][-1]["id"],
        )
        told += page["data"]
    return told


def decoded(raws: list[bytes]) -> list[dict[str, Any]]:
    return [json.loads(raw) for raw in raws]


@pytest.mark.parametrize("sent", [STORED, MINIMAL], ids=["stored", "minimal"])
def test_items_of_every_type_are_created_listed_read_and_deleted(
    client: OpenAI, http: httpx2.Client, blob: str, sent: list[dict[str, Any]]
):
    given = of_ours(sent, blob)
    assert {item.get("type", "message") for item in given} == TYPES.keys()
    conversation = client.conversations.create()

    told = created(http, conversation.id, given)

    assert all(is_what_the_sdk_describes(item, CONVERSATION_ITEM) for item in told)
    for item, stored in zip(given, told, strict=True):
        kept = {name: value for name, value in item.items() if name != "content"}
        assert kept.items() <= stored.items()
    assert sent is MINIMAL or told == given
    assert decoded(listed(http, conversation.id, order="asc", limit=7)) == told
    assert decoded(listed(http, conversation.id, order="desc", limit=7)) == told[::-1]
    through_sdk = client.conversations.items.list(conversation.id, order="asc")
    assert [item.to_dict(mode="json") for item in through_sdk] == told

    for item in told:
        one = client.conversations.items.retrieve(item["id"], conversation_id=conversation.id)
        assert one.to_dict(mode="json") == item

    for item in told:
        left = client.conversations.items.delete(item["id"], conversation_id=conversation.id)
        assert left.id == conversation.id
        with pytest.raises(openai.NotFoundError):
            client.conversations.items.retrieve(item["id"], conversation_id=conversation.id)
    assert listed(http, conversation.id) == []


@pytest.mark.parametrize("nulls", [False, True])
def test_what_one_conversation_lists_another_takes_unchanged(
    client: OpenAI, http: httpx2.Client, blob: str, *, nulls: bool
):
    first, second = client.conversations.create(), client.conversations.create()
    told = created(http, first.id, of_ours(STORED, blob))
    models = list(client.conversations.items.list(first.id, order="asc"))
    sent = [model.model_dump(exclude_unset=not nulls, by_alias=True) for model in models]

    for chunk in chunks(sent):
        client.conversations.items.create(second.id, items=chunk)

    assert decoded(listed(http, second.id)) == sent
    assert nulls or sent == told


def test_a_turn_reads_a_conversation_of_every_type(
    shared: Running, client: OpenAI, http: httpx2.Client, blob: str
):
    conversation = client.conversations.create()
    told = created(http, conversation.id, of_ours(STORED, blob))

    response = client.responses.create(
        model=MODEL, conversation=conversation.id, input="every-type [[say all read]]"
    )

    assert response.output_text == "all read"
    *history, newest = json.loads(shared.received_with("every-type")[-1])["input"]
    assert newest["content"][0]["text"].startswith("every-type")
    unsealed = [item for item in history if SUMMARY in json.dumps(item)]
    assert [item["role"] for item in unsealed] == ["developer"]
    sent = [item for item in history if item not in unsealed]
    # An upstream that stores nothing knows reasoning by its content alone, not by an id of ours.
    unsent = {"reasoning": "id", "custom_tool_call": "status", "custom_tool_call_output": "status"}
    read = [
        {name: each for name, each in item.items() if name != unsent.get(item["type"])}
        for item in told
        if item["type"] != "compaction"
        and (item["type"] != "reasoning" or "encrypted_content" in item)
    ]
    assert sent == read


def test_the_views_hold_what_pairs_and_names_calls(
    shared: Running, client: OpenAI, http: httpx2.Client, blob: str
):
    conversation = client.conversations.create()
    told = created(http, conversation.id, of_ours(STORED, blob))

    rows = shared.sql(
        "SELECT item_id, type, role, call_id, name, item FROM items "
        f"WHERE conversation_id = '{conversation.id}' ORDER BY position"
    )

    assert [row[-1].encode() for row in rows] == listed(http, conversation.id)
    assert [tuple(row[:-1]) for row in rows] == [
        tuple(item.get(field) for field in ("id", "type", "role", "call_id", "name"))
        for item in told
    ]


@pytest.mark.parametrize(
    ("call", "answer", "words"),
    [
        (
            {"type": "custom_tool_call", "call_id": "c", "name": "sql", "input": "x"},
            {"type": "custom_tool_call_output", "call_id": "c", "output": "1"},
            "custom tool call c",
        ),
        (
            {"type": "shell_call", "call_id": "c", "action": {"commands": ["ls"]}},
            {"type": "shell_call_output", "call_id": "c", "output": []},
            "shell call c",
        ),
        (
            {
                "type": "mcp_approval_request",
                "id": "mcpr_c",
                "name": "roll",
                "arguments": "{}",
                "server_label": "dice",
            },
            {"type": "mcp_approval_response", "approval_request_id": "mcpr_c", "approve": True},
            "MCP approval request mcpr_c",
        ),
    ],
    ids=["custom", "shell", "approval"],
)
def test_a_call_of_a_client_blocks_the_conversation_until_it_is_answered(
    client: OpenAI, call: dict[str, Any], answer: dict[str, Any], words: str
):
    conversation = client.conversations.create(items=[message("do it"), call])
    with pytest.raises(openai.BadRequestError) as refused:
        client.responses.create(model=MODEL, conversation=conversation.id, input="well?")
    assert refused.value.body == {
        "message": f"No tool output found for {words}.",
        "type": "invalid_request_error",
        "param": "input",
        "code": None,
    }

    response = client.responses.create(
        model=MODEL, conversation=conversation.id, input=[answer, message("[[say done]]")]
    )
    assert response.output_text == "done"


def test_a_trigger_is_never_stored_and_a_reference_names_what_is_kept(client: OpenAI):
    conversation = client.conversations.create()
    with pytest.raises(openai.BadRequestError) as refused:
        client.conversations.items.create(conversation.id, items=[{"type": "compaction_trigger"}])
    assert (refused.value.param, refused.value.code) == ("items[0].type", "invalid_value")
    with pytest.raises(openai.NotFoundError) as missing:
        client.conversations.items.create(
            conversation.id, items=[{"type": "item_reference", "id": "msg_nowhere"}]
        )
    assert missing.value.param == "input"
