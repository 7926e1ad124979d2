import json
from contextlib import suppress

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import items
from schemas.http import checks
from schemas.http.errors import ApiError, Invalid
from services.conversation.refusals import Refused
from services.conversation.window import check
from services.model.intake import Intake
from services.model.messages import messages
from services.model.rendering import window
from services.model.tokenizer import Tokenizer
from services.sealing import Sealer, fresh_key
from tests.builders import PROPERTY, compaction_item, message, plain, raw
from tests.schemas.item_shapes import MINIMAL, STORED

SEALER = Sealer(bytes(32))
INTAKE = Intake(Tokenizer(), SEALER)


def test_a_compaction_of_ours_is_taken_and_counted_by_its_summary():
    blob = SEALER.seal("one two three")
    (item,) = INTAKE.array([raw({"type": "compaction", "encrypted_content": blob})], "input")
    assert (item.type, item.tokens, items.sealed(item.raw)) == ("compaction", 3, blob)
    assert item.id.startswith("cmp_")


@pytest.mark.parametrize(
    ("blob", "reason"),
    [
        ("gAAAAABo...opaque", "not one of this server's"),
        ("", "not one of this server's"),
        (Sealer(fresh_key()).seal("x"), "sealed with an unknown key"),
        (SEALER.seal("x")[:-4], "changed since it was written"),
    ],
    ids=["of_another_vendor", "empty", "of_another_key", "cut"],
)
def test_a_compaction_of_others_is_refused_in_the_contracts_words(blob, reason):
    sent = {"id": "cmp_x", "type": "compaction", "encrypted_content": blob}
    with pytest.raises(Invalid) as refused:
        INTAKE.array([raw(sent)], "input")
    assert (refused.value.status, json.loads(refused.value.body())) == (
        400,
        {
            "error": {
                "message": "The encrypted content for item cmp_x could not be verified. "
                f"Reason: {reason}.",
                "type": "invalid_request_error",
                "param": None,
                "code": "invalid_encrypted_content",
            }
        },
    )


def test_a_reference_is_the_item_it_names_with_its_size():
    known = message("msg_1", "Hello there, world")
    given = [raw({"type": "item_reference", "id": "msg_1"})]
    (item,) = INTAKE.array(given, "input", known={"msg_1": known.raw})
    assert item.raw is known.raw
    assert (item.id, item.role, item.tokens) == ("msg_1", "user", 4)


def test_a_text_is_one_user_message_with_its_size():
    (item,) = INTAKE.text(msgspec.Raw(b'"Hello there, world"'))
    assert (item.type, item.role, item.tokens) == ("message", "user", 4)
    assert plain(item.raw)["content"] == [{"type": "input_text", "text": "Hello there, world"}]


def test_items_keep_their_order_and_get_fresh_ids():
    taken = INTAKE.array([raw({"role": "user", "content": text}) for text in "abc"], "input")
    assert [plain(item.raw)["content"][0]["text"] for item in taken] == ["a", "b", "c"]
    assert len({item.id for item in taken}) == 3


def test_what_a_model_wrote_is_taken_as_it_is():
    written = (message("msg_1", "Hi", role="assistant").raw,)
    (item,) = INTAKE.output(written)
    assert (item.id, item.raw, item.tokens) == ("msg_1", written[0], 1)


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text("ab", max_size=3)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from("ab"), inner, max_size=2)
    ),
    max_leaves=5,
)
VALID = [
    {"role": "user", "content": "x"},
    {"role": "assistant", "content": [{"type": "output_text", "text": "x"}]},
    {"type": "function_call", "call_id": "c", "name": "n", "arguments": "{}"},
    {"type": "function_call_output", "call_id": "c", "output": "x"},
    {"type": "reasoning", "summary": []},
    {"type": "compaction", "encrypted_content": SEALER.seal("x")},
]
FIELDS = ["id", "type", "role", "content", "call_id", "name", "arguments", "output", "summary"]
FIELDS += ["status", "encrypted_content", "phase", "text", "input", "created_by"]


@PROPERTY
@given(st.sampled_from(VALID), st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=2))
def test_no_item_makes_the_intake_raise_anything_but_an_answer(valid, changed):
    try:
        (item,) = INTAKE.array([raw({**valid, **changed})], "input")
    except ApiError:
        return
    assert item.tokens >= 1
    assert items.head(item.raw).id == item.id


def came_to(step, *given_values: object):
    """What a step raised, by name."""
    try:
        step(*given_values)
    except Exception as error:  # noqa: BLE001 - the point is which
        return type(error).__name__
    return "taken"


def test_no_depth_that_a_body_may_have_makes_the_intake_fail():
    outcomes = set()
    for depth in (1, 10, 100, *range(900, 1_000)):
        nested = b"[" * depth + b"]" * depth
        payload = b'{"items":[{"role":"user","content":"x","extra":%b}]}' % nested
        if came_to(checks.body, payload) == "taken":
            values = checks.array(checks.body(payload)["items"], "items")
            outcomes.add(came_to(INTAKE.array, values, "items"))
    assert outcomes <= {"taken", "Invalid"}


def test_a_long_summary_of_ours_has_its_size():
    blob = SEALER.seal("word " * 1_000)
    taken = INTAKE.array([compaction_item("cmp_1", blob=blob).raw], "input")
    assert taken[0].tokens == 1_001


SAMPLES = st.sampled_from([item for item in STORED + MINIMAL if item.get("type") != "compaction"])


@st.composite
def nearly_items(draw):
    """An item of any type of which one value, however deep, is something else or not there."""
    item = json.loads(json.dumps(draw(SAMPLES)))
    inside = item
    while True:
        key = draw(st.sampled_from(sorted(inside) if isinstance(inside, dict) else [0]))
        if not isinstance(inside[key], dict | list) or not inside[key] or draw(st.booleans()):
            break
        inside = inside[key]
    if draw(st.booleans()):
        inside[key] = draw(JSON)
    else:
        del inside[key]
    return item


@settings(PROPERTY, max_examples=300)
@given(nearly_items())
def test_every_item_that_is_taken_can_be_read_by_everyone_who_reads_items(given_item):
    try:
        (item,) = INTAKE.array([raw(given_item)], "input")
    except ApiError:
        return
    assert item.tokens >= 1
    with suppress(Refused):
        check((), (item,))
    assert [sent.id for sent in window((item,), SEALER)] in ([item.id], [])
    messages((item,), None)
