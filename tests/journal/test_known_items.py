"""Items named by their ids: how far they are looked for."""

from services.conversation import commands
from services.conversation.budget import Policy
from services.journal.conversations import Conversations
from services.journal.known_items import known_items
from services.journal.memory import MemoryJournal
from tests.builders import message

HERE = "conv_00000000000000000000000000000001"
THERE = "conv_00000000000000000000000000000002"


class Counting(MemoryJournal):
    """Counts what is read of it."""

    def __init__(self) -> None:
        super().__init__()
        self.places: list[str] = []

    async def last(self, project, conversation_id):
        self.places.append(conversation_id)
        return await super().last(project, conversation_id)


def item_id(conversation_id: str, number: int) -> str:
    return f"msg_{conversation_id.removeprefix('conv_')}{number:012x}"


async def test_items_are_found_where_they_are_asked_for_and_where_their_ids_lead():
    journal = Counting()
    conversations = Conversations(journal, actor="test", policy=Policy())
    own, led, absent = "msg_own", item_id(THERE, 1), item_id(THERE, 2)
    for place, named in ((HERE, own), (THERE, led)):
        command = commands.CreateConversation(metadata={}, items=(message(named),))
        await conversations.grant("p", place, command, command_id=place)
    found = await known_items(conversations, "p", [own, led, absent], conversation_id=HERE)
    assert list(found) == [own, led]


async def test_nothing_is_looked_for_behind_an_item_that_is_nowhere():
    journal = Counting()
    conversations = Conversations(journal, actor="test", policy=Policy())
    named = [item_id(f"conv_{number:032x}", number) for number in range(100, 200)]

    assert await known_items(conversations, "p", named, conversation_id=HERE) == {}

    assert journal.places == [HERE, f"conv_{100:032x}"]
