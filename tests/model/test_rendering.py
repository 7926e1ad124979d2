import json
from pathlib import Path
from typing import Any, get_args

import pytest
from openai.types.responses import ResponseInputItem
from pydantic import BaseModel, ValidationError

from services.conversation.history import item_of
from services.model.rendering import SUMMARY_INTRODUCTION, as_kept, parameters, window
from services.sealing import Sealer
from tests.builders import call, compaction_item, message, output, plain, raw, reasoning, said

SEALER = Sealer(bytes(32))
SAMPLE = Path(__file__).parents[1] / "contract" / "samples" / "items_all_variants.json"
SAMPLES: list[dict[str, Any]] = json.loads(SAMPLE.read_bytes())
INPUT = get_args(ResponseInputItem.__origin__)
"""The SDK's class of every type of input."""


def stored(value):
    return item_of(raw(value), 1)


def test_a_compaction_becomes_a_message_of_the_developer():
    item = compaction_item("cmp_1", blob=SEALER.seal("Anna wants a cat."), tokens=9)
    (sent,) = window((item,), SEALER)
    assert (sent.type, sent.tokens) == ("message", 9)
    assert plain(sent.raw) == {
        "type": "message",
        "role": "developer",
        "content": [{"type": "input_text", "text": SUMMARY_INTRODUCTION + "Anna wants a cat."}],
    }


def test_a_compaction_an_upstream_made_goes_back_as_it_came():
    item = compaction_item("cmp_1", blob="gAAAA")
    (sent,) = window((item,), SEALER)
    assert sent is item


def test_reasoning_is_sent_only_with_content_the_upstream_can_open():
    null = stored({"id": "rs_3", "type": "reasoning", "summary": [], "encrypted_content": None})
    assert window((reasoning("rs_1"), null), SEALER) == ()


def test_reasoning_is_sent_without_the_id_it_has_here_and_what_is_only_output():
    # The id is sealed into the content, and a status or a null is refused.
    (sent,) = window(
        (
            stored(
                {
                    "id": "rs_2",
                    "type": "reasoning",
                    "summary": [],
                    "content": None,
                    "encrypted_content": "gAAAA",
                    "status": "completed",
                    "created_by": "x",
                }
            ),
        ),
        SEALER,
    )
    assert plain(sent.raw) == {"type": "reasoning", "summary": [], "encrypted_content": "gAAAA"}
    assert sent.id == "rs_2"


def test_who_made_an_item_is_not_sent():
    made = plain(call("call_1").raw) | {"created_by": "agent"}
    (sent,) = window((stored(made),), SEALER)
    assert sent == call("call_1")


@pytest.mark.parametrize("kind", ["custom_tool_call", "custom_tool_call_output"])
def test_a_status_is_not_sent_where_an_input_has_none(kind: str):
    item = {"id": "ctc_1", "type": kind, "call_id": "c", "name": "n", "input": "x", "output": "y"}
    (sent,) = window((stored({**item, "status": "completed"}),), SEALER)
    assert plain(sent.raw) == item


@pytest.mark.parametrize("sample", SAMPLES, ids=[sample["type"] for sample in SAMPLES])
def test_every_stored_item_is_sent_as_the_sdk_has_it_as_input(sample: dict[str, Any]):
    for sent in window((stored({**sample, "created_by": "agent"}),), SEALER):
        value = plain(sent.raw)
        if sent.type == "message":
            # Nobody makes messages for others; their ids are tolerated.
            del value["created_by"]
            value |= {} if value["role"] == "assistant" else {"id": None}
            value = {name: each for name, each in value.items() if each is not None}
        if sent.type == "reasoning":
            value["id"] = "rs_1"  # required by the type, and not by servers
        assert any(is_input(kind, value) for kind in INPUT), value


def is_input(kind: type[BaseModel], value: dict[str, Any]) -> bool:
    """Whether a value is of this class, without a field the class does not know."""
    try:
        kind.model_validate(value)
    except ValidationError:
        return False
    return value.keys() <= kind.model_fields.keys()


def test_all_else_is_sent_as_the_very_same_objects():
    items = (message("msg_1"), said("msg_2"), call("call_1"), output("call_1"))
    sent = window(items, SEALER)
    assert all(one is other for one, other in zip(sent, items, strict=True))


def test_the_same_window_is_the_same_bytes_every_time():
    items = (
        compaction_item("cmp_1", blob=SEALER.seal("Before.")),
        message("msg_1", "é \u2028"),
        reasoning("rs_1", encrypted="gAAAA"),
        said("msg_2"),
    )
    once = [bytes(item.raw) for item in window(items, SEALER)]
    assert once == [bytes(item.raw) for item in window(items, SEALER)]
    longer = [bytes(item.raw) for item in window((*items, message("msg_3")), SEALER)]
    assert longer[:-1] == once


def test_parameters_about_state_are_kept_from_the_upstream():
    given = {
        name: raw(1)
        for name in (
            "background",
            "background_options",
            "context_management",
            "metadata",
            "model",
            "store",
            "stream",
            "truncation",
            "temperature",
            "tools",
            "unheard_of",
        )
    }
    assert parameters(given) == {
        "temperature": raw(1),
        "tools": raw(1),
        "unheard_of": raw(1),
    }


def test_a_response_of_ours_is_not_named_to_the_upstream():
    options = {"mode": "explicit", "comparison_response_id": "resp_1", "ttl": "30m"}
    assert parameters({"prompt_cache_options": raw(options)}) == {
        "prompt_cache_options": raw({"mode": "explicit", "ttl": "30m"})
    }


def test_a_compaction_of_the_upstream_is_kept_enclosed_and_goes_back_as_it_came():
    theirs = {"id": "cmp_up", "type": "compaction", "encrypted_content": "gAAA", "created_by": "m"}
    kept = as_kept(raw(theirs), SEALER)
    assert list(plain(kept)) == list(theirs)
    assert plain(kept) == theirs | {"encrypted_content": plain(kept)["encrypted_content"]}
    SEALER.check(plain(kept)["encrypted_content"])
    (sent,) = window((item_of(kept, 1),), SEALER)
    assert plain(sent.raw) == {key: theirs[key] for key in theirs if key != "created_by"}
    # Logs hold some that were kept as they came.
    (older,) = window((item_of(raw(theirs), 1),), SEALER)
    assert older.raw == sent.raw


@pytest.mark.parametrize(
    "item",
    [
        {"id": "cmp_up", "type": "compaction", "encrypted_content": ""},
        {"id": "cmp_up", "type": "compaction", "encrypted_content": None},
        {"id": "cmp_up", "type": "compaction"},
        {"id": "rs_up", "type": "reasoning", "summary": [], "encrypted_content": "gAAA"},
        {"id": "msg_up", "type": "message", "role": "assistant", "content": '"compaction"'},
    ],
)
def test_all_else_an_upstream_wrote_is_kept_as_it_came(item):
    written = raw(item)
    assert as_kept(written, SEALER) is written
