import msgspec
import pytest

from schemas import items
from schemas.http.errors import ApiError
from tests.builders import counted, raw
from tests.schemas.answers import invalid, refusal

MESSAGE = {"role": "user", "content": "x"}


def referred(*values: object):
    return items.references([raw(value) for value in values], "input")


def untriggered(*values: object):
    given = [raw(value) for value in values]
    rest, triggered = items.without_trigger(given, "input")
    assert rest == given[: len(rest)]
    return len(rest), triggered


def stored(*values: object, known=None):
    return items.from_array(
        map(raw, values),
        "input",
        mint=counted(),
        accept=lambda _blob, _item_id: None,
        known=known or {},
    )


# References

REFERENCES = {
    "typed": {"type": "item_reference", "id": "rs_x"},
    "type_null": {"type": None, "id": "rs_x"},
    "type_absent": {"id": "rs_x"},
    "with_more": {"type": "item_reference", "id": "rs_x", "role": "user", "content": "x"},
}


@pytest.mark.parametrize("reference", REFERENCES.values(), ids=REFERENCES)
def test_a_reference_is_found_with_or_without_its_type(reference):
    assert referred(MESSAGE, reference, MESSAGE) == ("rs_x",)


@pytest.mark.parametrize(
    "item",
    [
        MESSAGE,
        {**MESSAGE, "id": "msg_1"},
        {"id": "msg_1", "content": "x"},
        {"id": "msg_1", "role": "user"},
        {"type": "reasoning", "id": "rs_1", "summary": []},
        {"type": 5, "id": "rs_1"},
        {"type": ["item_reference"], "id": "rs_1"},
        {},
        5,
        None,
        [],
        "item_reference",
    ],
    ids=repr,
)
def test_nothing_else_is_a_reference(item):
    assert referred(item) == ()


def test_references_are_told_in_their_order_and_as_often_as_they_stand():
    given = [{"id": "b_1"}, MESSAGE, {"id": "a_1"}, {"id": "b_1"}]
    assert referred(*given) == ("b_1", "a_1", "b_1")


def test_there_are_no_references_in_nothing():
    assert referred() == ()


def test_a_name_spelled_with_escapes_is_the_same_name():
    given = [msgspec.Raw(b'{"type":"item\\u005freference","id":"rs\\u005fx"}')]
    assert items.references(given, "input") == ("rs_x",)


@pytest.mark.parametrize("reading", [items.references, None], ids=["references", "from_array"])
def test_a_reference_names_an_item(reading):
    read = reading or (lambda values, _param: stored(*map(msgspec.json.decode, values)))
    given = [raw({"type": "item_reference"})]
    assert refusal(read, given, "input") == invalid(
        "Missing required parameter: 'input[0].id'.",
        param="input[0].id",
        code="missing_required_parameter",
    )
    given = [raw({"type": "item_reference", "id": 5})]
    assert refusal(read, given, "input") == invalid(
        "Invalid type for 'input[0].id': expected a string, but got an integer instead.",
        param="input[0].id",
        code="invalid_type",
    )


@pytest.mark.parametrize("reference", REFERENCES.values(), ids=REFERENCES)
def test_the_item_a_reference_names_stands_in_its_place_as_it_is(reference):
    known = {"rs_x": raw({"id": "rs_x", "type": "reasoning", "summary": [], "new": 1})}
    first, second, third = stored(MESSAGE, reference, MESSAGE, known=known)
    assert second is known["rs_x"]
    assert items.head(first).id == "msg_1"
    assert items.head(third).id == "msg_2"


@pytest.mark.parametrize("reference", REFERENCES.values(), ids=REFERENCES)
def test_a_reference_to_what_was_never_kept_is_answered_404(reference):
    assert refusal(stored, reference, known={"rs_y": raw({})}) == (
        404,
        {
            "error": {
                "message": "Item with id 'rs_x' not found. Items are not persisted when `store` is "
                "set to false. Try again with `store` set to true, or remove this item from your "
                "input.",
                "type": "invalid_request_error",
                "param": "input",
                "code": None,
            }
        },
    )


def test_the_id_of_a_whole_item_is_no_reference():
    known = {"msg_1": raw({"id": "msg_1", "type": "message"})}
    (item,) = stored({**MESSAGE, "id": "msg_1"}, known=known)
    assert item != known["msg_1"]


# The trigger of a compaction

TRIGGER = {"type": "compaction_trigger"}


def misplaced(index: int):
    return invalid(
        "Invalid value: 'compaction_trigger'. It may only be the last item of the input of a "
        "response, and is never stored.",
        param=f"input[{index}].type",
        code="invalid_value",
    )


def test_a_trigger_is_taken_off_the_end():
    assert untriggered(MESSAGE, TRIGGER) == (1, True)
    assert untriggered({**TRIGGER, "id": None}) == (0, True)
    assert untriggered(MESSAGE, MESSAGE) == (2, False)
    assert untriggered() == (0, False)
    assert untriggered(5, None, [], {"type": 5}) == (4, False)


def test_input_without_a_trigger_is_not_copied():
    given = [raw(MESSAGE)]
    assert items.without_trigger(given, "input")[0] is given


@pytest.mark.parametrize(
    "values", [[TRIGGER, MESSAGE], [TRIGGER, TRIGGER], [TRIGGER, 5]], ids=["item", "two", "bad"]
)
def test_a_trigger_elsewhere_is_refused(values):
    with pytest.raises(ApiError):
        untriggered(*values)
    assert refusal(items.without_trigger, [raw(value) for value in values], "input") == (
        misplaced(0)
    )


def test_a_trigger_is_never_stored():
    assert refusal(stored, MESSAGE, TRIGGER) == misplaced(1)
