"""The upstream's events as the contract's: our ids, gapless numbers, each encoded once (pure).

The client is told a stream the SDK can follow (contract 3.6), whatever the upstream says: each item
from its first event to its last, and every one of them in the response at the end. What cannot be
made such a stream is the upstream's fault, and the turn fails.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec

from schemas import items
from schemas.http import stream_events
from schemas.http.checks import Fields
from schemas.http.event_types import TYPES
from services.model import Answer
from services.responder.told_item import ToldItem, Written, beginning, unreadable, written

_encode = msgspec.json.Encoder().encode
_text = msgspec.json.Decoder(str).decode
_index = msgspec.json.Decoder(int).decode

ADDED = "response.output_item.added"
DONE = "response.output_item.done"


class Relay:
    """Frames of one response, in order. ``number`` is that of the next event.

    A summary that is made before the model answers comes first in the output; the upstream's own
    items then stand behind it.
    """

    def __init__(self, mint: Callable[[str], str], *, number: int = 0) -> None:
        """``mint`` makes an item id of a prefix; ``number`` counts what was told before."""
        self.mint = mint
        self._first = 0
        self._summary: msgspec.Raw | None = None
        self._told: dict[int, ToldItem] = {}
        self._calls: dict[tuple[str, str | None], int] = {}
        self.number = number

    def opened(self, response: bytes) -> bytes:
        """The two events a stream begins with; ``response`` is in progress."""
        return self._lifecycle("response.created", response) + self.begun(response)

    def queued(self, response: bytes) -> bytes:
        """The two events a turn in the background begins with; ``response`` is queued."""
        return self._lifecycle("response.created", response) + self._lifecycle(
            "response.queued", response
        )

    def begun(self, response: bytes) -> bytes:
        """What follows once a turn in the background runs."""
        return self._lifecycle("response.in_progress", response)

    def ended(self, status: str, response: bytes) -> bytes:
        """The one terminal event."""
        frame = stream_events.terminal(status, response, self.number)
        self.number += 1
        return frame

    def frame(self, event: Fields) -> bytes:
        """One event of the upstream, which becomes ours; preceded by what has to come first."""
        name = _text(event["type"])
        if "output_index" not in event:
            return self._numbered(name, event)
        index = _index(event["output_index"])
        if self._first:
            event["output_index"] = msgspec.Raw(b"%d" % (index + self._first))
        if "item" in event:
            return self._item(name, index, event)
        told = self._told.get(index)
        if told is None:
            unreadable(f"{name} before its item was added")
        told.take(name, TYPES[name], event)
        if "item_id" in event:
            event["item_id"] = told.id
        return self._numbered(name, event)

    def compacting(self, item_id: str) -> bytes:
        """A summary is being made; the first time, the item it will be is told of as well."""
        told = b""
        if not self._first:
            self._first = 1
            told = self._numbered(ADDED, _item_event(ADDED, 0, items.compaction(item_id, "")))
        name = "response.compaction.compacting"
        place = {"item_id": msgspec.Raw(_encode(item_id)), "output_index": msgspec.Raw(b"0")}
        return told + self._numbered(name, {"type": msgspec.Raw(_encode(name)), **place})

    def compacted(self, item: msgspec.Raw) -> bytes:
        """The summary is made."""
        self.put_first(item)
        return self._numbered(DONE, _item_event(DONE, 0, item))

    def put_first(self, item: msgspec.Raw) -> None:
        """Let a summary open the output, without telling of it."""
        self._first, self._summary = 1, item

    def closed(self, answer: Answer) -> bytes:
        """What the upstream left out of its stream: ends of items, and items.

        Nothing is made up for a failed answer: its items stay as far as they came.
        """
        if answer.status not in {"completed", "incomplete"}:
            return b""
        number, told = self.number, dict(self._told)
        try:
            return b"".join(self._left_out(answer))
        except Exception:
            # None of it is told, and numbers have no gaps.
            self.number, self._told = number, told
            raise

    def output(self, answer: Answer) -> tuple[msgspec.Raw, ...]:
        """The output of the response: what was told as done, else what the answer holds.

        Of a failed answer it is what `partial` gives.
        """
        if answer.status == "failed":
            return self.partial()
        output = (told.done for told in self._in_order())
        if not self._told:
            output = (self._adopted(raw) for raw in answer.items)
        return self._behind_summary(output)

    def partial(self) -> tuple[msgspec.Raw, ...]:
        """The output as far as it was told.

        Items that are done are as they were told. Those that have begun are ``incomplete`` and hold
        what came of them: text, arguments, code, commands. One of which nothing came yet, or whose
        progress has no content, is left out.
        """
        return self._behind_summary(told.heard() for told in self._in_order())

    def _behind_summary(self, output: Iterable[msgspec.Raw | None]) -> tuple[msgspec.Raw, ...]:
        return tuple(raw for raw in (self._summary, *output) if raw is not None)

    def _in_order(self) -> Iterator[ToldItem]:
        return (self._told[index] for index in sorted(self._told))

    def _item(self, name: str, index: int, event: Fields) -> bytes:
        said = written(event["item"])
        told = self._told.get(index)
        if name == ADDED:
            if told is not None:
                unreadable("two items were added at one index")
            event["item"] = self._begin(index, said, event["item"])
            return self._numbered(name, event)
        first = b""
        if told is None:
            raw = self._begin(index, said, beginning(event["item"], said.type))
            first = self._numbered(ADDED, _item_event(ADDED, index + self._first, raw))
            told = self._told[index]
        event["item"] = items.adopted(event["item"], _text(told.id))
        told.end(said, event["item"])
        return first + self._numbered(name, event)

    def _begin(self, index: int, said: Written, raw: msgspec.Raw) -> msgspec.Raw:
        if said.call is not None and self._calls.setdefault(said.call, index) != index:
            unreadable("two calls have one call_id")
        item_id = self.mint(items.prefix_of(raw))
        adopted = items.adopted(raw, item_id, status="in_progress")
        self._told[index] = ToldItem(item_id, said, adopted)
        return adopted

    def _finals(self, answered: tuple[msgspec.Raw, ...]) -> dict[int, msgspec.Raw]:
        """Items of an answer by the index they have, or would have had, in the stream.

        An upstream may give an item another id at the end than before; so what was told is known
        by its id, else by its place, else by its type.
        """
        placed: dict[int, msgspec.Raw] = {}
        left = {place: (written(raw), raw) for place, raw in enumerate(answered)}
        for same in (_by_id, _by_place, _by_type):
            for place, (said, raw) in tuple(left.items()):
                for index in sorted(self._told.keys() - placed.keys()):
                    if same(index, self._told[index].said, place, said):
                        placed[index] = raw
                        del left[place]
                        break
        for place, (_, raw) in left.items():
            free = place not in placed and place not in self._told
            placed[place if free else max((*placed, *self._told, place)) + 1] = raw
        return placed

    def _left_out(self, answer: Answer) -> Iterator[bytes]:
        finals = self._finals(answer.items)
        for index, told in sorted(self._told.items()):
            if told.done is None:
                yield self._ending(index, finals.pop(index, None), answer.status)
        for index, raw in sorted(finals.items()):
            if index not in self._told:
                yield self.frame(_item_event(DONE, index, raw))

    def _ending(self, index: int, final: msgspec.Raw | None, status: str) -> bytes:
        told = self._told[index]
        if final is None or written(final).call_id != told.said.call_id:
            final = told.ended_as(status)
        return self.frame(_item_event(DONE, index, final))

    def _adopted(self, raw: msgspec.Raw) -> msgspec.Raw:
        return items.adopted(raw, self.mint(items.prefix_of(raw)))

    def _numbered(self, name: str, event: Fields) -> bytes:
        # Where the upstream had its own number, ours takes its place in the order of the keys.
        numbered: dict[str, Any] = event
        numbered["sequence_number"] = self.number
        self.number += 1
        return stream_events.frame(name, _encode(numbered))

    def _lifecycle(self, name: str, response: bytes) -> bytes:
        frame = stream_events.lifecycle(name, response, self.number)
        self.number += 1
        return frame


def _item_event(name: str, index: int, raw: msgspec.Raw) -> Fields:
    return {
        "type": msgspec.Raw(_encode(name)),
        "item": raw,
        "output_index": msgspec.Raw(b"%d" % index),
    }


def _by_id(_index: int, told: Written, _place: int, said: Written) -> bool:
    return bool(told.id) and (told.type, told.id) == (said.type, said.id)


def _by_place(index: int, told: Written, place: int, said: Written) -> bool:
    return index == place and told.type == said.type


def _by_type(_index: int, told: Written, _place: int, said: Written) -> bool:
    return told.type == said.type
