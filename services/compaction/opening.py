"""Texts of the summaries among items."""

from collections.abc import Sequence

from schemas import items as stored
from services.conversation.history import Item
from services.sealing import Sealer, Unreadable


class Opener:
    """Opens what this installation has sealed."""

    def __init__(self, sealer: Sealer) -> None:
        """``sealer`` has the key."""
        self._sealer = sealer

    def text(self, item: Item) -> str | None:
        """The text of a compaction; none if only an upstream can read it."""
        try:
            return self._sealer.open(stored.sealed(item.raw))
        except Unreadable:
            return None

    def readable(self, items: Sequence[Item]) -> dict[str, str]:
        """The texts of the compactions among items that can be read here, by id."""
        found = ((item.id, self.text(item)) for item in items if item.type == "compaction")
        return {item_id: text for item_id, text in found if text is not None}

    def all_readable(self, items: Sequence[Item]) -> bool:
        """Whether no item is a summary that only an upstream can read."""
        return all(item.type != "compaction" or self.text(item) is not None for item in items)

    def carried(
        self, earlier: Item | None, items: tuple[Item, ...]
    ) -> tuple[str, tuple[Item, ...]]:
        """The text to carry over, and what to tell.

        An earlier summary that only an upstream can read is told with the rest.
        """
        if earlier is None:
            return "", items
        text = self.text(earlier)
        return ("", (earlier, *items)) if text is None else (text, items)
