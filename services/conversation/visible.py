"""What of a conversation clients may address: not all that is in the log is theirs to see."""

from services.conversation.history import Item, Turn
from services.conversation.state import Conversation


def visible(state: Conversation) -> bool:
    """Whether clients may address this conversation by its id."""
    return state.exists and not state.deleted and not state.hidden


def visible_response(state: Conversation, response_id: str) -> Turn | None:
    """An ended turn whose response object clients may still read."""
    turn = state.turns.get(response_id)
    if turn is None or not turn.store or response_id in state.responses_deleted:
        return None
    return turn


def readable_response(state: Conversation, response_id: str) -> Turn | None:
    """A turn whose response object clients may read: ended, or running in the background."""
    running = state.turn_running(response_id)
    if running is not None:
        return running if running.background and running.store else None
    return visible_response(state, response_id)


def visible_item(state: Conversation, item_id: str) -> Item | None:
    """An item that stands on the line, or that a readable response took in or gave out.

    The line of a deleted conversation is gone with it; what its responses hold is still theirs.
    """
    on_line = state.item(item_id)
    if on_line is not None and not state.deleted:
        return on_line
    for turn in state.turns.downwards(len(state.turns)):
        for item in turn.context:
            # What was taken off the line is not found through the turn it came with.
            if item.id != item_id or not visible_response(state, turn.id):
                continue
            if on_line is not None or not turn.joined:
                return item
    return None
