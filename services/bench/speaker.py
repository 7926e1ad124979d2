"""What the clients of ``turnlog bench`` say, and what the model must say back.

The simulator tells how much it was sent and a digest of it, so a history that was lost shows.
"""

import random
from collections.abc import Iterator, Sequence

from services.bench.load import BenchFailed, Client, Heard, Said
from services.simulator.anchors import OPENING
from services.simulator.entries import Entry, digest_of

_WORDS = (
    "about account address after again already answer arrived before box broken carrier changed"
    " check could customer damaged date delivery depot different friday have invoice lamp later"
    " letter missing monday morning number order package paid parcel payment photograph please"
    " receipt refund return second sent should still store street tell there today tomorrow two"
    " wait warehouse when where which week without would wrong yesterday"
)


class Speaker:
    """A client that talks: on and on in conversations, or every turn on its own."""

    def __init__(
        self,
        client: Client,
        texts: Iterator[str],
        *,
        turns_max: int,
        kept: bool,
        stream: bool,
    ) -> None:
        """``turns_max`` of a conversation, 1 for none; ``kept`` by the server, or sent again."""
        self._client = client
        self._texts = texts
        self._turns_max = turns_max
        self._kept = kept
        self._stream = stream
        self._entries: list[Entry] = []
        self._conversation_id: str | None = None

    async def turn(self) -> Heard:
        """Say the next thing; raises `BenchFailed` unless the model has seen all that was said."""
        in_conversation = self._turns_max > 1
        if len(self._entries) >= 2 * self._turns_max:
            self._entries = []
        if not self._entries and in_conversation and self._kept:
            self._conversation_id = await self._client.open_conversation()
        said = Said(
            text=next(self._texts),
            earlier=() if self._kept else tuple(self._entries),
            conversation_id=self._conversation_id,
            stream=self._stream,
        )
        self._entries.append(Entry("user", "message", said.text))
        heard = await self._client.turn(said)
        opening = opening_of(self._entries)
        if not heard.text.startswith(opening):
            raise BenchFailed(
                f"history was lost: the model should have said {opening!r}, "
                f"but said {heard.text[: len(opening)]!r}"
            )
        self._entries.append(Entry("assistant", "message", heard.text))
        return heard


def opening_of(entries: Sequence[Entry]) -> str:
    """How the simulator begins its answer to exactly these entries."""
    noun = "item" if len(entries) == 1 else "items"
    return f"{OPENING}{len(entries)} {noun} (digest {digest_of(entries)})."


def texts(seed: int, client: int) -> Iterator[str]:
    """What a client says, the same for the same seed."""
    chosen = random.Random(f"{seed} {client}")  # noqa: S311 - load is repeatable, not secret
    known = _WORDS.split()
    while True:
        words = " ".join(chosen.choices(known, k=chosen.randint(10, 24)))
        yield f"{words.capitalize()} #{chosen.randint(10_000, 99_999)}."
