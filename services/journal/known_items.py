"""Items that requests only name: found through their ids, which lead to where they are."""

from collections.abc import Iterable

import msgspec

from schemas.ids import conversation_of_item
from services.conversation.state import Conversation
from services.conversation.visible import visible_item
from services.journal.conversations import Conversations


async def known_items(
    conversations: Conversations,
    project: str,
    item_ids: Iterable[str],
    *,
    conversation_id: str,
) -> dict[str, msgspec.Raw]:
    """Stored forms of those that clients may still read, by id, up to the first that is nowhere.

    Each is looked for in ``conversation_id``, where ids may be the client's own, then where it
    leads. One that is nowhere is refused, whatever follows it: nothing behind it is looked for.
    """
    found: dict[str, msgspec.Raw] = {}
    states: dict[str, Conversation] = {}
    for item_id in dict.fromkeys(item_ids):
        for place in filter(None, (conversation_id, conversation_of_item(item_id))):
            if place not in states:
                states[place] = (await conversations.load(project, place)).state
            item = visible_item(states[place], item_id)
            if item is not None:
                found[item_id] = item.raw
                break
        else:
            break
    return found
