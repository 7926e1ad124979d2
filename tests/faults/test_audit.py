"""The audit finds what it is there to find: histories made by hand, each broken in one way."""

from collections import Counter
from typing import Any

import msgspec
import pytest

from schemas import events as e
from services.compaction.prompts import OPENING
from tests.faults.audit import audit, repeats
from tests.faults.evidence import Entry, Evidence, Log, Refusal, Turn, Write, called, tagged

CONVERSATION = "conv_1"
NULL = msgspec.Raw(b"null")


def item(text: str, item_id: str = "msg_1") -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode({"id": item_id, "content": [{"text": text}]}))


def requested(response_id: str, tag: str) -> e.TurnRequested:
    return e.TurnRequested(
        response_id=response_id,
        model="m",
        items=(item(tagged(tag)),),
        tokens=(1,),
        parameters=msgspec.Raw(b"{}"),
        on_line=True,
    )


def completed(response_id: str, text: str = "Hi") -> e.TurnCompleted:
    return e.TurnCompleted(
        response_id=response_id,
        status="completed",
        items=(item(text),),
        tokens=(1,),
        usage=NULL,
        model="m",
    )


def failed(response_id: str) -> e.TurnFailed:
    return e.TurnFailed(response_id=response_id, code="server_error", message="x")


def added(tag: str) -> e.ItemsAdded:
    return e.ItemsAdded(items=(item(tagged(tag)),), tokens=(1,))


def log_of(*events: e.Event, places: dict[str, int] | None = None) -> Log:
    """One event a commit, from sequence 1; admissions name their place on the queue."""
    entries = [
        Entry(
            sequence=number,
            previous=number - 1,
            id=admission(event, number, places or {}),
            prev=f"digest {number - 1}" if number > 1 else None,
            digest=f"digest {number}",
            events=(event,),
        )
        for number, event in enumerate(events, start=1)
    ]
    return {CONVERSATION: entries}


def admission(event: e.Event, number: int, places: dict[str, int]) -> str:
    if isinstance(event, e.TurnRequested):
        return f"{event.response_id}.requested.{places.get(event.response_id, number)}.x"
    return f"command-{number}"


def turn(tag: str, response_id: str, at: float, **fields: Any) -> Turn:
    """A turn asked for at ``at`` and told half a second later."""
    told = {
        "door": "plain",
        "conversation_id": CONVERSATION,
        "response_id": response_id,
        "accepted_at": at + 0.5,
        "ended_at": at + 0.5,
        "ended": {"id": response_id, "status": "completed", "output": output()},
    }
    return Turn(tag=tag, asked_at=at, heard=[], **{**told, **fields})  # type: ignore[arg-type]


def output(text: str = "Hi", item_id: str = "msg_1") -> list[dict[str, Any]]:
    return [{"id": item_id, "content": [{"text": text}]}]


def written(tag: str, at: float, **fields: Any) -> Write:
    told = {"kind": "items", "conversation_id": CONVERSATION, "acked_at": at + 0.5}
    return Write(tag=tag, asked_at=at, over_at=at + 0.5, **{**told, **fields})  # type: ignore[arg-type]


def sound() -> Evidence:
    """A turn, items, and a turn of a second attempt."""
    return Evidence(
        turns=[turn("a-1", "r1", 1.0), turn("a-3", "r2", 3.0)],
        writes=[written("a-2", 2.0)],
        log=log_of(
            e.ConversationCreated(),
            requested("r1", "a-1"),
            completed("r1"),
            added("a-2"),
            requested("r2", "a-3"),
            e.TurnStarted(response_id="r2", attempt=2, responder="other"),
            completed("r2"),
        ),
        calls=Counter({"a-1": 1, "a-3": 2}),
    )


def with_log(*events: e.Event, **places: int) -> Evidence:
    return msgspec.structs.replace(sound(), log=log_of(*events, places=places))


def rules(evidence: Evidence) -> list[str]:
    return [violation.rule for violation in audit(evidence)]


def test_a_sound_history_breaks_no_rule():
    assert audit(sound()) == []
    assert repeats(sound()) == []


def test_an_altered_commit_is_found():
    evidence = sound()
    entries = evidence.log[CONVERSATION]
    entries[2] = msgspec.structs.replace(entries[2], digest="another")
    assert rules(evidence) == ["chain"]


def test_a_removed_commit_is_found():
    evidence = sound()
    del evidence.log[CONVERSATION][3]
    assert rules(evidence) == ["chain", "acked is kept"]


def test_a_lost_write_is_found():
    evidence = sound()
    evidence.writes.append(written("a-9", 9.0))
    assert rules(evidence) == ["acked is kept"]
    evidence.writes[-1].acked_at = None
    assert rules(evidence) == []


def test_a_doubled_write_is_found_unless_the_queue_was_killed_meanwhile():
    events = [event for entry in sound().log[CONVERSATION] for event in entry.events]
    evidence = with_log(*events, added("a-2"))
    assert rules(evidence) == ["written once"]
    evidence.forgetful.append(2.2)
    assert rules(evidence) == []


def test_a_write_that_was_refused_and_is_there_is_found():
    evidence = sound()
    evidence.writes[0].acked_at = None
    evidence.writes[0].refusal = Refusal(400, None, "no")
    assert rules(evidence) == ["refused is refused"]


def test_an_accepted_turn_that_is_nowhere_is_found_unless_refused_or_parked():
    evidence = sound()
    lost = turn("a-9", "r9", 9.0, ended=None, door="queue")
    evidence.turns.append(lost)
    assert rules(evidence) == ["accepted is kept"]
    evidence.parked.add("r9")
    assert rules(evidence) == []
    evidence.parked.clear()
    lost.refusal = Refusal(400, "conversation_locked", "busy")
    assert rules(evidence) == []


def test_a_second_end_is_found():
    events = [event for entry in sound().log[CONVERSATION] for event in entry.events]
    assert rules(with_log(*events, failed("r1"))) == ["ended once"]


def test_a_turn_that_still_runs_is_found():
    evidence = sound()
    evidence.turns[1].ended = None
    evidence.log[CONVERSATION].pop()
    assert rules(evidence) == ["ended once"]


def test_a_turn_admitted_twice_is_found():
    events = [event for entry in sound().log[CONVERSATION] for event in entry.events]
    assert rules(with_log(*events, requested("r2", "a-3"))) == ["requested once"]


def test_an_attempt_out_of_turn_is_found():
    events = [event for entry in sound().log[CONVERSATION] for event in entry.events]
    late = e.TurnStarted(response_id="r2", attempt=3, responder="late")
    assert rules(with_log(*events, late)) == ["steps in order"]
    skipped = [*events[:5], e.TurnStarted(response_id="r2", attempt=3, responder="x"), events[6]]
    assert rules(with_log(*skipped)) == ["attempts in order"]


DOUBLED = (
    e.ConversationCreated(),
    requested("r1", "a-1"),
    completed("r1"),
    added("a-2"),
    requested("r2", "a-3"),
    e.TurnStarted(response_id="r2", attempt=2, responder="other"),
    completed("r2"),
    requested("r3", "a-3"),
    completed("r3"),
)


def doubled() -> Evidence:
    evidence = with_log(*DOUBLED)
    evidence.calls["a-3"] = 3
    return evidence


def test_a_doubled_turn_is_found():
    evidence = doubled()
    assert rules(evidence) == ["asked once"]
    assert [asked.tag for asked in repeats(evidence)] == ["a-3"]


def test_a_doubled_turn_is_excused_if_its_mark_was_lost_but_never_if_it_had_a_key():
    evidence = doubled()
    evidence.forgetful.append(3.1)
    assert rules(evidence) == []
    evidence.turns[1].keyed = True
    assert rules(evidence) == ["asked once"]
    evidence.turns[1].keyed, evidence.turns[1].door = False, "queue"
    assert rules(evidence) == ["asked once"]


def test_a_turn_that_ran_again_after_it_failed_is_no_double():
    evidence = with_log(*(failed("r2") if event == DOUBLED[6] else event for event in DOUBLED))
    evidence.turns[1].response_id = "r3"
    evidence.turns[1].ended = {"id": "r3", "status": "completed", "output": output()}
    evidence.calls["a-3"] = 3
    assert rules(evidence) == []


def test_a_turn_that_was_refused_and_ran_is_found():
    evidence = sound()
    evidence.turns[0].ended = evidence.turns[0].response_id = None
    evidence.turns[0].accepted_at = None
    evidence.turns[0].refusal = Refusal(400, "conversation_locked", "busy")
    # What came after it on the conversation is no excuse while nothing of it was repeated.
    evidence.log[CONVERSATION] = evidence.log[CONVERSATION][:4]
    del evidence.turns[1], evidence.calls["a-3"]
    assert rules(evidence) == ["refused is refused"]


def test_a_swapped_order_is_found():
    evidence = with_log(
        e.ConversationCreated(),
        added("a-2"),
        requested("r1", "a-1"),
        completed("r1"),
        requested("r2", "a-3"),
        e.TurnStarted(response_id="r2", attempt=2, responder="other"),
        completed("r2"),
    )
    assert rules(evidence) == ["order"]


@pytest.mark.parametrize(("overlap", "broken"), [("queue", []), ("reject", ["order"])])
def test_a_turn_in_the_background_may_be_overtaken_while_it_waits(overlap: str, broken: list[str]):
    evidence = with_log(
        e.ConversationCreated(),
        requested("r2", "a-3"),
        completed("r2"),
        requested("r1", "a-1"),
        completed("r1"),
    )
    begun = {"door": "background", "overlap": overlap, "ended": None}
    evidence.turns = [turn("a-1", "r1", 1.0, **begun), turn("a-3", "r2", 3.0)]
    evidence.writes, evidence.calls = [], Counter({"a-1": 1, "a-3": 1})
    assert rules(evidence) == broken


def queued() -> Evidence:
    evidence = sound()
    evidence.turns = [
        turn("b-1", "r1", 1.0, door="queue", overlap="queue", place=7, published=1),
        turn("b-2", "r2", 1.0, door="queue", overlap="queue", place=8, published=1),
    ]
    evidence.writes = []
    evidence.calls = Counter({"b-1": 1, "b-2": 1})
    return evidence


def test_queued_turns_admitted_out_of_order_are_found():
    evidence = queued()
    first = (requested("r1", "b-1"), completed("r1"))
    second = (requested("r2", "b-2"), completed("r2"))
    begun = e.ConversationCreated()
    evidence.log = log_of(begun, *first, *second, places={"r1": 7, "r2": 8})
    assert rules(evidence) == []
    evidence.log = log_of(begun, *second, *first, places={"r1": 7, "r2": 8})
    assert rules(evidence) == ["queue order"]
    evidence.log = log_of(begun, *first, *second, places={"r1": 7, "r2": 9})
    assert rules(evidence) == ["place"]


def test_an_end_told_otherwise_than_logged_is_found():
    evidence = sound()
    evidence.turns[0].ended = {"id": "r1", "status": "completed", "output": output("Ho")}
    assert rules(evidence) == ["told as logged"]
    evidence.turns[0].ended = {"id": "r1", "status": "failed", "output": output()}
    assert rules(evidence) == ["told as logged"]
    evidence.turns[0].ended = {"id": "r9", "status": "completed", "output": output()}
    assert rules(evidence) == ["told as logged"]


def streaming(*deltas: tuple[int, str, str]) -> Evidence:
    """A stream of deltas (number, item, text) between its first event and its end."""
    evidence = sound()
    evidence.turns[0].heard = [
        {"type": "response.created", "sequence_number": 0},
        *(
            {
                "type": "response.output_text.delta",
                "sequence_number": number,
                "item_id": item_id,
                "delta": text,
            }
            for number, item_id, text in deltas
        ),
        {
            "type": "response.completed",
            "sequence_number": len(deltas) + 1,
            "response": {"status": "completed", "output": output()},
        },
    ]
    return evidence


def test_a_stream_that_is_not_whole_is_found():
    assert rules(streaming((1, "msg_1", "H"), (2, "msg_1", "i"))) == []
    assert rules(streaming((1, "msg_1", "H"), (3, "msg_1", "i"))) == ["stream"]
    assert rules(streaming((1, "msg_1", "H"))) == ["stream"]
    # Two attempts in one stream: the text is that of the second, said under another id.
    assert rules(streaming((1, "msg_0", "H"), (2, "msg_1", "Hi"))) == ["stream"]
    # The queue was killed meanwhile: words may be lost with it, but none be said that are not so.
    for text, broken in (("H", []), ("J", ["stream"])):
        evidence = streaming((1, "msg_1", text))
        evidence.forgetful = [evidence.turns[0].asked_at]
        assert rules(evidence) == broken
    twice = streaming((1, "msg_1", "Hi"))
    twice.turns[0].heard.append({**twice.turns[0].heard[-1], "sequence_number": 3})
    assert rules(twice) == ["stream"]


@pytest.mark.parametrize(
    ("tag", "calls"),
    [("a-1", 2), ("a-3", 3), ("a-9", 1), ("a-1", 0)],
    ids=["one too many", "of two attempts", "never admitted", "answered without"],
)
def test_calls_of_the_model_that_do_not_agree_are_found(tag: str, calls: int):
    evidence = sound()
    evidence.calls[tag] = calls
    assert rules(evidence) == ["calls"]


def test_a_call_is_counted_for_the_newest_tag_it_holds_and_a_summary_for_none():
    window = [{"content": "#a-1#"}, {"content": "You said: #a-1#"}, {"content": "#a-2#"}]
    summary = {"input": [{"content": "#a-1#"}, {"content": f"{OPENING}."}]}
    bodies = [msgspec.json.encode({"input": window}), msgspec.json.encode(summary)]
    assert called(bodies) == {"a-2": 1}
