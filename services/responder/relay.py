"""The upstream's events as the contract's: our ids, gapless numbers, each encoded once (pure)."""

from collections.abc import Callable

import msgspec

from schemas import items
from schemas.http import stream_events
from schemas.http.checks import Fields

_encode = msgspec.json.Encoder().encode
_text = msgspec.json.Decoder(str).decode
_ZERO = msgspec.Raw(b"0")
_index = msgspec.json.Decoder(int).decode


class Relay:
    """Frames of one response, in order. ``number`` is that of the next event.

    A summary that is made before the model answers comes first in the output; the upstream's own
    items then stand behind it.
    """

    def __init__(self, mint: Callable[[str], str], *, number: int = 0) -> None:
        """``mint`` makes an item id of a prefix; ``number`` counts what was told before."""
        self.mint = mint
        self._first = 0
        self._ids: dict[int, str] = {}
        self._done: dict[int, msgspec.Raw] = {}
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
        """The one terminal event; there is none for ``cancelled``, it ends as failed."""
        name = status if status in {"completed", "incomplete"} else "failed"
        return self._lifecycle(f"response.{name}", response)

    def frame(self, event: Fields) -> bytes:
        """One event of the upstream."""
        name = _text(event["type"])
        fields = dict(event)
        if "output_index" in fields:
            index = _index(fields["output_index"])
            if self._first:
                index += self._first
                fields["output_index"] = msgspec.Raw(b"%d" % index)
            if "item" in fields:
                fields["item"] = self._adopted(index, fields["item"])
                if name == "response.output_item.done":
                    self._done[index] = fields["item"]
            if "item_id" in fields and index in self._ids:
                fields["item_id"] = msgspec.Raw(_encode(self._ids[index]))
        return self._numbered(name, fields)

    def compacting(self, item_id: str) -> bytes:
        """A summary is being made; the first time, the item it will be is told of as well."""
        told = b""
        if not self._first:
            self._first, self._ids[0] = 1, item_id
            told = self._item("response.output_item.added", items.compaction(item_id, ""))
        name = "response.compaction.compacting"
        place = {"item_id": msgspec.Raw(_encode(item_id)), "output_index": _ZERO}
        return told + self._numbered(name, {"type": msgspec.Raw(_encode(name)), **place})

    def compacted(self, item: msgspec.Raw) -> bytes:
        """The summary is made."""
        self.put_first(item)
        return self._item("response.output_item.done", item)

    def put_first(self, item: msgspec.Raw) -> None:
        """Let a summary open the output, without telling of it."""
        self._first, self._done[0] = 1, item

    def output(self, answered: tuple[msgspec.Raw, ...]) -> tuple[msgspec.Raw, ...]:
        """The output of the response: what was told as done, else what the answer holds."""
        if len(self._done) > self._first:
            return self.partial()
        answer = enumerate(answered, self._first)
        return (*self.partial(), *(self._adopted(index, raw) for index, raw in answer))

    def partial(self) -> tuple[msgspec.Raw, ...]:
        """The output so far, of an answer that ends here."""
        return tuple(self._done[index] for index in sorted(self._done))

    def _item(self, name: str, item: msgspec.Raw) -> bytes:
        kind = msgspec.Raw(_encode(name))
        return self._numbered(name, {"type": kind, "item": item, "output_index": _ZERO})

    def _numbered(self, name: str, fields: Fields) -> bytes:
        fields["sequence_number"] = msgspec.Raw(b"%d" % self.number)
        self.number += 1
        return stream_events.frame(name, _encode(fields))

    def _adopted(self, index: int, raw: msgspec.Raw) -> msgspec.Raw:
        if index not in self._ids:
            self._ids[index] = self.mint(items.prefix_of(raw))
        return items.adopted(raw, self._ids[index])

    def _lifecycle(self, name: str, response: bytes) -> bytes:
        frame = stream_events.lifecycle(name, response, self.number)
        self.number += 1
        return frame
