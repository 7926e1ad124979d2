"""What a model takes: its window, its longest answer, its vocabulary.

Who is not listed has no limit known, and is refused nothing here: its server knows better. Sizes
are those of https://platform.openai.com/docs/models; a server that serves less says so itself, or
is told of in ``TURNLOG_MODELS``.
"""

from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec

Tokens = Annotated[int, msgspec.Meta(ge=0)]
Encoding = Literal["o200k_base", "cl100k_base"]
USUAL: Encoding = "o200k_base"
"""The vocabulary of all newer models, and ours for those nobody knows."""

RESERVE_SHARE = 0.05
"""Share of a window that is kept for an answer whose length nobody has limited."""
BUDGET_SHARE = 0.75
"""Share of a window no budget exceeds, so that it is compacted before it must be."""


class Limits(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Tokens of one model.

    ``window`` holds input and answer together, ``output`` is the longest answer; 0: not known.
    """

    window: Tokens = 0
    output: Tokens = 0
    encoding: Encoding = USUAL

    def reserve(self, output_max: int | None) -> int:
        """Room an answer needs that may have ``output_max`` tokens, if that was said."""
        wanted = int(self.window * RESERVE_SHARE) if output_max is None else output_max
        return min(wanted, self.output or wanted)

    def room(self, output_max: int | None) -> int:
        """Most tokens of input beside such an answer; only where a window is known."""
        return max(0, self.window - self.reserve(output_max))

    def capped(self, budget: int) -> int:
        """A budget that this model can keep; 0 stays none."""
        return min(budget, int(self.window * BUDGET_SHARE)) if self.window else budget


UNKNOWN = Limits()

_OLD: Encoding = "cl100k_base"
KNOWN: dict[str, Limits] = {
    "gpt-5.5": Limits(1_050_000, 128_000),
    "gpt-5.4": Limits(1_050_000, 128_000),
    "gpt-5.4-pro": Limits(1_050_000, 128_000),
    "gpt-5.4-mini": Limits(400_000, 128_000),
    "gpt-5.4-nano": Limits(400_000, 128_000),
    "gpt-5.3-codex": Limits(400_000, 128_000),
    "gpt-5.2": Limits(400_000, 128_000),
    "gpt-5.2-pro": Limits(400_000, 128_000),
    "gpt-5.2-codex": Limits(400_000, 128_000),
    "gpt-5.2-chat": Limits(128_000, 16_384),
    "gpt-5.1": Limits(400_000, 128_000),
    "gpt-5.1-codex*": Limits(400_000, 128_000),
    "gpt-5.1-chat": Limits(128_000, 16_384),
    "gpt-5": Limits(400_000, 128_000),
    "gpt-5-mini": Limits(400_000, 128_000),
    "gpt-5-nano": Limits(400_000, 128_000),
    "gpt-5-codex": Limits(400_000, 128_000),
    "gpt-5-pro": Limits(400_000, 272_000),
    "gpt-5-chat": Limits(128_000, 16_384),
    "gpt-4.1": Limits(1_047_576, 32_768),
    "gpt-4.1-mini": Limits(1_047_576, 32_768),
    "gpt-4.1-nano": Limits(1_047_576, 32_768),
    "gpt-4o": Limits(128_000, 16_384),
    "gpt-4o-mini": Limits(128_000, 16_384),
    "chatgpt-4o": Limits(128_000, 16_384),
    "o4-mini": Limits(200_000, 100_000),
    "o3": Limits(200_000, 100_000),
    "o3-mini": Limits(200_000, 100_000),
    "o3-pro": Limits(200_000, 100_000),
    "o1": Limits(200_000, 100_000),
    "o1-pro": Limits(200_000, 100_000),
    "codex-mini": Limits(200_000, 100_000),
    "gpt-oss-120b": Limits(131_072, 131_072),
    "gpt-oss-20b": Limits(131_072, 131_072),
    "gpt-4-turbo": Limits(128_000, 4_096, _OLD),
    "gpt-4-1106": Limits(128_000, 4_096, _OLD),
    "gpt-4-0125": Limits(128_000, 4_096, _OLD),
    # OpenAI's hold 8,192 and 16,385; servers of other people give these names to what they have.
    "gpt-4": Limits(0, 0, _OLD),
    "gpt-3.5-turbo": Limits(0, 0, _OLD),
}
"""By the name of a model, which is also that of its snapshots: ``gpt-4o-2024-11-20`` is a
``gpt-4o``, but ``gpt-4-something`` no ``gpt-4``. With ``*`` at the end: of all that begin so."""


class Models:
    """Limits by the names of models, those ``given`` before those known."""

    def __init__(self, given: Mapping[str, Limits] | None = None) -> None:
        """``given`` is written like `KNOWN`."""
        self._tables = (given or {}, KNOWN)
        self._found: dict[str, Limits] = {}

    def of(self, model: str) -> Limits:
        """The limits of a model, `UNKNOWN` if nobody has told them.

        The longest name that fits counts. ``ft:`` before and ``:`` behind a name, as fine-tuned
        models have them, do not; nor does a provider before a slash.
        """
        found = self._found.get(model)
        if found is None:
            found = next(filter(None, (_in(table, model) for table in self._tables)), UNKNOWN)
            if len(self._found) < _REMEMBERED_MAX:
                self._found[model] = found
        return found


_REMEMBERED_MAX = 1_000
"""Names come from clients."""


def _in(table: Mapping[str, Limits], model: str) -> Limits | None:
    plain = model.removeprefix("ft:").split(":", 1)[0].rpartition("/")[2]
    fitting = [name for name in table if _fits(name, model) or _fits(name, plain)]
    return table[max(fitting, key=len)] if fitting else None


def _fits(name: str, model: str) -> bool:
    if name.endswith("*"):
        return model.startswith(name[:-1])
    snapshot = model.removeprefix(name) if model.startswith(name) else None
    return snapshot == "" or (snapshot is not None and _is_snapshot(snapshot))


def _is_snapshot(end: str) -> bool:
    """``-2024-11-20``, ``-0613``, ``-latest``, ``-preview``, or several of these."""
    parts = end.split("-")
    return parts[0] == "" and all(
        part.isdecimal() or part in {"latest", "preview"} for part in parts[1:]
    )
