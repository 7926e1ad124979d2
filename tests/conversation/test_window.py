from hypothesis import given as for_all
from hypothesis import strategies as st

from schemas import events as e
from tests.builders import (
    PROPERTY,
    added,
    call,
    compacted,
    compaction_item,
    completed,
    created,
    ids_of,
    message,
    output,
    requested,
    said,
    state_of,
)


def test_the_window_of_a_line_is_the_line_in_its_order():
    state = state_of(
        created(),
        added(message("msg_2"), message("msg_1")),
        requested("resp_1", message("msg_3")),
        completed("resp_1", call("call_1")),
        added(output("call_1")),
    )
    assert ids_of(state.window()) == ["msg_2", "msg_1", "msg_3", "fc_call_1", "fco_call_1"]


def test_the_window_is_summary_then_kept_then_the_rest_of_the_line():
    state = state_of(
        created(),
        added(*(message(f"msg_{n}") for n in range(6))),
        compacted(compaction_item("cmp_1"), covered=4, before=6, after=4, kept=("msg_2", "msg_0")),
        added(message("msg_6")),
    )
    assert ids_of(state.window()) == ["cmp_1", "msg_2", "msg_0", "msg_4", "msg_5", "msg_6"]


def test_deleted_items_are_out_of_the_window_wherever_they_stand():
    state = state_of(
        created(),
        added(*(message(f"msg_{n}") for n in range(6))),
        compacted(compaction_item("cmp_1"), covered=4, before=6, after=4, kept=("msg_2", "msg_0")),
        e.ItemDeleted(item_id="msg_0"),
        e.ItemDeleted(item_id="msg_5"),
    )
    assert ids_of(state.window())[-2:] == ["msg_2", "msg_4"]


def test_an_earlier_window_ends_where_the_line_then_ended():
    state = state_of(created(), added(*(message(f"msg_{n}") for n in range(4))))
    assert ids_of(state.window(2)) == ["msg_0", "msg_1"]
    assert state.window(0) == ()


@PROPERTY
@for_all(st.lists(st.sampled_from(["add", "turn", "delete"]), max_size=12), st.data())
def test_the_same_history_gives_the_same_items_as_the_same_objects(steps, data):
    events = [created()]
    present = []
    for number, step in enumerate(steps):
        match step:
            case "add":
                events.append(added(message(f"msg_{number}")))
                present.append(f"msg_{number}")
            case "turn":
                events += [
                    requested(f"resp_{number}", message(f"msg_{number}")),
                    completed(f"resp_{number}", said(f"msg_{number}_out")),
                ]
                present += [f"msg_{number}", f"msg_{number}_out"]
            case "delete" if present:
                gone = data.draw(st.sampled_from(present))
                present.remove(gone)
                events.append(e.ItemDeleted(item_id=gone))
    state, again = state_of(*events), state_of(*events)
    assert ids_of(state.window()) == present
    assert [bytes(item.raw) for item in state.window()] == [
        bytes(item.raw) for item in again.window()
    ]
    assert all(one.raw is other.raw for one, other in zip(state.window(), state.window(), strict=1))
