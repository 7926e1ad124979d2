"""Items that requests only name: found through their ids, which lead to where they are."""

from collections.abc import Iterable

import msgspec

from schemas.ids import conversation_of_item
from services.conversation.decide import visible_item
from services.journal.conversations import Conversations


async def known_items(
    conversations: Conversations,
    project: str,
    item_ids: Iterable[str],
    *,
    conversation_id: str,
) -> dict[str, msgspec.Raw]:
    """Stored forms of those that clients may still read, by id.

    Looked for in ``conversation_id`` first, where ids may be the client's own, then where the id
    leads.
    """
    found: dict[str, msgspec.Raw] = {}
    missing = set(item_ids)
    if not missing:
        return found
    for place in (conversation_id, *sorted(filter(None, map(conversation_of_item, missing)))):
        if not missing:
            break
        loaded = await conversations.load(project, place)
        for item_id in tuple(missing):
            item = visible_item(loaded.state, item_id)
            if item is not None:
                found[item_id] = item.raw
                missing.discard(item_id)
    return found
