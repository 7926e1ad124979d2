"""What ``turnlog bench`` asks of a server, beside the same asked without Turnlog.

Both sides take turns in short blocks, so that a busy machine troubles both; every answer is
checked, so that a server that forgets cannot look fast.
"""

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence

import msgspec
import nats
from nats.aio.client import Client as Nats

from schemas import subjects
from services import clock, ids
from services.bench.load import BenchFailed, Client, Heard, at_once
from services.bench.report import Figures, Measure, figures
from services.bench.speaker import Speaker, texts
from services.bench.system import Servers
from services.journal.connect import servers
from services.journal.expecting import EXPECTED
from services.journal.publishing import MESSAGE_ID

CLIENTS = (1, 16)
BLOCKS = 4
"""Blocks each side has of a measure."""
WARM_UP_S = 0.3
ITEMS_PER_CONVERSATION = 100
"""The most one page lists, which is how they are checked."""
ITEMS_LISTED = 20
COMMIT_BYTES = 700
"""Size of the commit an item of ours comes to, for the write it is compared with."""
Step = Callable[[], Awaitable[Heard]]
"""One timed call of one client."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What is measured, and how long: ``seconds`` is for each side of each measure."""

    servers: Servers
    client: Callable[[str], Client]
    seed: int
    seconds: float
    turns_per_conversation: int


class Block(msgspec.Struct):
    """Calls of some clients at the same time, for a while; several add up."""

    heard: list[Heard] = []
    elapsed_s: float = 0.0
    cpu_s: float = 0.0

    def figures(self, *, first: bool = False) -> Figures:
        """Of whole answers, or of their ``first`` deltas."""
        samples = (heard.first_s if first else heard.total_s for heard in self.heard)
        return figures(samples, elapsed_s=self.elapsed_s)


async def turns(plan: Plan, *, in_conversation: bool) -> AsyncIterator[Measure]:
    """Turns, plain and streamed, by one client and by many."""
    turns_max = plan.turns_per_conversation if in_conversation else 1
    name = "conversation" if in_conversation else "fresh"
    for stream in (False, True):
        for count in CLIENTS:
            own, direct = await _turns(plan, count, turns_max=turns_max, stream=stream)
            if stream:
                yield _measure(f"{name}, first token", count, own, direct, first=True)
            yield _measure(f"{name}, {'streamed' if stream else 'plain'}", count, own, direct)


async def _turns(
    plan: Plan, count: int, *, turns_max: int, stream: bool
) -> tuple[Block, Block | None]:
    def speakers(url: str, *, kept: bool) -> tuple[list[Client], list[Step]]:
        clients = [plan.client(url) for _ in range(count)]
        steps = [
            Speaker(
                client, texts(plan.seed, index), turns_max=turns_max, kept=kept, stream=stream
            ).turn
            for index, client in enumerate(clients)
        ]
        return clients, list(steps)

    clients, own = speakers(plan.servers.url, kept=True)
    others: list[Client] = []
    direct: list[Step] | None = None
    if plan.servers.direct_url is not None:
        others, direct = speakers(plan.servers.direct_url, kept=False)
    try:
        return await _beside(own, direct, seconds=plan.seconds)
    finally:
        for client in (*clients, *others):
            await client.aclose()


async def items_create(plan: Plan) -> AsyncIterator[Measure]:
    """Items added one a call, beside bare writes to the same log server, synced alike."""
    floor = None
    if plan.servers.nats_url is not None:
        floor = await nats.connect(servers(plan.servers.nats_url), allow_reconnect=False)
    try:
        for count in CLIENTS:
            clients = [plan.client(plan.servers.url) for _ in range(count)]
            own = [_adding(client, texts(plan.seed, index)) for index, client in enumerate(clients)]
            writers = [_writing(floor, index) for index in range(count)] if floor else None
            try:
                done, direct = await _beside(own, writers, seconds=plan.seconds)
            finally:
                for client in clients:
                    await client.aclose()
            yield _measure(
                "items.create", count, done, direct, detail="direct: a bare synced publish"
            )
    finally:
        if floor is not None:
            await floor.close()


def _adding(client: Client, said: Iterator[str]) -> Step:
    conversation_id = ""
    added: list[str] = []

    async def add() -> Heard:
        nonlocal conversation_id
        if len(added) == ITEMS_PER_CONVERSATION:
            _, listed = await client.list_items(conversation_id, limit=ITEMS_PER_CONVERSATION)
            if listed[::-1] != added:
                raise BenchFailed("items that were created are not listed, or not in order")
            added.clear()
        if not added:
            conversation_id = await client.open_conversation()
        added.append(next(said))
        return Heard("", await client.add_item(conversation_id, added[-1]), 0.0)

    return add


def _writing(floor: Nats, index: int) -> Step:
    """As many bytes as a commit has, with its checks, to a file stream that nobody reads."""
    stream = floor.jetstream()
    subject = subjects.parked("bench", f"{ids.unique()}-{index}")
    payload = bytes(COMMIT_BYTES)
    sequence = 0

    async def write() -> Heard:
        nonlocal sequence
        headers = {MESSAGE_ID: ids.unique(), EXPECTED: str(sequence)}
        begun = clock.monotonic()
        sequence = (await stream.publish(subject, payload, headers=headers)).seq
        return Heard("", clock.monotonic() - begun, 0.0)

    return write


async def items_list(plan: Plan) -> AsyncIterator[Measure]:
    """Pages of the newest items of a conversation twice as long."""
    for count in CLIENTS:
        clients = [plan.client(plan.servers.url) for _ in range(count)]
        try:
            own = [
                await _listing(client, texts(plan.seed, index))
                for index, client in enumerate(clients)
            ]
            done, _ = await _beside(own, None, seconds=plan.seconds)
        finally:
            for client in clients:
                await client.aclose()
        yield _measure(f"items.list of {ITEMS_LISTED}", count, done, None)


async def _listing(client: Client, said: Iterator[str]) -> Step:
    conversation_id = await client.open_conversation()
    added = [next(said) for _ in range(2 * ITEMS_LISTED)]
    for text in added:
        await client.add_item(conversation_id, text)
    expected = added[: -ITEMS_LISTED - 1 : -1]

    async def page() -> Heard:
        took_s, listed = await client.list_items(conversation_id, limit=ITEMS_LISTED)
        if listed != expected:
            raise BenchFailed("items.list gave other items than the newest, or in another order")
        return Heard("", took_s, 0.0)

    return page


async def _beside(
    own: Sequence[Step], direct: Sequence[Step] | None, *, seconds: float
) -> tuple[Block, Block | None]:
    """Run both sides in turn, each ``seconds`` in all, after a moment that does not count."""
    done: tuple[Block, Block] = (Block(), Block())
    sides = [(done[0], own), *([(done[1], direct)] if direct is not None else [])]
    for _, steps in sides:
        await _run(Block(), steps, seconds=min(WARM_UP_S, seconds))
    for number in range(BLOCKS):
        # Who goes first changes, so that a trend favours neither.
        for block, steps in sides if number % 2 else reversed(sides):
            await _run(block, steps, seconds=seconds / BLOCKS)
    return done[0], done[1] if direct is not None else None


async def _run(block: Block, steps: Sequence[Step], *, seconds: float) -> None:
    begun, cpu_begun = clock.monotonic(), time.process_time()
    until = begun + seconds

    async def repeat(step: Step) -> None:
        while clock.monotonic() < until:
            block.heard.append(await step())

    await at_once(map(repeat, steps))
    block.elapsed_s += clock.monotonic() - begun
    block.cpu_s += time.process_time() - cpu_begun


def _measure(
    name: str,
    clients: int,
    own: Block,
    direct: Block | None,
    *,
    first: bool = False,
    detail: str = "",
) -> Measure:
    return Measure(
        name=name,
        clients=clients,
        figures=own.figures(first=first),
        direct=direct.figures(first=first) if direct else None,
        load_cpu=round(own.cpu_s / own.elapsed_s, 2),
        detail=detail,
    )
