"""What every journal promises, and what `Conversations` promises over every journal."""

import asyncio
import json
from itertools import pairwise

import pytest

from schemas import envelope
from services.conversation import commands as c
from services.conversation.budget import Policy
from services.conversation.history import Item
from services.conversation.refusals import ConversationLocked, ConversationUnknown
from services.conversation.state import NEW, UNSTORED, evolve
from services.journal import Conflict, Journal, JournalUnavailable, Stored
from services.journal.conversations import Conversations, Granted, Loaded, advanced
from tests.builders import complete, ids_of, listed, message, request, said

PROJECT = "default"


async def stored_by(journal: Journal, conversation_id: str) -> list[Stored]:
    """Every commit of a conversation."""
    return await journal.read(PROJECT, conversation_id, after=0)


def stored(conversation_id: str, name: str, *, sequence: int, previous: int) -> Stored:
    """A commit as the contract's tests append it."""
    return Stored(
        sequence=sequence,
        previous=previous,
        message_id=f"{conversation_id}.{name}",
        payload=name.encode(),
    )


async def grant(
    one: Conversations, conversation_id: str, command: c.Command, name: str, *, fresh: bool = False
) -> Granted:
    """Grant under an id of this conversation's own: a stream knows ids of all conversations."""
    command_id = f"{conversation_id}.{name}"
    return await one.grant(PROJECT, conversation_id, command, command_id=command_id, fresh=fresh)


def names(commits: list[Stored]) -> list[str]:
    """What the commands of some commits were called."""
    return [stored.message_id.partition(".")[2] for stored in commits]


async def cold(journal: Journal, conversation_id: str) -> Loaded:
    """A conversation folded from its first commit, by nobody's cache."""
    loaded = Loaded()
    for stored in await stored_by(journal, conversation_id):
        loaded = advanced(loaded, stored)
    return loaded


def process(journal: Journal, *, name: str = "test", **limits: int) -> Conversations:
    """What one process has: a cache of its own."""
    return Conversations(journal, actor=name, policy=Policy(), **limits)


async def verify(journal: Journal, conversation_id: str) -> list[Stored]:
    """Check chain and order of a conversation in the log; returns its commits."""
    commits = await stored_by(journal, conversation_id)
    previous, digest = 0, None
    for stored in commits:
        commit = envelope.decode(stored.payload)
        assert (stored.previous, commit.prev, commit.id, commit.conversation_id) == (
            previous,
            digest,
            stored.message_id,
            conversation_id,
        )
        previous, digest = stored.sequence, stored.digest
    assert all(one.sequence < other.sequence for one, other in pairwise(commits))
    assert len({stored.message_id for stored in commits}) == len(commits)
    return commits


def outlines(commits: list[Stored]) -> list[envelope.Outline]:
    """The outline after each commit, recomputed from the log alone."""
    state, found = NEW, []
    for stored in commits:
        commit = envelope.decode(stored.payload)
        for event in commit.events:
            state = evolve(state, envelope.unpack(event), at=commit.at, sequence=UNSTORED)
        found.append(state.outline())
        state = state.stored_at(stored.sequence)
    return found


class JournalContract:
    """Inherited with a fixture ``journal``."""

    async def append(self, journal, conversation_id, name, *, expected):
        return await journal.append(
            PROJECT,
            conversation_id,
            name.encode(),
            message_id=f"{conversation_id}.{name}",
            expected=expected,
            headers={"Turnlog-Events": "conversation_created"},
        )

    async def test_a_conversation_nobody_wrote_to_has_nothing(self, journal, conversation_id):
        assert await journal.last(PROJECT, conversation_id) is None
        assert await journal.read(PROJECT, conversation_id, after=0) == []
        assert await journal.read(PROJECT, conversation_id, after=10**9) == []

    async def test_commits_are_read_as_they_were_appended(self, journal, conversation_id):
        one = await self.append(journal, conversation_id, "one", expected=0)
        two = await self.append(journal, conversation_id, "two", expected=one)
        three = await self.append(journal, conversation_id, "three", expected=two)
        commits = [
            stored(conversation_id, "one", sequence=one, previous=0),
            stored(conversation_id, "two", sequence=two, previous=one),
            stored(conversation_id, "three", sequence=three, previous=two),
        ]
        assert await journal.read(PROJECT, conversation_id, after=0) == commits
        assert await journal.read(PROJECT, conversation_id, after=one) == commits[1:]
        assert await journal.read(PROJECT, conversation_id, after=three) == []
        assert await journal.last(PROJECT, conversation_id) == commits[-1]

    async def test_any_bytes_are_stored_as_they_are(self, journal, conversation_id):
        payload = bytes(range(256)) * 9
        name = f"{conversation_id}.bytes"
        await journal.append(
            PROJECT, conversation_id, payload, message_id=name, expected=0, headers={}
        )
        assert (await journal.last(PROJECT, conversation_id)).payload == payload

    @pytest.mark.parametrize("expected", ["first", "older", "future"])
    async def test_an_append_that_expects_another_commit_conflicts_and_stores_nothing(
        self, journal, conversation_id, expected
    ):
        one = await self.append(journal, conversation_id, "one", expected=0)
        two = await self.append(journal, conversation_id, "two", expected=one)
        sequence = {"first": 0, "older": one, "future": two + 1_000_000}[expected]
        with pytest.raises(Conflict):
            await self.append(journal, conversation_id, "three", expected=sequence)
        assert (await journal.last(PROJECT, conversation_id)).payload == b"two"

    async def test_a_first_commit_that_expects_one_before_it_conflicts(
        self, journal, conversation_id
    ):
        with pytest.raises(Conflict):
            await self.append(journal, conversation_id, "one", expected=1)
        assert await journal.last(PROJECT, conversation_id) is None

    @pytest.mark.parametrize("expected", ["as_before", "as_now"])
    async def test_the_last_commit_appended_again_is_the_same_commit(
        self, journal, conversation_id, expected
    ):
        one = await self.append(journal, conversation_id, "one", expected=0)
        two = await self.append(journal, conversation_id, "two", expected=one)
        sequence = one if expected == "as_before" else two
        assert await self.append(journal, conversation_id, "two", expected=sequence) == two
        assert len(await stored_by(journal, conversation_id)) == 2

    async def test_conversations_and_projects_do_not_see_each_other(self, journal, conversation_id):
        other = conversation_id + "0"
        await self.append(journal, conversation_id, "one", expected=0)
        await self.append(journal, other, "two", expected=0)
        name = f"{conversation_id}.three"
        await journal.append(
            "elsewhere", conversation_id, b"three", message_id=name, expected=0, headers={}
        )
        assert [one.payload for one in await stored_by(journal, conversation_id)] == [b"one"]
        assert [one.payload for one in await stored_by(journal, other)] == [b"two"]
        assert (await journal.last("elsewhere", conversation_id)).payload == b"three"

    async def test_long_conversations_are_read_whole(self, journal, conversation_id):
        sequence, expected = 0, []
        for number in range(700):
            sequence = await self.append(journal, conversation_id, f"{number}", expected=sequence)
            expected.append(sequence)
        commits = await stored_by(journal, conversation_id)
        assert [one.sequence for one in commits] == expected
        late = await journal.read(PROJECT, conversation_id, after=expected[150])
        assert [one.sequence for one in late] == expected[151:]

    async def test_of_many_who_append_at_once_one_succeeds(self, journal, conversation_id):
        asked = [
            self.append(journal, conversation_id, f"{number}", expected=0) for number in range(16)
        ]
        outcomes = await asyncio.gather(*asked, return_exceptions=True)
        assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Conflict"] * 15 + ["int"]
        assert len(await stored_by(journal, conversation_id)) == 1


class ConversationsContract:
    """Inherited with the fixtures ``journal`` and ``open_journal`` (another process's)."""

    async def begun(self, journal, conversation_id, *items: Item):
        one = process(journal)
        command = c.CreateConversation(metadata={"a": "b"}, items=items)
        await grant(one, conversation_id, command, "create", fresh=True)
        return one

    async def test_what_was_granted_is_loaded_by_every_process(self, journal, conversation_id):
        one = await self.begun(journal, conversation_id, message("msg_1"))
        loaded = await one.load(PROJECT, conversation_id)
        assert listed(loaded.state) == ["msg_1"]
        assert loaded == await process(journal).load(PROJECT, conversation_id)
        assert loaded == await cold(journal, conversation_id)

    async def test_a_conversation_without_commits_is_new(self, journal, conversation_id):
        assert await process(journal).load(PROJECT, conversation_id) == Loaded()

    async def test_a_refusal_is_passed_on_and_stores_nothing(self, journal, conversation_id):
        with pytest.raises(ConversationUnknown):
            await grant(process(journal), conversation_id, c.DeleteConversation(), "delete")
        assert await stored_by(journal, conversation_id) == []

    async def test_a_load_is_never_older_than_what_another_process_appended(
        self, journal, open_journal, conversation_id
    ):
        one, other = await self.begun(journal, conversation_id), process(await open_journal())
        for number in range(4):
            writer, reader = (one, other) if number % 2 else (other, one)
            command = c.AddItems(items=(message(f"msg_{number}"),))
            granted = await grant(writer, conversation_id, command, f"add-{number}")
            loaded = await reader.load(PROJECT, conversation_id)
            assert (loaded.sequence, loaded.state) == (granted.sequence, granted.state)
            assert listed(loaded.state)[-1] == f"msg_{number}"

    async def test_a_refusal_is_never_given_on_an_old_state(
        self, journal, open_journal, conversation_id
    ):
        one, other = await self.begun(journal, conversation_id), process(await open_journal())
        turn = request("resp_1", message("msg_1"))
        await grant(one, conversation_id, turn, "resp_1.requested")
        with pytest.raises(ConversationLocked):
            await grant(other, conversation_id, request("resp_2"), "resp_2.requested")
        await grant(one, conversation_id, complete("resp_1"), "resp_1.ended.1")
        granted = await grant(other, conversation_id, request("resp_2"), "resp_2.requested")
        assert granted.state.turn_on_line.id == "resp_2"

    async def test_a_decision_on_an_old_state_is_taken_again(
        self, journal, open_journal, conversation_id
    ):
        one, other = await self.begun(journal, conversation_id), process(await open_journal())
        await other.load(PROJECT, conversation_id)
        for writer, item in ((one, "msg_1"), (other, "msg_2"), (one, "msg_3")):
            await grant(writer, conversation_id, c.AddItems(items=(message(item),)), item)
        commits = await verify(journal, conversation_id)
        assert names(commits) == ["create", "msg_1", "msg_2", "msg_3"]
        loaded = await cold(journal, conversation_id)
        assert listed(loaded.state) == ["msg_1", "msg_2", "msg_3"]

    async def test_a_turn_that_another_process_ended_is_not_ended_twice(
        self, journal, open_journal, conversation_id
    ):
        one, other = await self.begun(journal, conversation_id), process(await open_journal())
        turn = request("resp_1", message("msg_1"))
        await grant(one, conversation_id, turn, "resp_1.requested")
        again = await grant(other, conversation_id, turn, "resp_1.requested.b")
        assert again.events == ()
        assert len(await stored_by(journal, conversation_id)) == 2

    async def test_a_command_that_another_process_was_granted_is_known_as_it_was_stored(
        self, journal, open_journal, conversation_id
    ):
        one, other = await self.begun(journal, conversation_id), process(await open_journal())
        await other.load(PROJECT, conversation_id)
        theirs = request("resp_1", message("msg_theirs"))
        mine = request("resp_1", message("msg_mine"))
        await grant(one, conversation_id, theirs, "resp_1.requested")
        granted = await grant(other, conversation_id, mine, "resp_1.requested")
        truth = await cold(journal, conversation_id)
        assert ids_of(granted.state.turn_on_line.input) == ["msg_theirs"]
        assert (granted.state, granted.sequence) == (truth.state, truth.sequence)
        assert await other.load(PROJECT, conversation_id) == truth
        await grant(other, conversation_id, complete("resp_1"), "resp_1.ended.1")
        await verify(journal, conversation_id)

    async def test_a_command_id_used_again_leaves_every_process_with_what_the_log_says(
        self, journal, open_journal, conversation_id
    ):
        one, other = await self.begun(journal, conversation_id), process(await open_journal())
        first = c.AddItems(items=(message("msg_1"),))
        await grant(one, conversation_id, first, "first")
        second = c.AddItems(items=(message("msg_2"),))
        await grant(other, conversation_id, second, "second")
        third = c.DeleteItem(item_id="msg_1")
        await grant(one, conversation_id, third, "third")
        await grant(one, conversation_id, first, "first")
        await grant(other, conversation_id, c.AddItems(items=(message("msg_3"),)), "fourth")
        truth = await cold(journal, conversation_id)
        assert await one.load(PROJECT, conversation_id) == truth
        assert await other.load(PROJECT, conversation_id) == truth

    @pytest.mark.parametrize("writers", [2, 16])
    async def test_writers_at_once_lose_nothing_and_double_nothing(
        self, journal, open_journal, conversation_id, writers
    ):
        await self.begun(journal, conversation_id)
        processes = [process(await open_journal(), name=f"p{n}") for n in range(writers)]

        async def write(number, conversations):
            for step in range(3):
                name = f"msg_{number}_{step}"
                command = c.AddItems(items=(message(name),))
                await persist(conversations, conversation_id, command, name)

        await asyncio.gather(*(write(n, each) for n, each in enumerate(processes)))
        commits = await verify(journal, conversation_id)
        order = names(commits)[1:]
        expected = [f"msg_{number}_{step}" for number in range(writers) for step in range(3)]
        assert sorted(order) == sorted(expected)
        truth = await cold(journal, conversation_id)
        assert listed(truth.state) == order
        for each in processes:
            assert await each.load(PROJECT, conversation_id) == truth

    async def test_writers_of_one_process_take_turns(self, journal, conversation_id):
        one = await self.begun(journal, conversation_id)
        await asyncio.gather(
            *(
                grant(one, conversation_id, c.AddItems(items=(message(f"msg_{n}"),)), f"{n}")
                for n in range(16)
            )
        )
        await verify(journal, conversation_id)
        truth = await cold(journal, conversation_id)
        assert sorted(listed(truth.state)) == sorted(f"msg_{n}" for n in range(16))
        assert await one.load(PROJECT, conversation_id) == truth

    async def test_of_turns_requested_at_once_one_is_admitted(
        self, journal, open_journal, conversation_id
    ):
        await self.begun(journal, conversation_id)
        processes = [process(await open_journal()) for _ in range(4)]
        outcomes = await asyncio.gather(
            *(
                grant(
                    each,
                    conversation_id,
                    request(f"resp_{n}", message(f"msg_{n}")),
                    f"resp_{n}.requested",
                )
                for n, each in enumerate(processes)
            ),
            return_exceptions=True,
        )
        refused = [outcome for outcome in outcomes if isinstance(outcome, ConversationLocked)]
        assert len(refused) == 3
        assert len(await verify(journal, conversation_id)) == 2

    async def test_the_chain_notices_an_altered_a_removed_and_a_moved_commit(
        self, journal, conversation_id
    ):
        one = await self.begun(journal, conversation_id)
        for number in range(3):
            command = c.AddItems(items=(message(f"msg_{number}"),))
            await grant(one, conversation_id, command, f"{number}")
        payloads = [stored.original for stored in await verify(journal, conversation_id)]

        def holds(chain):
            digests = [None, *map(envelope.digest, chain)]
            return [envelope.decode(each).prev for each in chain] == digests[:-1]

        assert holds(payloads)
        assert not holds([payloads[0], payloads[2], payloads[3]])
        assert not holds([payloads[0], payloads[2], payloads[1], payloads[3]])
        altered = payloads[1].replace(b'"version":1', b'"version":9')
        assert not holds([payloads[0], altered, *payloads[2:]])

    async def test_every_outline_equals_the_one_recomputed_from_the_log(
        self, journal, conversation_id
    ):
        one = await self.begun(journal, conversation_id, message("msg_1", tokens=5))
        compaction = c.Compact(
            item=message("cmp_1", tokens=2),
            summary="What was said.",
            covered=1,
            kept=(),
            after=None,
            removed=frozenset(),
            method="summary",
            tokens_before=5,
            tokens_after=2,
        )
        steps = {
            "turn": request("resp_1", message("msg_2", tokens=3)),
            "end": complete("resp_1", said("msg_3", tokens=4), total=40),
            "compact": compaction,
            "more": c.AddItems(items=(message("msg_4", tokens=6),)),
            "less": c.DeleteItem(item_id="msg_4"),
            "revert": c.DeleteItem(item_id="cmp_1"),
            "delete": c.DeleteConversation(),
        }
        for name, command in steps.items():
            await grant(one, conversation_id, command, name)
        commits = await verify(journal, conversation_id)
        headers = [await self.headers_of(journal, conversation_id, each) for each in commits]
        assert [envelope.read_outline(each["Turnlog-Outline"]) for each in headers] == outlines(
            commits
        )
        assert [each["Turnlog-Events"] for each in headers] == [
            ",".join(event["type"] for event in json.loads(stored.payload)["events"])
            for stored in commits
        ]
        assert [outline.window for outline in outlines(commits)][3:6] == [
            -1,
            commits[3].sequence,
            commits[3].sequence,
        ]


async def persist(
    conversations: Conversations, conversation_id: str, command: c.Command, name: str
) -> None:
    """Grant, as often as the conversation is changed too fast: the same id is safe."""
    while True:
        try:
            await grant(conversations, conversation_id, command, name)
        except JournalUnavailable:
            continue
        return
