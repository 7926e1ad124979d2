import asyncio
import itertools

import pytest
import stamina
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import envelope
from services.conversation import commands as c
from services.conversation.refusals import Refused
from services.journal import Conflict, JournalUnavailable
from services.journal.memory import MemoryJournal
from tests.builders import complete, listed, message, request, said
from tests.journal.contract import (
    PROJECT,
    ConversationsContract,
    JournalContract,
    cold,
    names,
    outlines,
    persist,
    process,
    verify,
)


@pytest.fixture
def journal():
    return MemoryJournal()


@pytest.fixture
def open_journal(journal):
    async def same():
        return journal

    return same


@pytest.fixture
def conversation_id():
    return "conv_1"


class TestMemoryJournal(JournalContract):
    pass


class TestConversations(ConversationsContract):
    async def headers_of(self, journal, _conversation_id, stored):
        return journal.headers[stored.sequence]


class Faulty:
    """A journal whose appends go wrong as told: ``lost`` is stored and not acknowledged."""

    def __init__(self, journal, *faults: str) -> None:
        self._journal = journal
        self.faults = list(faults)
        self.appends = 0
        self.reads = []

    async def encoded(self, commit):
        return await self._journal.encoded(commit)

    async def append(self, *args: object, **named: object):
        self.appends += 1
        match self.faults.pop(0) if self.faults else "":
            case "lost":
                await self._journal.append(*args, **named)
                raise JournalUnavailable("no answer")
            case "lost_and_repeated":
                await self._journal.append(*args, **named)
                raise Conflict
            case "overtaken":
                raise Conflict
            case "down":
                raise JournalUnavailable("no server")
            case _:
                return await self._journal.append(*args, **named)

    async def last(self, project, conversation_id):
        return await self._journal.last(project, conversation_id)

    async def read(self, project, conversation_id, *, after):
        self.reads.append((conversation_id, after))
        return await self._journal.read(project, conversation_id, after=after)


ADD = c.AddItems(items=(message("msg_1"),))


async def test_an_append_that_was_thought_lost_is_recognised_by_its_id(journal):
    faulty = Faulty(journal, "", "lost_and_repeated")
    one = process(faulty)
    await one.grant(PROJECT, "conv_1", c.CreateConversation(), command_id="create")
    granted = await one.grant(PROJECT, "conv_1", ADD, command_id="add")
    truth = await cold(journal, "conv_1")
    assert (granted.state, granted.sequence) == (truth.state, truth.sequence)
    assert listed(granted.state) == ["msg_1"]
    assert faulty.appends == 2


async def test_an_append_that_was_thought_lost_is_recognised_beneath_later_ones(journal):
    one, other = process(Faulty(journal, "", "lost")), process(journal)
    await one.grant(PROJECT, "conv_1", c.CreateConversation(), command_id="create")
    with pytest.raises(JournalUnavailable):
        await one.grant(PROJECT, "conv_1", ADD, command_id="add")
    later = c.AddItems(items=(message("msg_2"),))
    await other.grant(PROJECT, "conv_1", later, command_id="later")
    granted = await one.grant(PROJECT, "conv_1", ADD, command_id="add")
    assert (granted.sequence, listed(granted.state)) == (2, ["msg_1"])
    assert len(await verify(journal, "conv_1")) == 3
    assert await one.load(PROJECT, "conv_1") == await cold(journal, "conv_1")


async def test_a_command_of_unknown_outcome_asked_again_is_granted_once(journal):
    faulty = Faulty(journal, "", "lost")
    one = process(faulty)
    await one.grant(PROJECT, "conv_1", c.CreateConversation(), command_id="create")
    with pytest.raises(JournalUnavailable):
        await one.grant(PROJECT, "conv_1", ADD, command_id="add")
    granted = await one.grant(PROJECT, "conv_1", ADD, command_id="add")
    assert listed(granted.state) == ["msg_1"]
    commits = await verify(journal, "conv_1")
    assert [stored.message_id for stored in commits] == ["create", "add"]
    assert await one.load(PROJECT, "conv_1") == await cold(journal, "conv_1")


async def test_a_journal_that_is_down_is_said_to_be_and_nothing_is_kept(journal):
    one = process(Faulty(journal, "down"))
    with pytest.raises(JournalUnavailable, match="no server"):
        await one.grant(PROJECT, "conv_1", c.CreateConversation(), command_id="create")
    assert (await one.load(PROJECT, "conv_1")).sequence == 0
    await one.grant(PROJECT, "conv_1", c.CreateConversation(), command_id="create")
    assert len(await verify(journal, "conv_1")) == 1


async def test_a_decision_is_taken_anew_and_in_the_end_given_up(journal):
    faulty = Faulty(journal, *["overtaken"] * 9)
    with (
        stamina.set_testing(True, attempts=4),
        pytest.raises(JournalUnavailable, match="changed too fast"),
    ):
        await process(faulty).grant(PROJECT, "conv_1", c.CreateConversation(), command_id="create")
    assert faulty.appends == 1 + 4


async def test_a_refused_append_leaves_the_cached_fold_as_it_was(journal):
    one, other = process(journal), process(journal)
    items = (message("msg_1"), message("msg_2"))
    await one.grant(PROJECT, "conv_1", c.CreateConversation(items=items), command_id="create")
    turn = request("resp_1", message("msg_3"))
    await one.grant(PROJECT, "conv_1", turn, command_id="resp_1.requested")
    before = await one.load(PROJECT, "conv_1")
    await other.grant(PROJECT, "conv_1", c.DeleteItem(item_id="msg_1"), command_id="delete")
    await one.grant(PROJECT, "conv_1", complete("resp_1", said("msg_4")), command_id="end")
    assert [before.state.position(f"msg_{n}") for n in range(1, 5)] == [0, 1, None, None]
    assert listed(before.state) == ["msg_1", "msg_2"]
    truth = await cold(journal, "conv_1")
    assert await one.load(PROJECT, "conv_1") == truth
    assert listed(truth.state) == ["msg_2", "msg_3", "msg_4"]


# The cache


async def filled(one, names, *, items):
    """Conversations of two commits each, with so many items."""
    for name in names:
        first, *rest = (message(f"msg_{name}_{number}") for number in range(items))
        for number, command in enumerate(
            (c.CreateConversation(items=(first,)), c.AddItems(items=tuple(rest)))
        ):
            await one.grant(PROJECT, name, command, command_id=f"{name}.{number}")


async def test_a_conversation_that_is_cached_is_not_read_again(journal):
    watched = Faulty(journal)
    one = process(watched)
    await filled(one, ["conv_1"], items=2)
    await one.load(PROJECT, "conv_1")
    assert watched.reads == []


async def test_what_is_new_is_read_from_where_the_cache_ends(journal):
    watched = Faulty(journal)
    one, other = process(watched), process(journal)
    await filled(one, ["conv_1"], items=2)
    await other.grant(PROJECT, "conv_1", ADD, command_id="add")
    await one.load(PROJECT, "conv_1")
    assert watched.reads == []
    for number in range(2):
        command = c.AddItems(items=(message(f"msg_9{number}"),))
        await other.grant(PROJECT, "conv_1", command, command_id=f"{number}")
    await one.load(PROJECT, "conv_1")
    assert watched.reads == [("conv_1", 3)]


async def test_the_cache_stays_within_its_bound_and_drops_the_longest_unused(journal):
    watched = Faulty(journal)
    one = process(watched, rows_max=30)
    names = ["conv_1", "conv_2", "conv_3"]
    await filled(one, names[:2], items=9)
    await one.load(PROJECT, "conv_1")
    await filled(one, names[2:], items=10)
    watched.reads.clear()
    loaded = [await one.load(PROJECT, name) for name in ("conv_1", "conv_3", "conv_2")]
    assert watched.reads == [("conv_2", 0)]
    assert [each.state for each in loaded] == [
        (await cold(journal, name)).state for name in ("conv_1", "conv_3", "conv_2")
    ]


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 40),
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 12)), min_size=1, max_size=20),
)
def test_the_cache_never_outgrows_its_bound_and_what_it_dropped_comes_back_identical(
    rows_max, steps
):
    async def story():
        journal = MemoryJournal()
        one = process(journal, rows_max=rows_max)
        for number, (which, count) in enumerate(steps):
            name = f"conv_{which}"
            items = tuple(message(f"msg_{number}_{n}") for n in range(count))
            if (await one.load(PROJECT, name)).state.exists:
                await one.grant(PROJECT, name, c.AddItems(items=items), command_id=f"{number}")
            else:
                command = c.CreateConversation(items=items)
                await one.grant(PROJECT, name, command, command_id=f"{number}")
            weights = [loaded.weight for loaded in one._cache.values()]
            assert one._rows == sum(weights)
            assert sum(weights) <= rows_max or len(weights) == 1
            assert await one.load(PROJECT, name) == await cold(journal, name)

    asyncio.run(story())


# Every interleaving


class Yielding:
    """A journal that lets others go first, before and after each of its steps, as drawn."""

    def __init__(self, journal, pauses) -> None:
        self._journal = journal
        self._pauses = pauses

    async def _pause(self):
        for _ in range(next(self._pauses)):
            await asyncio.sleep(0)

    async def encoded(self, commit):
        return await self._journal.encoded(commit)

    async def append(self, *args: object, **named: object):
        await self._pause()
        try:
            return await self._journal.append(*args, **named)
        finally:
            await self._pause()

    async def last(self, *args: object):
        await self._pause()
        return await self._journal.last(*args)

    async def read(self, *args: object, **named: object):
        await self._pause()
        return await self._journal.read(*args, **named)


def repeating(values):
    while True:
        yield from values or [0]


STEPS = st.lists(st.sampled_from(["add", "turn", "delete", "load", "update"]), max_size=5)


async def act(one, writer, step, number):
    """One thing a process does; what it was refused is not done."""
    name = f"{writer}_{number}"
    match step:
        case "add":
            commands = [(name, c.AddItems(items=(message(f"msg_{name}"),)))]
        case "update":
            commands = [(name, c.UpdateConversation(metadata={"by": name}))]
        case "delete":
            state = (await one.load(PROJECT, "conv_1")).state
            held = listed(state)
            commands = [(name, c.DeleteItem(item_id=held[0]))] if held else []
        case "turn":
            commands = [
                (f"{name}.requested", request(f"resp_{name}", message(f"msg_{name}_in"))),
                (f"{name}.ended", complete(f"resp_{name}", said(f"msg_{name}_out"))),
            ]
        case _:
            await one.load(PROJECT, "conv_1")
            commands = []
    granted = []
    for command_id, command in commands:
        try:
            await persist(one, "conv_1", command, command_id)
        except Refused:
            break
        granted.append(command_id)
    return granted


@settings(max_examples=60, deadline=None)
@given(
    st.lists(STEPS, min_size=2, max_size=4),
    st.lists(st.integers(0, 3), min_size=1, max_size=30),
    st.sampled_from([5, 1_000]),
)
def test_whatever_the_order_nothing_is_lost_doubled_or_moved(scripts, pauses, rows_max):
    async def story():
        journal = MemoryJournal()
        await process(journal).grant(
            PROJECT, "conv_1", c.CreateConversation(), command_id="create", fresh=True
        )
        turns = repeating(pauses)
        processes = [
            process(Yielding(journal, turns), name=f"p{n}", rows_max=rows_max)
            for n in range(len(scripts))
        ]

        async def run(writer, one, script):
            done = []
            for number, step in enumerate(script):
                done += await act(one, writer, step, number)
            return done

        done = await asyncio.gather(
            *(run(n, processes[n], script) for n, script in enumerate(scripts))
        )
        commits = await verify(journal, "conv_1")
        assert sorted(names(commits[1:])) == sorted(itertools.chain(*done))
        truth = await cold(journal, "conv_1")
        for one in processes:
            assert await one.load(PROJECT, "conv_1") == truth
        assert [
            envelope.read_outline(journal.headers[stored.sequence]["Turnlog-Outline"])
            for stored in commits
        ] == outlines(commits)
        joined = [item.id for item in truth.state.line.upwards(0)]
        assert len(joined) == len(set(joined))
        for mine in done:
            assert [name for name in names(commits) if name in mine] == mine

    with stamina.set_testing(True, attempts=50):
        asyncio.run(story())
