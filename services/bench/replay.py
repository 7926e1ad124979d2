"""How fast the views are built again from the log: ``turnlog bench --scenario replay``.

It has a log server of its own, so that nothing else asks, writes or reads meanwhile.
"""

import asyncio
import itertools
from asyncio.subprocess import Process
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import nats
import nats.errors
from nats.aio.client import Client

from schemas import queries, subjects
from schemas.http.responses import Usage
from schemas.items import from_text
from services import clock, ids
from services.bench.load import MODEL, BenchFailed, at_once
from services.bench.report import Figures, Measure
from services.bench.speaker import texts
from services.bench.system import program, supervised
from services.cli import data_directory, nats_server
from services.conversation import commands
from services.conversation.budget import Policy
from services.conversation.history import Item, item_of
from services.journal import streams
from services.journal.conversations import Conversations
from services.journal.jetstream import JetStreamJournal

TURNS_PER_CONVERSATION = 10
COMMITS_PER_CONVERSATION = 1 + 2 * TURNS_PER_CONVERSATION
WRITERS = 32
ANSWER_WAIT_S = 1.0
START_WAIT_S = 30.0
REPLAY_WAIT_S = 600.0
POLL_S = 0.01

Progress = Callable[[str], None]


async def replay(folder: Path, *, seed: int, events: int, say: Progress) -> Measure:
    """Write ``events`` commits of a log, then time a projector that begins with an empty file."""
    directory = folder / "replay"
    lock = data_directory.lock(directory)
    async with supervised(folder) as supervisor:
        url = await nats_server.start(
            supervisor,
            directory=directory,
            port=0,
            program=nats_server.binary(""),
            lock=lock,
            stop_order=1,
        )
        client = await nats.connect(url, allow_reconnect=False)
        try:
            await streams.declare(client)
            say(f"replay: writing {events:,} events")
            await _write(client, seed=seed, events=events)
            last = (await client.jetstream().stream_info(subjects.CONVERSATIONS)).state.last_seq
            say(f"replay: building the views from {last:,} events")
            begun = clock.monotonic()
            projector = await supervisor.start(
                program(
                    "projector",
                    ("services.projector",),
                    folder=folder,
                    variables={"NATS_URL": url, "DATA_DIR": str(directory / "views")},
                )
            )
            return await _timed(client, projector, last=last, begun=begun)
        finally:
            await client.close()


async def _timed(client: Client, projector: Process, *, last: int, begun: float) -> Measure:
    """From the first answer, which may already stand somewhere, to the last event's."""
    first: tuple[float, int] | None = None
    while True:
        applied = await _applied(client)
        at = clock.monotonic()
        if applied is not None:
            first = first or (at, applied)
            if applied >= last:
                break
        if projector.returncode is not None:
            raise BenchFailed(f"the projector ended with status {projector.returncode}")
        if at - begun > (START_WAIT_S if first is None else REPLAY_WAIT_S):
            raise BenchFailed(f"the projector had applied {applied} of {last} events in time")
        await asyncio.sleep(POLL_S)
    from_s, already = first
    elapsed_s = at - from_s
    if already >= last or not elapsed_s:
        raise BenchFailed("the projector was done before it first answered: ask for more --events")
    return Measure(
        name="replay",
        clients=1,
        figures=Figures(count=last - already, per_s=round((last - already) / elapsed_s, 1)),
        detail=f"{last:,} events, {at - begun:.2f} s from the start of the process",
    )


async def _applied(client: Client) -> int | None:
    try:
        answer = await client.request(subjects.ask_health("projector"), timeout=ANSWER_WAIT_S)
    except (nats.errors.NoRespondersError, nats.errors.TimeoutError):
        return None
    return msgspec.json.decode(answer.data, type=queries.Health).sequence


async def _write(client: Client, *, seed: int, events: int) -> None:
    """Conversations of plain turns, some at a time, until the log has ``events`` commits."""
    conversations = Conversations(
        JetStreamJournal(client), actor="bench", policy=Policy(tokens_budget=0), rows_max=10_000
    )
    sizes = itertools.repeat(COMMITS_PER_CONVERSATION, events // COMMITS_PER_CONVERSATION)
    rest = events % COMMITS_PER_CONVERSATION
    left = itertools.chain(sizes, (rest,) if rest else ())

    async def write_some(writer: int) -> None:
        said = texts(seed, writer)
        for commits in left:
            await _write_one(conversations, said, commits=commits)

    await at_once(map(write_some, range(WRITERS)))


async def _write_one(conversations: Conversations, said: Iterator[str], *, commits: int) -> None:
    conversation_id = ids.conversation_id()
    story = itertools.islice(_story(conversation_id, said), commits)
    for number, command in enumerate(story):
        await conversations.grant(
            subjects.DEFAULT_PROJECT,
            conversation_id,
            command,
            command_id=ids.unique(),
            fresh=number == 0,
        )


def _story(conversation_id: str, said: Iterator[str]) -> Iterator[commands.Command]:
    """A conversation, command by command: begun, then turns without end."""
    usage = msgspec.Raw(msgspec.json.encode(Usage(input_tokens=60, output_tokens=30)))
    yield commands.CreateConversation(metadata={"user_id": "user_123"})
    while True:
        response_id = ids.response_id(conversation_id)
        yield commands.RequestTurn(
            response_id=response_id,
            model=MODEL,
            items=(_item(next(said)),),
            parameters=msgspec.Raw(b"{}"),
            on_line=True,
            parent=None,
            store=True,
        )
        yield commands.CompleteTurn(
            response_id=response_id,
            attempt=1,
            status="completed",
            items=(_item(next(said)),),
            usage=usage,
            model=MODEL,
        )


def _item(text: str) -> Item:
    """A message; whose does not matter to a replay, its size does."""
    return item_of(
        from_text(msgspec.Raw(msgspec.json.encode(text)), mint=ids.item_id), len(text) // 4
    )
