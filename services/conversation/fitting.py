"""Whether a window fits its model, and by how much it must shrink.

What a provider has counted stands; what it has not seen is counted by the tokenizer.
"""

import msgspec

from schemas.http import checks
from schemas.http.checks import Fields
from services.conversation.history import Turn
from services.conversation.limits import Limits
from services.conversation.state import Conversation, counted_tokens
from services.conversation.tokens import TokenCounter, count_beside, most_beside
from services.conversation.turn_compaction import Context

_fields = msgspec.json.Decoder(Fields).decode


class Room(msgspec.Struct, frozen=True, kw_only=True):
    """Most tokens of items beside which a turn's instructions, tools and answer find place.

    ``items`` keeps a share for an answer of unknown length, ``items_most`` keeps none: what is
    larger than that cannot be answered.
    """

    items: int
    items_most: int


def fits(context: Context, parameters: Fields, limits: Limits) -> bool:
    """Whether a context is sure to fit, at a glance."""
    room = limits.room(_output_max(parameters))
    return context.tokens + most_beside(parameters) <= room


def room_within(parameters: Fields, limits: Limits, *, beside: int) -> Room:
    """The room for items next to ``beside`` tokens of other things."""
    output_max = _output_max(parameters)
    room = limits.room(output_max)
    most = limits.window if output_max is None else room
    return Room(items=room - beside, items_most=most - beside)


def beside_of(state: Conversation, turn: Turn, parameters: Fields, *, counter: TokenCounter) -> int:
    """Tokens of instructions, tools and formats that the size of a turn's context leaves out.

    A provider's count of the turn before holds those of that turn, so that it may be negative.
    """
    before = _counted_before(state, turn)
    if before is None:
        return count_beside(parameters, counter)
    earlier = _fields(before.parameters)
    if all(_same(parameters, earlier, name) for name in ("instructions", "tools", "text")):
        return 0
    return count_beside(parameters, counter) - count_beside(earlier, counter)


def _counted_before(state: Conversation, turn: Turn) -> Turn | None:
    """The turn whose provider's count the size of the context goes back to."""
    if not turn.on_line:
        before = state.turns.get(turn.parent or "")
        return before if before and not before.truncates and counted_tokens(before.usage) else None
    newest_first = state.turns.downwards(len(state.turns) - 1)
    return next((each for each in newest_first if each.joined and counted_tokens(each.usage)), None)


def _output_max(parameters: Fields) -> int | None:
    given = parameters.get("max_output_tokens")
    return None if given is None or checks.is_null(given) else int(bytes(given))


def _same(one: Fields, other: Fields, name: str) -> bool:
    return bytes(one.get(name, b"")) == bytes(other.get(name, b""))
