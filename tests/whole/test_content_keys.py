"""What one process sealed another one opens, whichever key was the newest; and nobody else's."""

import base64
import secrets
import subprocess
from typing import Any

import httpx2
import pytest
from nats.aio.client import Client
from openai import OpenAI
from openai.types.responses import Response

from services.journal.keys import ContentKey, ContentKeys
from services.sealing import key_id
from tests.told_streams import STREAMS, added, done, whole
from tests.told_streams import message as told_message
from tests.upstream import ScriptedUpstream, body, stream
from tests.whole.running import MODEL, PYTHON, Running, begin_gateway, message, own, until

FACT = "Parcel NL-4471-88 left Rotterdam on 2026-11-02."


def command(running: Running, *arguments: str) -> str:
    variables = own(running.mark, TURNLOG_DATA_DIR=str(running.data))
    said = [*PYTHON, "services.cli", "content-keys", *arguments]
    done = subprocess.run(said, env=variables, capture_output=True, check=True, timeout=30)
    return done.stdout.decode()


def keys(running: Running) -> tuple[ContentKey, ...]:
    async def ask(client: Client) -> tuple[ContentKey, ...]:
        return await ContentKeys(client).above(0)

    found: tuple[ContentKey, ...] = running.on_log(ask)
    return found


def compacted(http: httpx2.Client, text: str) -> dict[str, Any]:
    """A compaction item of whichever compactor answers."""
    answer = http.post("/v1/responses/compact", json={"model": MODEL, "input": text})
    assert answer.status_code == 200, answer.text
    item: dict[str, Any] = answer.json()["output"][-1]
    return item


def compacted_in_turn(http: httpx2.Client, text: str) -> dict[str, Any]:
    """A compaction item of whichever responder answers."""
    asked = [message(text), {"type": "compaction_trigger"}]
    body = {"model": MODEL, "input": asked, "store": False}
    answer = http.post("/v1/responses", json=body)
    assert answer.status_code == 200, answer.text
    item: dict[str, Any] = answer.json()["output"][0]
    return item


def sealed_with(item: dict[str, Any]) -> bytes:
    """The id of the key that an item says it was sealed with."""
    return base64.urlsafe_b64decode(item["encrypted_content"])[2:8]


def went_on(running: Running, http: httpx2.Client, item: dict[str, Any], mark: str) -> None:
    """Send an item on without anything being kept; the model is told what it says."""
    body = {"model": MODEL, "input": [item, message(mark)], "store": False}
    answer = http.post("/v1/responses", json=body)
    assert answer.status_code == 200, answer.text
    assert "NL-4471-88" in running.received_with(mark)[-1].decode()


def test_a_new_key_is_used_by_all_at_once_and_opens_no_less(shared: Running):
    with shared.http() as http:
        before = [compacted(http, FACT), compacted_in_turn(http, FACT)]
        newest = keys(shared)[-1].key

        said = command(shared, "rotate")

        found = keys(shared)
        assert found[-1].key != newest
        number, told_id, *_, _ = said.split()
        assert (number, told_id) == (str(len(found)), key_id(found[-1].key).hex())
        for make in (compacted, compacted_in_turn):
            until(lambda make=make: sealed_with(make(http, FACT)) == key_id(found[-1].key))
            before.append(make(http, FACT))
        listed = command(shared, "list").splitlines()
        for position, item in enumerate(before):
            went_on(shared, http, item, f"rotated {position}")
            made = http.post("/v1/conversations", json={"items": [item]})
            assert made.status_code == 200, made.text

    assert [line.split()[:2] for line in listed] == [
        [str(each.number), key_id(each.key).hex()] for each in found
    ]
    assert [line.endswith("  seals and opens") for line in listed] == [False] * (len(found) - 1) + [
        True
    ]
    for each in found:
        for form in (each.key.hex(), base64.b64encode(each.key).decode()):
            assert form[:16] not in said + "\n".join(listed)


def test_what_one_gateway_gives_another_takes(shared: Running, second_gateway: str):
    with shared.http() as one, shared.http(second_gateway) as other:
        for position, make in enumerate((compacted, compacted_in_turn)):
            went_on(shared, other, make(one, FACT), f"across {position}")


def test_another_installation_takes_none_of_it(shared: Running, wounded: Running):
    with shared.http() as http, wounded.http() as elsewhere:
        item = compacted(http, FACT)
        doors = (
            ("/v1/responses", {"model": MODEL, "input": [item, message("Hi")], "store": False}),
            ("/v1/responses", {"model": MODEL, "input": [item, message("Hi")]}),
            ("/v1/responses/compact", {"model": MODEL, "input": [item]}),
            ("/v1/responses/input_tokens", {"model": MODEL, "input": [item]}),
            ("/v1/conversations", {"items": [item]}),
        )
        before = wounded.last_sequence()
        for path, body in doors:
            answer = elsewhere.post(path, json=body)
            assert answer.status_code == 400, answer.text
            assert answer.json()["error"]["code"] == "invalid_encrypted_content"
        assert wounded.last_sequence() == before


def test_a_gateway_that_begins_opens_what_every_key_has_sealed(shared: Running):
    with shared.http() as http:
        before = compacted(http, FACT)
        command(shared, "rotate")
        until(lambda: sealed_with(compacted(http, FACT)) != sealed_with(before))
        items = [before, compacted(http, FACT)]
    url, child = begin_gateway(shared)
    with shared.http(url) as later:
        assert later.post("/v1/conversations", json={"items": items}).status_code == 200
    assert child.end() == 0


# What only the model's server can open


@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize("kept", ["unstored", "chain", "conversation"])
def test_what_an_upstream_sealed_goes_back_to_it_as_it_was(
    before_scripted: Running, scripted: ScriptedUpstream, kept: str, streamed: bool
):
    mark, blobs = secrets.token_hex(5), ("gAAA", "gBBB+/=")
    thought = {"id": "rs_up", "type": "reasoning", "summary": [], "encrypted_content": blobs[1]}
    events = [*STREAMS["compaction"], added(thought, 1), done(thought, 1), *told_message(2, "Hi")]
    said = whole(events)
    answer = stream(said) if streamed else body(said[-1]["response"])
    scripted.plan(mark, answer)
    with before_scripted.client() as client:
        state: dict[str, Any] = {"store": kept != "unstored"}
        if kept == "conversation":
            state["conversation"] = client.conversations.create().id
        first = _answered(client, [message(mark)], state, streamed=streamed)
        summary, thinking, _ = first.output
        assert thinking.encrypted_content == blobs[1]
        assert summary.encrypted_content not in {"", blobs[0]}

        asked = [message(f"{mark} go on")]
        if kept == "unstored":
            given = [item.model_dump(exclude_unset=True) for item in first.output]
            asked = [*given, *asked]
        elif kept == "chain":
            state["previous_response_id"] = first.id
        _answered(client, asked, state, streamed=streamed)

    sent = scripted.asked(f"{mark} go on")[-1]["input"]
    opaque = [item for item in sent if "encrypted_content" in item]
    assert [item["encrypted_content"] for item in opaque] == list(blobs)
    assert [item["type"] for item in opaque] == ["compaction", "reasoning"]


def _answered(client: OpenAI, items: Any, state: dict[str, Any], *, streamed: bool) -> Response:
    if not streamed:
        return client.responses.create(model="m", input=items, **state)
    with client.responses.stream(model="m", input=items, **state) as told:
        return told.get_final_response()
