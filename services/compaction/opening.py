"""Texts of the summaries among items."""

from collections.abc import Sequence
from contextlib import suppress

from schemas import items as stored
from services.conversation.history import Item
from services.sealing import Sealer, Unreadable


class Opener:
    """Opens what this installation has sealed."""

    def __init__(self, sealer: Sealer) -> None:
        """``sealer`` has the key."""
        self._sealer = sealer

    async def readable(self, items: Sequence[Item]) -> dict[str, str]:
        """The texts of the compactions among items that can be read here, by id."""
        return await self._sealer.opening(lambda: self._texts(items))

    async def carried(
        self, earlier: Item | None, items: tuple[Item, ...]
    ) -> tuple[str, tuple[Item, ...]]:
        """The text to carry over, and what to tell.

        An earlier summary that only an upstream can read is told with the rest.
        """
        if earlier is None:
            return "", items
        text = (await self.readable((earlier,))).get(earlier.id)
        return ("", (earlier, *items)) if text is None else (text, items)

    def _texts(self, items: Sequence[Item]) -> dict[str, str]:
        found: dict[str, str] = {}
        for item in items:
            if item.type == "compaction":
                with suppress(Unreadable):
                    found[item.id] = self._sealer.open(stored.sealed(item.raw))
        return found
