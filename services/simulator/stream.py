"""The events of a streamed response, numbered and framed as they are made."""

from collections.abc import Iterable
from typing import Any

import msgspec

from schemas.http.stream_events import frame, lifecycle
from services.simulator.directives import Delivery
from services.simulator.faults import Frame

_encode = msgspec.json.Encoder().encode


class Stream:
    """Frames so far; it numbers them, without gaps. Deltas carry no ``obfuscation``."""

    def __init__(self, delivery: Delivery, *, partial_images: int = 0) -> None:
        """``delivery`` orders events that mean nothing; ``partial_images`` is asked for."""
        self.frames: list[Frame] = []
        self.partial_images = partial_images
        self._delivery = delivery

    def lifecycle(self, name: str, response: bytes) -> None:
        """An event with the whole response."""
        self.frames.append((False, lifecycle(name, response, len(self.frames))))

    def event(self, name: str, fields: dict[str, Any], *, delta: bool = False) -> None:
        """Any other event; a delay goes before a delta."""
        if delta and self._delivery.keepalive:
            self.event("keepalive", {})
        # Keys after the type are alphabetical (contract 3.1).
        ordered = dict(sorted({**fields, "sequence_number": len(self.frames)}.items()))
        self.frames.append((delta, frame(name, _encode({"type": name, **ordered}))))

    def added(self, item: dict[str, Any], index: int) -> None:
        """An item begins."""
        if self._delivery.unknown_event:
            self.event("response.future_thing.added", {"detail": {"of": item["type"]}})
        self.event("response.output_item.added", {"item": item, "output_index": index})

    def done(self, item: dict[str, Any], index: int) -> None:
        """An item ends."""
        self.event("response.output_item.done", {"item": item, "output_index": index})

    def deltas(self, name: str, texts: Iterable[object], fields: dict[str, Any]) -> None:
        """One delta for each text."""
        if self._delivery.keepalive:
            for text in texts:
                self.event(name, {**fields, "delta": text}, delta=True)
            return
        # Only the text and the number differ, so only they are made.
        marked = {"type": name, **dict(sorted({**fields, "delta": 0}.items()))}
        before, after = frame(name, _encode(marked)).split(b'"delta":0', 1)
        # ``summary_index`` is the one key that sorts behind ``sequence_number``.
        after, mark, last = after.removesuffix(b"}\n\n").partition(b',"summary_index"')
        for text in texts:
            number = b',"sequence_number":%d' % len(self.frames)
            payload = b'%b"delta":%b%b%b%b%b}\n\n' % (
                before,
                _encode(text),
                after,
                number,
                mark,
                last,
            )
            self.frames.append((True, payload))
