import msgspec
import pytest
from hypothesis import given as for_all
from hypothesis import strategies as st

from schemas.events import Event
from services.conversation.fitting import Room, beside_of, fits, room_within
from services.conversation.history import Turn
from services.conversation.limits import Limits
from services.conversation.state import Conversation
from services.conversation.tokens import count_beside, most_beside
from services.conversation.turn_compaction import Context
from services.model.tokenizer import Tokenizer
from tests.builders import (
    PROPERTY,
    added,
    completed,
    created,
    message,
    plain,
    raw,
    requested,
    said,
    state_of,
)

COUNTER = Tokenizer()
TERSE, WORDY = {"instructions": "Be terse."}, {"instructions": "Tell me all you know of it."}
TERSE_TOKENS, WORDY_TOKENS = 3, 8
TOOLS = {"tools": [{"type": "function", "name": "look_up"}]}


def fields(given: dict[str, object]) -> dict[str, msgspec.Raw]:
    return {name: raw(value) for name, value in given.items()}


def running(
    *events: Event, parameters: dict[str, object], on_line: bool = True, parent: str | None = None
):
    """The state a turn runs in, and the turn."""
    asked = requested("resp_9", message("msg_9"), on_line=on_line, parent=parent)
    state = state_of(created(), *events, asked)
    return state, state.running[0], fields(parameters)


def turn(number: int, parameters: dict[str, object], *, total: int, on_line: bool = True):
    """The events of a turn with these parameters, of which its provider counted ``total``."""
    name = f"resp_{number}"
    given = bytes(raw(parameters))
    return (
        requested(name, message(f"msg_{number}"), parameters=given, on_line=on_line),
        completed(name, said(f"msg_{number}0"), total=total),
    )


def beside(story: tuple[Conversation, Turn, dict[str, msgspec.Raw]]) -> int:
    state, asked, parameters = story
    return beside_of(state, asked, parameters, counter=COUNTER)


def test_what_no_provider_has_counted_is_counted():
    assert beside(running(parameters=TERSE)) == TERSE_TOKENS
    assert beside(running(added(message("msg_1")), parameters=WORDY)) == WORDY_TOKENS
    assert beside(running(*turn(1, TERSE, total=0), parameters=TERSE)) == TERSE_TOKENS


def test_what_the_provider_has_counted_before_is_not_counted_again():
    before = turn(1, TERSE, total=50)
    assert beside(running(*before, parameters=TERSE)) == 0
    assert beside(running(*before, parameters=WORDY)) == WORDY_TOKENS - TERSE_TOKENS
    assert beside(running(*before, parameters={})) == -TERSE_TOKENS
    uncounted = turn(2, WORDY, total=0)
    assert beside(running(*before, *uncounted, parameters=TERSE)) == 0


def test_in_a_chain_the_parents_count_is_the_one():
    first = turn(1, TERSE, total=50, on_line=False)
    other = turn(2, WORDY, total=50, on_line=False)
    chained = running(*first, *other, parameters=WORDY, on_line=False, parent="resp_1")
    assert beside(chained) == WORDY_TOKENS - TERSE_TOKENS
    truncated = turn(1, TERSE | {"truncation": "auto"}, total=50, on_line=False)
    chained = running(*truncated, parameters=TERSE, on_line=False, parent="resp_1")
    assert beside(chained) == TERSE_TOKENS


@pytest.mark.parametrize(
    ("given", "room"),
    [
        ({}, Room(items=850, items_most=900)),
        ({"max_output_tokens": None}, Room(items=850, items_most=900)),
        ({"max_output_tokens": 300}, Room(items=600, items_most=600)),
        ({"max_output_tokens": 9_000}, Room(items=-100, items_most=-100)),
    ],
)
def test_only_an_answer_whose_length_was_said_takes_room_for_good(given, room):
    assert room_within(fields(given), Limits(1_000), beside=100) == room


def test_at_a_glance_everything_is_as_large_as_it_can_be():
    limits = Limits(1_000)
    size = most_beside(fields(TOOLS))
    assert fits(Context(history=(), input=(), tokens=950 - size), fields(TOOLS), limits)
    assert not fits(Context(history=(), input=(), tokens=951 - size), fields(TOOLS), limits)


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=80)
PARAMETERS = st.fixed_dictionaries(
    {},
    optional={
        "instructions": TEXTS,
        "tools": st.lists(st.builds(dict, type=st.just("custom"), name=TEXTS), max_size=3),
        "text": st.builds(dict, format=st.builds(dict, type=st.just("text"), name=TEXTS)),
        "model": TEXTS,
    },
)


@PROPERTY
@for_all(PARAMETERS)
def test_nothing_is_larger_than_its_bytes(given):
    parameters = fields(given)
    assert [plain(value) for value in parameters.values()] == list(given.values())
    assert 0 <= count_beside(parameters, COUNTER) <= most_beside(parameters)
