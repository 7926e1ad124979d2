"""Items as they come in, from clients and from the model: stored form, id and size."""

from collections.abc import Callable, Iterable, Mapping

import msgspec

from schemas import items
from schemas.http.errors import Invalid
from services import ids
from services.conversation.history import Item, item_of
from services.conversation.tokens import TokenCounter
from services.sealing import Sealer, Unreadable

_NONE: Mapping[str, msgspec.Raw] = {}


class Intake:
    """Makes stored items of what was sent, refusing what the contract refuses."""

    def __init__(self, counter: TokenCounter, sealer: Sealer) -> None:
        """``counter`` sizes items, ``sealer`` knows which compactions are ours."""
        self._counter = counter
        self._sealer = sealer

    def of(self, model: str | None) -> "Intake":
        """The same for a model, by whose vocabulary items are sized; none: by the usual one."""
        counter = self._counter if model is None else self._counter.of(model)
        return self if counter is self._counter else Intake(counter, self._sealer)

    def text(
        self, raw: msgspec.Raw, *, mint: Callable[[str], str] = ids.item_id
    ) -> tuple[Item, ...]:
        """The user message a string input stands for."""
        return (self._item(items.from_text(raw, mint=mint)),)

    def array(
        self,
        values: Iterable[msgspec.Raw],
        param: str,
        *,
        known: Mapping[str, msgspec.Raw] = _NONE,
        mint: Callable[[str], str] = ids.item_id,
    ) -> tuple[Item, ...]:
        """Items of a request; ``param`` is what errors call the array.

        ``known`` holds the stored items that references may name.
        """
        stored = items.from_array(values, param, mint=mint, accept=self._accept, known=known)
        return tuple(self._item(raw) for raw in stored)

    async def take(
        self,
        values: Iterable[msgspec.Raw],
        param: str,
        *,
        known: Mapping[str, msgspec.Raw] = _NONE,
        mint: Callable[[str], str] = ids.item_id,
    ) -> tuple[Item, ...]:
        """As `array`, under content keys that were made only now as well."""
        given = tuple(values)
        return await self._sealer.opening(lambda: self.array(given, param, known=known, mint=mint))

    def output(self, raws: Iterable[msgspec.Raw]) -> tuple[Item, ...]:
        """Items a model wrote, which already carry our ids."""
        return tuple(self._item(raw) for raw in raws)

    def _item(self, raw: msgspec.Raw) -> Item:
        text = self._summary(raw) if items.head(raw).type == "compaction" else None
        tokens = self._counter.count(raw) if text is None else self._counter.count_text(text)
        return item_of(raw, tokens)

    def _summary(self, raw: msgspec.Raw) -> str | None:
        """The text of a compaction; nothing for one an upstream made, which only that can open."""
        try:
            return self._sealer.open(items.sealed(raw))
        except Unreadable:
            return None

    def _accept(self, blob: str, item_id: str) -> None:
        try:
            self._sealer.check(blob)
        except Unreadable as error:
            raise Invalid(
                f"The encrypted content for item {item_id} could not be verified. Reason: {error}.",
                code="invalid_encrypted_content",
            ) from error
