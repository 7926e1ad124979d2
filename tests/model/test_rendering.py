import msgspec

from services.model.rendering import SUMMARY_INTRODUCTION, parameters, window
from services.sealing import Sealer
from tests.builders import call, compaction_item, message, output, plain, raw, reasoning, said

SEALER = Sealer(bytes(32))


def test_a_compaction_becomes_a_message_of_the_developer():
    item = compaction_item("cmp_1", blob=SEALER.seal("Anna wants a cat."), tokens=9)
    (sent,) = window((item,), SEALER)
    assert (sent.type, sent.tokens) == ("message", 9)
    assert plain(sent.raw) == {
        "type": "message",
        "role": "developer",
        "content": [{"type": "input_text", "text": SUMMARY_INTRODUCTION + "Anna wants a cat."}],
    }


def test_reasoning_is_sent_only_with_content_the_upstream_can_open():
    kept = reasoning("rs_2", encrypted="gAAAA")
    null = msgspec.structs.replace(
        reasoning("rs_3"),
        raw=raw({"id": "rs_3", "type": "reasoning", "summary": [], "encrypted_content": None}),
    )
    assert window((reasoning("rs_1"), kept, null), SEALER) == (kept,)


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
