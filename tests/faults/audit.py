"""What must hold after everything, whatever died meanwhile. Pure: evidence in, violations out."""

import itertools
import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec

from schemas import events as e
from tests.faults.evidence import Evidence, Logged, Turn, by_tag, logged, tags

TERMINAL = ("response.completed", "response.incomplete", "response.failed")
CLIENTS_FAULT = range(400, 500)


class Violation(msgspec.Struct, frozen=True):
    """A promise that was broken, where, and how it shows."""

    rule: str
    where: str
    words: str


Rule = Callable[[Evidence], Iterable[Violation]]


def audit(evidence: Evidence) -> list[Violation]:
    """Every violation of every rule."""
    return [violation for rule in RULES for violation in rule(evidence)]


def chained(evidence: Evidence) -> Iterator[Violation]:
    """Each commit carries the digest and the sequence of the one before it."""
    for conversation_id, entries in evidence.log.items():
        digest, sequence = None, 0
        for commit in entries:
            if (commit.prev, commit.previous) != (digest, sequence) or commit.sequence <= sequence:
                yield Violation(
                    "chain", conversation_id, f"commit {commit.sequence} does not follow {sequence}"
                )
            digest, sequence = commit.digest, commit.sequence


def ended_once(evidence: Evidence) -> Iterator[Violation]:
    """Every turn of the log was requested once and has ended once, its attempts in between."""
    for turn in logged(evidence.log).values():
        where = f"{turn.conversation_id} {turn.response_id} {turn.tag}"
        if len(turn.requested) != 1:
            yield Violation("requested once", where, f"requested at {turn.requested}")
        if len(turn.ends) != 1:
            ends = [(sequence, type(end).__name__) for sequence, end in turn.ends]
            yield Violation("ended once", where, f"ended at {ends or 'no time: it still runs'}")
        if not turn.requested or not turn.ends:
            continue
        steps = [turn.requested[0], *(at for at, _ in turn.started), turn.ends[0][0]]
        if steps != sorted(steps):
            yield Violation("steps in order", where, f"requested, started, ended at {steps}")
        numbers = [number for _, number in turn.started]
        if numbers != list(range(2, len(numbers) + 2)):
            yield Violation("attempts in order", where, f"attempts {numbers} after the first")


def accepted_is_kept(evidence: Evidence) -> Iterator[Violation]:
    """An accepted turn is in the log, unless its refusal was told or it was given up."""
    turns = logged(evidence.log)
    for asked in evidence.turns:
        if asked.accepted_at is None or asked.response_id is None:
            continue
        if asked.response_id in turns or asked.refusal or asked.response_id in evidence.parked:
            continue
        yield Violation("accepted is kept", _where(asked), "it is not in the log")


def asked_once(evidence: Evidence) -> Iterator[Violation]:
    """What was asked for once came to one turn, and what was refused to none."""
    turns = by_tag(logged(evidence.log))
    for asked in evidence.turns:
        found = turns.get(asked.tag, [])
        effective = [turn for turn in found if turn.status != "failed"]
        if len(effective) > 1 and not _excused(evidence, asked, effective):
            ids = [turn.response_id for turn in effective]
            yield Violation("asked once", _where(asked), f"came to {ids}")
        refused = asked.refusal is not None and asked.refusal.status in CLIENTS_FAULT
        if refused and effective and not _excused(evidence, asked, effective):
            ids = [turn.response_id for turn in effective]
            yield Violation("refused is refused", _where(asked), f"{asked.refusal}, yet {ids}")


def repeats(evidence: Evidence) -> list[Turn]:
    """Turns that ran twice though asked for once, without a key and for a reason that is known."""
    turns = by_tag(logged(evidence.log))
    return [asked for asked in evidence.turns if len(_effective(turns, asked)) > 1]


def _effective(turns: dict[str, list[Logged]], asked: Turn) -> list[Logged]:
    return [turn for turn in turns.get(asked.tag, []) if turn.status != "failed"]


def _excused(evidence: Evidence, asked: Turn, found: list[Logged]) -> bool:
    """Whether a request without a key may have been taken for a new one when it was sent again.

    So it is when the queue was killed meanwhile, and when the conversation has gone on.
    """
    if asked.keyed or asked.door == "queue":
        return False
    if any(asked.asked_at <= at <= asked.over_at for at in evidence.forgetful):
        return True
    first = min(found, key=lambda turn: turn.requested)
    others = logged(evidence.log).values()
    return any(
        first.ends and other.requested[0] > first.requested[0]
        for other in others
        if other.conversation_id == first.conversation_id
        and other.tag != asked.tag
        and other.requested
    )


def written_once(evidence: Evidence) -> Iterator[Violation]:
    """What was acked is in the log once; what was not acked at most once."""
    places = _writes(evidence)
    for write in evidence.writes:
        found = places.get((write.kind, write.tag), [])
        where = f"{write.conversation_id} {write.kind} {write.tag}"
        if write.acked_at is not None and not found:
            yield Violation("acked is kept", where, "it is not in the log")
        # An item whose deletion was not heard of is not there when the SDK asks again.
        refused = write.refusal is not None and write.kind != "deleted"
        if refused and write.refusal.status in CLIENTS_FAULT and found:
            yield Violation("refused is refused", where, f"{write.refusal}, yet at {found}")
        # Conversations have no identity before they are made (and may be made twice).
        forgotten = any(write.asked_at <= at <= write.over_at for at in evidence.forgetful)
        if len(found) > 1 and write.kind != "created" and not forgotten:
            yield Violation("written once", where, f"it is at {found}")


def in_order(evidence: Evidence) -> Iterator[Violation]:
    """What was asked for after something else was told stands after it in its conversation."""
    turns, tags = logged(evidence.log), by_tag(logged(evidence.log))
    places = _writes(evidence)
    told: dict[str, list[tuple[float, int, str]]] = {}
    asked: dict[str, list[tuple[float, int, str]]] = {}
    for turn in evidence.turns:
        found = turns.get(turn.response_id or "") or next(iter(tags.get(turn.tag, [])), None)
        if found is None or not found.requested:
            continue
        asked.setdefault(found.conversation_id, []).append(
            (turn.asked_at, found.requested[0], turn.tag)
        )
        if turn.ended_at is not None and turn.ended is not None and found.ends:
            done = (turn.ended_at, found.ends[0][0], turn.tag)
        elif turn.accepted_at is not None and not turn.waits:
            done = (turn.accepted_at, found.requested[0], turn.tag)
        else:
            continue
        told.setdefault(found.conversation_id, []).append(done)
    for write in evidence.writes:
        at = places.get((write.kind, write.tag), [])
        if not at or write.conversation_id is None:
            continue
        asked.setdefault(write.conversation_id, []).append((write.asked_at, at[0], write.tag))
        if write.acked_at is not None:
            told.setdefault(write.conversation_id, []).append((write.acked_at, at[0], write.tag))
    for conversation_id, later in asked.items():
        earlier = sorted(told.get(conversation_id, []))
        newest, index = (0.0, 0, ""), 0
        for time, sequence, tag in sorted(later):
            while index < len(earlier) and earlier[index][0] < time:
                newest = max(newest, earlier[index], key=lambda done: done[1])
                index += 1
            if newest[2] != tag and newest[1] > sequence:
                words = f"{tag} is at {sequence}, but {newest[2]}, told before, at {newest[1]}"
                yield Violation("order", conversation_id, words)


def queued_in_order(evidence: Evidence) -> Iterator[Violation]:
    """Turns that wait for their conversation are admitted in the order of their acceptance."""
    turns, lines = by_tag(logged(evidence.log)), dict[str, list[tuple[int, int, str]]]()
    for asked in evidence.turns:
        for found in turns.get(asked.tag, []):
            if asked.overlap != "queue" or found.place is None or asked.conversation_id is None:
                continue
            if asked.place is not None and asked.published == 1 and asked.place != found.place:
                words = f"accepted as {asked.place}, admitted as {found.place}"
                yield Violation("place", _where(asked), words)
            line = lines.setdefault(found.conversation_id, [])
            line.append((found.place, found.requested[0], asked.tag))
    for conversation_id, line in lines.items():
        line.sort()
        for before, after in itertools.pairwise(line):
            if before[1] > after[1]:
                words = (
                    f"{before[2]} was accepted as {before[0]} and admitted at {before[1]}, "
                    f"{after[2]} as {after[0]} at {after[1]}"
                )
                yield Violation("queue order", conversation_id, words)


def told_as_logged(evidence: Evidence) -> Iterator[Violation]:
    """The end a client was told is the end in the log, to the last byte of its output."""
    turns = logged(evidence.log)
    for asked in evidence.turns:
        if asked.ended is None:
            continue
        found = turns.get(asked.ended["id"])
        if found is None or not found.ends:
            yield Violation("told as logged", _where(asked), "told an end the log does not have")
            continue
        output = [json.loads(bytes(raw)) for raw in found.ends[0][1].items]
        if asked.ended["status"] != found.status:
            words = f"told {asked.ended['status']}, logged {found.status}"
            yield Violation("told as logged", _where(asked), words)
        elif asked.ended["output"] != output:
            words = f"told {asked.ended['output']}, logged {output}"
            yield Violation("told as logged", _where(asked), words)


def streamed_whole(evidence: Evidence) -> Iterator[Violation]:
    """A stream counts its events without a gap, ends at most once, and says what it ends with."""
    for asked in evidence.turns:
        if not asked.heard:
            continue
        numbers = [event["sequence_number"] for event in asked.heard]
        if numbers != list(range(len(numbers))):
            yield Violation("stream", _where(asked), f"events are numbered {numbers}")
        ends = [event["type"] for event in asked.heard if event["type"] in TERMINAL]
        if len(ends) > 1 or (ends and asked.heard[-1]["type"] not in TERMINAL):
            yield Violation("stream", _where(asked), f"ends: {ends}")
        if not ends or asked.heard[-1]["response"]["status"] not in {"completed", "incomplete"}:
            continue
        said = dict[str, str]()
        for event in asked.heard:
            if event["type"] == "response.output_text.delta":
                said[event["item_id"]] = said.get(event["item_id"], "") + event["delta"]
        final = {item["id"]: _text(item) for item in asked.heard[-1]["response"]["output"]}
        # Words are not synced one by one: those lost with the queue are told by the end alone.
        forgotten = any(asked.asked_at <= at <= asked.over_at for at in evidence.forgetful)
        for item_id, text in said.items():
            whole = final.get(item_id)
            if whole != text and not (forgotten and (whole or "").startswith(text)):
                words = f"{item_id} was said to be {text!r}, and is {whole!r}"
                yield Violation("stream", _where(asked), words)


def called_if_admitted(evidence: Evidence) -> Iterator[Violation]:
    """The model was called for admitted turns only, at most once an attempt."""
    turns = by_tag(logged(evidence.log))
    for tag, calls in evidence.calls.items():
        attempts = sum(turn.attempts for turn in turns.get(tag, []))
        if calls > attempts:
            yield Violation("calls", tag, f"{calls} calls of the model for {attempts} attempts")
    for tag, found in turns.items():
        answered = any(isinstance(end, e.TurnCompleted) for turn in found for _, end in turn.ends)
        if answered and not evidence.calls[tag]:
            yield Violation("calls", tag, "answered without a call of the model")


RULES: tuple[Rule, ...] = (
    chained,
    ended_once,
    accepted_is_kept,
    asked_once,
    written_once,
    in_order,
    queued_in_order,
    told_as_logged,
    streamed_whole,
    called_if_admitted,
)


def _where(asked: Turn) -> str:
    return f"{asked.conversation_id} {asked.response_id} {asked.tag} ({asked.door})"


def _text(item: dict[str, Any]) -> str:
    return "".join(part.get("text", "") for part in item.get("content") or ())


def _writes(evidence: Evidence) -> dict[tuple[str, str], list[int]]:
    """Where in the log each write is, by kind and tag."""
    wanted = {(write.kind, write.tag) for write in evidence.writes}
    found: dict[tuple[str, str], list[int]] = {}

    def note(kind: str, tag: str | None, sequence: int) -> None:
        if tag is not None and (kind, tag) in wanted:
            found.setdefault((kind, tag), []).append(sequence)

    for entries in evidence.log.values():
        for commit in entries:
            for event in commit.events:
                match event:
                    case e.ConversationCreated(metadata=metadata):
                        note("created", metadata.get("tag"), commit.sequence)
                    case e.ConversationUpdated(metadata=metadata):
                        note("updated", metadata.get("tag"), commit.sequence)
                    case e.ItemDeleted(item_id=item_id):
                        note("deleted", item_id, commit.sequence)
                    case e.ItemsAdded(items=items):
                        text = " ".join(bytes(raw).decode() for raw in items)
                        for tag in tags(text):
                            note("items", tag, commit.sequence)
                    case _:
                        pass
    return found
