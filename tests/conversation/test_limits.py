import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.conversation.limits import KNOWN, UNKNOWN, Limits, Models
from tests.builders import PROPERTY

GPT_4O, LARGE = KNOWN["gpt-4o"], Limits(1_000_000)


@pytest.mark.parametrize(
    ("model", "known"),
    [
        ("gpt-4o", "gpt-4o"),
        ("gpt-4o-2024-11-20", "gpt-4o"),
        ("chatgpt-4o-latest", "chatgpt-4o"),
        ("gpt-4o-mini-2024-07-18", "gpt-4o-mini"),
        ("ft:gpt-4o-mini-2024-07-18:acme::9aX", "gpt-4o-mini"),
        ("openai/gpt-5.4", "gpt-5.4"),
        ("gpt-5-chat-latest", "gpt-5-chat"),
        ("gpt-5.1-codex-max", "gpt-5.1-codex*"),
        ("gpt-4-0125-preview", "gpt-4-0125"),
        ("gpt-4-0613", "gpt-4"),
        ("openai/gpt-oss-20b:free", "gpt-oss-20b"),
    ],
)
def test_a_model_and_its_snapshots_have_the_limits_of_their_family(model, known):
    assert Models().of(model) == KNOWN[known]


@pytest.mark.parametrize(
    "model", ["llama-3.3-70b", "gpt-4o-audio", "gpt-4ox", "gpt-5.9", "gpt-4-x-alpaca", "", "o3:"]
)
def test_of_no_other_model_anything_is_known(model):
    expected = KNOWN["o3"] if model == "o3:" else UNKNOWN
    assert Models().of(model) == expected


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("llama-3.3-70b", Limits(131_072)),
        ("llama-3.3-8b", Limits(8_192)),
        ("acme/llama-3.3-8b", Limits(8_192)),
        ("gpt-4o", LARGE),
        ("gpt-4o-mini", UNKNOWN),
        ("gpt-5", KNOWN["gpt-5"]),
    ],
)
def test_what_settings_say_comes_first_and_the_longest_name_of_it(model, expected):
    given = {
        "llama*": Limits(131_072),
        "llama-3.3-8b": Limits(8_192),
        "gpt-4o": LARGE,
        "gpt-4o-mini": Limits(0),
    }
    assert Models(given).of(model) == expected


def test_every_known_model_finds_itself():
    for name, limits in KNOWN.items():
        assert Models().of(name.removesuffix("*")) in {limits, KNOWN["gpt-5.1"]}


@pytest.mark.parametrize(
    ("limits", "output_max", "room"),
    [
        (Limits(1_000), None, 950),
        (Limits(1_000, 20), None, 980),
        (Limits(1_000), 400, 600),
        (Limits(1_000, 100), 400, 900),
        (Limits(1_000), 5_000, 0),
        (Limits(1_000), 16, 984),
    ],
)
def test_an_answer_has_the_room_it_asks_for_or_a_share(limits, output_max, room):
    assert limits.room(output_max) == room


def test_a_budget_is_no_more_than_its_model_can_keep():
    assert GPT_4O.capped(100_000) == 96_000
    assert GPT_4O.capped(8_000) == 8_000
    assert GPT_4O.capped(0) == 0
    assert UNKNOWN.capped(100_000) == 100_000


@PROPERTY
@given(st.text(max_size=40))
def test_any_name_has_limits(name):
    assert Models().of(name) == Models().of(name)
