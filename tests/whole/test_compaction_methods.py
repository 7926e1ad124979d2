"""The same conversation compacted by each method that settings can name."""

import base64
import json
from collections.abc import Iterator

import pytest
from openai import OpenAI

from services.compaction.prompts import OPENING
from tests.whole.running import MODEL, Running, message, until
from tests.whole.test_compaction import compactions

BUDGET = 2_000
FACT = "Parcel NL-4471-88 left Rotterdam on 2026-11-02 with three lamps."


@pytest.fixture(scope="module", params=["extractive", "upstream"])
def other(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, _nothing_is_left: None
) -> Iterator[tuple[Running, str]]:
    method: str = request.param
    running = Running(
        tmp_path_factory.mktemp(method), tokens_budget=str(BUDGET), compaction_method=method
    )
    try:
        yield running.start(), method
    finally:
        running.end()


def fill(client: OpenAI, conversation_id: str, mark: str) -> None:
    """Talk that crosses the budget, as the model has not counted it."""
    for number in range(0, 60, 20):
        said = (f"{mark} {number + n}. " + "It is large and heavy. " * 8 for n in range(20))
        items = [message(text, ("user", "assistant")[n % 2]) for n, text in enumerate(said)]
        client.conversations.items.create(conversation_id, items=items)


def test_a_conversation_is_compacted_twice_and_nothing_is_forgotten(other: tuple[Running, str]):
    running, method = other
    mark = f"by {method}"
    with running.client() as client:
        made = client.conversations.create()
        client.responses.create(model=MODEL, input=f"{mark}. {FACT}", conversation=made.id)
        for times in (1, 2):
            before = len(compactions(running, made.id))
            fill(client, made.id, f"{mark} {times}")
            until(lambda n=before: len(compactions(running, made.id)) > n)
        client.responses.create(model=MODEL, input=f"{mark}: what is it?", conversation=made.id)
    done = compactions(running, made.id)
    assert {(event.method, event.fallback) for event in done} == {(method, "")}
    assert all(event.tokens_after <= event.tokens_before * 0.8 for event in done)
    window = json.loads(running.received_with(f"{mark}: what")[-1])["input"]
    if method == "upstream":
        # What it has made goes back as it came, and stands in no event.
        assert window[0]["type"] == "compaction"
        blob = window[0]["encrypted_content"].removeprefix("simulated.")
        assert b"NL-4471-88" in base64.urlsafe_b64decode(blob)
        assert {event.summary for event in done} == {""}
        assert {event.covered_from for event in done} == {0}
    else:
        assert "NL-4471-88" in done[-1].summary
        assert all(event.anchors_kept == event.anchors_found for event in done)
    asked = [body for body in running.received_with(mark) if OPENING.encode() in body]
    assert asked == []


def test_a_window_is_compacted_for_a_client_who_sends_it_on(other: tuple[Running, str]):
    running, method = other
    mark = f"window by {method}"
    talk = [message(f"{mark}. {FACT}"), message("It did. " * 50, "assistant")]
    with running.client() as client:
        compacted = client.responses.compact(model=MODEL, input=talk)
    assert [item.type for item in compacted.output] == ["message", "compaction"]
    assert compacted.output[0].content[0].text == f"{mark}. {FACT}"


def test_in_a_turn_the_context_is_made_smaller_as_well(other: tuple[Running, str]):
    running, method = other
    mark = f"turn by {method}"
    with running.client() as client:
        first = client.responses.create(model=MODEL, input=f"{mark}. {FACT} [[words 1200]]")
        second = client.responses.create(
            model=MODEL,
            input=f"{mark} two",
            previous_response_id=first.id,
            context_management=[{"type": "compaction", "compact_threshold": 1000}],
        )
        third = client.responses.create(
            model=MODEL, input=f"{mark} three", previous_response_id=second.id
        )
    assert [item.type for item in second.output] == ["compaction", "message"]
    assert "NL-4471-88" in third.output_text
