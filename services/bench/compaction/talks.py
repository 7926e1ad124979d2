"""Long conversations for ``turnlog bench compaction``: generated, or real ones one after another.

The facts are planted in their first turns. The same seed says the same, word for word.
"""

import itertools
import random
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import click
import msgspec

from services.bench.compaction.facts import Fact, facts, found
from services.bench.compaction.scenes import Said, Turn, message, scene

TOLD_AS = "note"
"""Member of a tool's JSON in which a fact is planted."""
_OUTPUT = "function_call_output"

_encode = msgspec.json.Encoder().encode


class Talk(msgspec.Struct, frozen=True, kw_only=True):
    """What is said, turn by turn, and what of it will be asked for."""

    turns: tuple[Turn, ...]
    facts: tuple[Fact, ...]


class Recorded(msgspec.Struct):
    """A line of a file of real conversations."""

    items: list[Said]


def generated(*, seed: int, items: int, turns: int, count: int) -> Talk:
    """About ``items`` items of scenes; ``count`` facts in the first ``turns`` turns."""
    chosen = random.Random(f"talk {seed}")  # noqa: S311 - repeatable, not secret
    numbers = itertools.count(1)

    def mint() -> str:
        return f"call_{next(numbers):06}"

    scenes = itertools.chain.from_iterable(scene(chosen, mint=mint) for _ in itertools.count())
    return _planted(_up_to(scenes, items), seed=seed, turns_planted=turns, count=count)


def recorded(path: Path, *, seed: int, items: int, turns: int, count: int) -> Talk:
    """Conversations of a file in an order of the seed's, up to about ``items`` items.

    A line of the file is a JSON object with ``items`` as the Conversations API takes them.
    """
    try:
        lines = [line for line in path.read_bytes().splitlines() if line.strip()]
        read = [msgspec.json.decode(line, type=Recorded).items for line in lines]
    except (OSError, msgspec.MsgspecError) as error:
        raise click.BadParameter(f"{path}: {error}") from error
    random.Random(f"order {seed}").shuffle(read)  # noqa: S311 - repeatable, not secret
    said = itertools.chain.from_iterable(
        _turns(_own_calls(each, number)) for number, each in enumerate(read, 1)
    )
    return _planted(_up_to(said, items), seed=seed, turns_planted=turns, count=count)


def _up_to(turns: Iterable[Turn], items: int) -> tuple[Turn, ...]:
    taken: list[Turn] = []
    held = 0
    for turn in turns:
        if held and held + len(turn) > items:
            break
        taken.append(turn)
        held += len(turn)
    return tuple(taken)


def _turns(items: Sequence[Said]) -> Iterator[Turn]:
    """Parts that begin with a user's message, but for the first if somebody else opens."""
    turn: list[Said] = []
    for item in items:
        if item.get("role") == "user" and turn:
            yield tuple(turn)
            turn = []
        turn.append(item)
    if turn:
        yield tuple(turn)


def _own_calls(items: Iterable[Said], number: int) -> list[Said]:
    """Items with call ids that no other conversation of the file has."""
    return [
        {**item, "call_id": f"{item['call_id']}_{number}"} if "call_id" in item else item
        for item in items
    ]


def _planted(turns: tuple[Turn, ...], *, seed: int, turns_planted: int, count: int) -> Talk:
    chosen = random.Random(f"facts {seed}")  # noqa: S311 - repeatable, not secret
    planted = facts(chosen, turns=min(turns_planted, len(turns)), count=count)
    said = _encode(turns).decode()
    # What is said anyway would be found again although it was forgotten.
    planted = tuple(fact for fact in planted if not found(fact.value, said))
    changed = list(turns)
    for fact in planted:
        changed[fact.turn - 1] = _with(changed[fact.turn - 1], fact)
    return Talk(turns=tuple(changed), facts=planted)


def _with(turn: Turn, fact: Fact) -> Turn:
    """The turn with the fact in the places where it belongs, as far as it has them.

    What a tool has found and matters, the assistant tells as well.
    """
    places = [_place_of(item) for item in turn]
    wanted = {"tool", "assistant"} if fact.place == "tool" else {fact.place}
    # The first output, but the last answer, which is what came of it.
    last = {place: n for n, place in enumerate(places)}
    first = {place: n for n, place in reversed(tuple(enumerate(places)))}
    at = {(last if place == "assistant" else first)[place] for place in wanted & set(places)}
    at = at or {first[place] for place in ("user",) if place in first}
    if not at:
        return (message("user", fact.statement), *turn)
    return tuple(_saying(item, fact.statement) if n in at else item for n, item in enumerate(turn))


def _place_of(item: Said) -> str:
    if item["type"] == _OUTPUT and isinstance(item.get("output"), str):
        return "tool"
    if item["type"] == "message" and isinstance(item.get("content"), str):
        return str(item["role"])
    return ""


def _saying(item: Said, statement: str) -> Said:
    if item["type"] != _OUTPUT:
        return {**item, "content": f"{item['content']} {statement}".strip()}
    try:
        output = msgspec.json.decode(item["output"])
    except msgspec.DecodeError:
        output = None
    if not isinstance(output, dict):
        return {**item, "output": f"{item['output']}\n{statement}"}
    told = f"{output[TOLD_AS]} {statement}" if TOLD_AS in output else statement
    return {**item, "output": _encode({**output, TOLD_AS: told}).decode()}
