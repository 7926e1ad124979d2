import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.conversation import pairing
from services.conversation.truncation import without_oldest
from tests.builders import PROPERTY, call, compaction_item, ids_of, message, output, said

TURN = [message("msg_1", tokens=4), said("msg_2", tokens=6)]
NEXT = [message("msg_3", tokens=4), said("msg_4", tokens=6)]


@pytest.mark.parametrize(
    ("tokens", "left"),
    [(1, ["msg_3", "msg_4"]), (10, ["msg_3", "msg_4"]), (11, []), (20, []), (99, [])],
)
def test_the_oldest_turns_go_first_and_whole(tokens, left):
    assert ids_of(without_oldest([*TURN, *NEXT], [], tokens=tokens)) == left


def test_nothing_is_dropped_of_nothing():
    assert without_oldest([], [message("msg_9")], tokens=1) is None
    assert without_oldest([compaction_item("cmp_1")], [], tokens=1) is None


def test_a_summary_at_the_start_stays():
    history = [compaction_item("cmp_1", tokens=50), *TURN, *NEXT]
    assert ids_of(without_oldest(history, [], tokens=3)) == ["cmp_1", "msg_3", "msg_4"]


def test_a_call_stays_with_the_answer_that_is_only_now_sent():
    history = [*TURN, message("msg_5"), call("call_1")]
    added = [output("call_1")]
    assert ids_of(without_oldest(history, added, tokens=99)) == ["msg_5", "fc_call_1"]
    assert without_oldest(history[2:], added, tokens=1) is None


HISTORIES = st.lists(
    st.sampled_from(
        [
            [message("msg_a"), said("msg_b", tokens=3)],
            [message("msg_c"), call("call_x"), output("call_x"), said("msg_d")],
            [message("msg_e"), call("call_y"), call("call_z"), output("call_y"), output("call_z")],
        ]
    ),
    max_size=3,
    unique_by=lambda group: group[0].id,
).map(lambda groups: [item for group in groups for item in group])


@PROPERTY
@given(HISTORIES, st.integers(1, 30))
def test_what_is_left_is_the_end_of_a_history_and_pairs_up(history, tokens):
    left = without_oldest(history, [], tokens=tokens)
    if left is None:
        assert history == []
        return
    assert list(left) == history[len(history) - len(left) :]
    pairing.check(left)
    saved = sum(item.tokens for item in history) - sum(item.tokens for item in left)
    assert saved >= tokens or left == ()
