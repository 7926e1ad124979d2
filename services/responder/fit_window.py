"""What of a turn's context its model is sent: all of it, unless it must be made smaller.

Too long is what leaves no room for an answer. A turn that asks for ``truncation`` then loses its
oldest items; any other that continues something is compacted, asked or not, unless it is never to
be; a client's own array is the client's to shorten. What nothing helps is refused before the model
is called.
"""

from collections.abc import Callable, Sequence

import msgspec
import structlog

from services.conversation.budget import Policy
from services.conversation.compaction import KEPT_SHARE
from services.conversation.fitting import Room, beside_of, fits, room_within
from services.conversation.history import Item, Turn
from services.conversation.limits import Limits
from services.conversation.state import Conversation
from services.conversation.tokens import TokenCounter, count_beside
from services.conversation.truncation import without_oldest
from services.conversation.turn_compaction import Context, context_of
from services.model import ModelRefused
from services.responder.asked import Asked
from services.responder.compact_in_turn import Made, TurnSummariser

TOO_LONG = "context_length_exceeded"
"""Code of a window that a model does not take (contract 1.4)."""

log = structlog.get_logger()


class Fitted(msgspec.Struct, frozen=True, kw_only=True):
    """What the model is sent, and the summary that was made for it."""

    window: tuple[Item, ...]
    made: Made | None = None


class WindowFitter:
    """Makes windows fit by the limits of one policy."""

    def __init__(self, summariser: TurnSummariser, policy: Policy, counter: TokenCounter) -> None:
        """``counter`` sizes what stands beside items."""
        self._summariser = summariser
        self._policy = policy
        self._counter = counter

    def budget(self, asked: Asked, state: Conversation, turn: Turn) -> int:
        """The budget of the windows a turn is one of; 0: none."""
        return self._policy.of(asked.project).budget(state.metadata, model=turn.model)

    async def fitted(
        self,
        asked: Asked,
        state: Conversation,
        turn: Turn,
        history: tuple[Item, ...],
        *,
        mint: Callable[[str], str],
    ) -> Fitted:
        """The window of a turn; raises `ModelRefused` if none would fit."""
        limits = self._policy.models.of(turn.model)
        whole = Fitted(window=(*history, *turn.shown))
        if not limits.window and not asked.create.context_managed:
            return whole
        context = context_of(state, turn, history)
        room = self._room(asked, state, turn, context, limits)
        threshold = self._threshold(asked, state, turn, context, room)
        made = None
        if threshold > 0:
            made = await self._summariser.shortened(
                context, turn, state, threshold=threshold, new=mint("cmp")
            )
        if made is not None:
            whole = Fitted(window=made.window, made=made)
        if room is None:
            return whole
        size = context.tokens
        if made is not None:
            # No provider has seen this window yet.
            size = _size(made.window)
            beside = count_beside(asked.create.parameters, self._counter.of(turn.model))
            room = room_within(asked.create.parameters, limits, beside=beside)
        return _within(room, whole, size=size, asked=asked, turn=turn)

    def _room(
        self, asked: Asked, state: Conversation, turn: Turn, context: Context, limits: Limits
    ) -> Room | None:
        """Room for the items of a turn; none if there is enough."""
        parameters = asked.create.parameters
        # Tokenizing is only worth its time near the limit.
        if not limits.window or fits(context, parameters, limits):
            return None
        beside = beside_of(state, turn, parameters, counter=self._counter.of(turn.model))
        room = room_within(parameters, limits, beside=beside)
        return None if context.tokens <= room.items else room

    def _threshold(
        self, asked: Asked, state: Conversation, turn: Turn, context: Context, room: Room | None
    ) -> int:
        """The size a context is to be compacted to; 0: it stays as it is."""
        create, budget = asked.create, self.budget(asked, state, turn)
        if room and context.history and _size(context.input) > room.items_most:
            # Whatever becomes of the history, this is too long.
            return 0
        most = max(0, room.items) if room else context.tokens
        if create.context_managed:
            wanted = create.compact_threshold or budget
            if room is None and _size((*context.history, *context.input)) <= wanted * KEPT_SHARE:
                # What stands beside items is what is large: it would be so each turn.
                return 0
            return min(wanted, most) if wanted else most if room else 0
        continues = turn.on_line or turn.parent is not None
        compacted = budget > 0 and continues and create.truncation != "auto"
        return most if room and compacted else 0


def _within(room: Room, whole: Fitted, *, size: int, asked: Asked, turn: Turn) -> Fitted:
    """What of a window there is room for; its size is ``size``."""
    if size > room.items and asked.create.truncation == "auto":
        shorter = truncated(whole.window, new=len(turn.shown), tokens=size - room.items)
        if shorter is not None:
            left = _size(shorter)
            # The provider's count of the whole may be more than ours, or less.
            size = min(left, size - _size(whole.window) + left)
            log.info("turn.truncated", response_id=turn.id, items=len(shorter), tokens=left)
            whole = Fitted(window=shorter, made=whole.made)
    if size > room.items_most:
        log.info("turn.too_long", response_id=turn.id, tokens=size, room=room.items_most)
        raise too_long()
    return whole


def truncated(window: tuple[Item, ...], *, new: int, tokens: int) -> tuple[Item, ...] | None:
    """A window without so many old items that ``tokens`` are saved; the ``new`` ones stay."""
    behind = max(0, len(window) - new)
    shorter = without_oldest(window[:behind], window[behind:], tokens=tokens)
    return None if shorter is None else (*shorter, *window[behind:])


def _size(items: Sequence[Item]) -> int:
    return sum(item.tokens for item in items)


def too_long() -> ModelRefused:
    """The refusal of a window that a model does not take."""
    return ModelRefused(
        "Your input exceeds the context window of this model. Please adjust your input and try "
        "again.",
        status=400,
        code=TOO_LONG,
        param="input",
    )
