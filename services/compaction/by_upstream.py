"""Summaries by the upstream's own ``POST /responses/compact``, which only it can read.

It says which of the user's messages stay beside its compaction: those, and no others, do.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from schemas import items as stored
from services.compaction import Covered, Draft, MethodName, NotCovered
from services.compaction.by_model import prefix
from services.conversation.history import Item
from services.model import Call, Compacting

_decode = msgspec.json.Decoder().decode


class _Usage(msgspec.Struct):
    output_tokens: int = 0


_usage = msgspec.json.Decoder(_Usage).decode


class ByUpstream:
    """Has the beginning of the window made smaller where the model is."""

    name: MethodName = "upstream"

    def __init__(self, upstream: Compacting) -> None:
        """``upstream`` is asked once for each compaction."""
        self._upstream = upstream

    async def draft(self, covered: Covered) -> Draft:
        """As the protocol says; what it returns stands for all that is shown."""
        call = Call(
            model=covered.model_name, items=covered.shown, parameters=prefix(covered.parameters)
        )
        answer = await self._upstream.compact(call)
        sealed, said = "", []
        for raw in answer.items:
            if stored.head(raw).type == "compaction":
                sealed = stored.sealed(raw)
            else:
                said.append(raw)
        if not sealed:
            return Draft(usage=answer.usage)
        return Draft(
            sealed=sealed,
            tokens=max(1, _usage(answer.usage).output_tokens),
            said=tuple(_ours(said, covered.shown)),
            usage=answer.usage,
        )


def _ours(said: Sequence[msgspec.Raw], shown: Sequence[Item]) -> Iterator[Item]:
    """Our items that an upstream has repeated, which calls them by names of its own."""
    waiting = iter(item for item in shown if item.type == "message")
    for raw in said:
        told = _content(raw)
        found = next((item for item in waiting if _content(item.raw) == told), None)
        if found is None:
            # What it wants kept is nothing that was said, or in another order.
            raise NotCovered("upstream_rewrote")
        yield found


def _content(raw: msgspec.Raw) -> tuple[object, object]:
    """Role and content of a message, in one of the forms they have."""
    value: dict[str, Any] = _decode(raw)
    content = value.get("content")
    if isinstance(content, str):
        return value.get("role"), [{"type": "input_text", "text": content}]
    parts = content if isinstance(content, list) else []
    return value.get("role"), [
        {name: held for name, held in part.items() if held is not None and held != []}
        for part in parts
        if isinstance(part, dict)
    ]
