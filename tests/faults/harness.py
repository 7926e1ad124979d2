"""One run: clients at work while things die, then quiet, then the audit, then a report."""

import asyncio
import random
import shutil
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import duckdb
import msgspec
from nats.aio.client import Client
from openai import AsyncOpenAI

from schemas import subjects
from services.conversation.decide import visible
from services.journal.deltas import Deltas
from services.projector.digest import digest
from services.projector.files import CURRENT
from tests.faults import asking
from tests.faults.asking import QueueDoor, read_delta
from tests.faults.audit import Violation, audit, repeats
from tests.faults.chaos import Chaos
from tests.faults.evidence import Evidence, Turn, called, entry, logged, tagged
from tests.faults.system import System
from tests.faults.workload import DANGLING, Actor, Notes, dangling, everybody
from tests.whole.running import PROJECT, folded, listed, output_of, standing, until

CLIENT_WAIT_S = 45.0
"""Seconds a client waits for an answer before it asks again."""
QUIET_WAIT_S = 90.0
"""Seconds after the chaos within which every turn ends and every client is told."""
PROGRESS_S = 10.0
LAST_AT_ONCE = 8

Say = Callable[[str], None]


class Report(msgspec.Struct, kw_only=True):
    """What a run came to."""

    seed: int
    seconds: float
    directory: str
    happened: dict[str, int]
    turns: dict[str, int]
    refusals: dict[str, int]
    lost: dict[str, int]
    writes: dict[str, int]
    attempts: dict[int, int]
    calls: int
    repeated: int
    parked: int
    commits: int
    longest_stall_s: float
    violations: list[Violation]

    def lines(self) -> list[str]:
        """As it is printed."""
        told = msgspec.to_builtins(self, str_keys=True)
        told.pop("violations")
        found = [f"VIOLATION {each.rule}: {each.where}: {each.words}" for each in self.violations]
        again = f"again: make faults SEED={self.seed} MINUTES={self.seconds / 60:g}"
        facts = [f"{name}: {value}" for name, value in told.items()]
        return [*facts, *found, f"{len(found)} violations", *([again] if found else [])]


def run(directory: Path, *, seed: int, seconds: float, say: Say = print) -> Report:
    """Lead one run on a ``directory`` of its own; the same seed plans the same."""
    system = System(directory, tokens_budget="3000").start()
    try:
        return asyncio.run(_run(system, seed=seed, seconds=seconds, say=say))
    finally:
        system.end()


async def _run(system: System, *, seed: int, seconds: float, say: Say) -> Report:
    notes, chaos = Notes(), Chaos(system, seed)
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(
                AsyncOpenAI(base_url=f"{url}/v1", api_key="any", timeout=CLIENT_WAIT_S)
            )
            for url in system.urls
        ]
        queue = Client()
        await queue.connect(
            system.running.nats_url,
            max_reconnect_attempts=-1,
            reconnect_time_wait=0.2,
            error_cb=_ignore,
        )
        stack.push_async_callback(queue.close)
        violations = await _disturbed(
            system, chaos, notes, clients, QueueDoor(queue), seed=seed, seconds=seconds, say=say
        )
        actor = Actor("last0", seed, notes, clients, QueueDoor(queue))
        violations += await _usable(system, actor, say=say)
        await _read_refusals(queue, notes)
    evidence = await asyncio.to_thread(_evidence, system, notes, chaos)
    told = {"turns": notes.turns, "writes": notes.writes, "chaos": chaos.lines}
    (system.running.directory / "told.json").write_bytes(msgspec.json.encode(told))
    say(f"audit: {sum(map(len, evidence.log.values()))} commits")
    violations += audit(evidence)
    violations += await asyncio.to_thread(_listings, system, notes)
    violations += await asyncio.to_thread(_views, system)
    return _report(evidence, chaos, violations, seed=seed, seconds=seconds, system=system)


async def _disturbed(
    system: System,
    chaos: Chaos,
    notes: Notes,
    clients: list[AsyncOpenAI],
    queue: QueueDoor,
    *,
    seed: int,
    seconds: float,
    say: Say,
) -> list[Violation]:
    """Work among chaos, then quiet; what did not come to an end by then."""
    ceasing = asyncio.Event()
    actors = everybody(seed, notes, clients, queue)
    tasks = {asyncio.create_task(actor.live(ceasing), name=actor.name) for actor in actors}
    counting = asyncio.create_task(_count(system, chaos, notes, say))
    began = time.monotonic()
    chaos.start()
    try:
        while time.monotonic() < began + seconds and chaos.is_alive():
            done, _ = await asyncio.wait(tasks, timeout=1, return_when=asyncio.FIRST_EXCEPTION)
            for task in done:
                task.result()
        await asyncio.to_thread(chaos.cease)
        say("quiet: everything runs, clients finish")
        ceasing.set()
        done, late = await asyncio.wait(tasks, timeout=QUIET_WAIT_S)
        for task in done:
            task.result()
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
    finally:
        counting.cancel()
        chaos._ceasing.set()
    violations = [
        Violation("told in the end", task.get_name(), f"not told within {QUIET_WAIT_S} s")
        for task in late
    ]
    try:
        await asyncio.to_thread(
            until, lambda: not system.running.turns_waiting(), wait_s=QUIET_WAIT_S
        )
    except AssertionError as error:
        violations.append(Violation("quiet", "the queue", str(error)))
    return violations


async def _count(system: System, chaos: Chaos, notes: Notes, say: Say) -> None:
    """Read the model's calls before they are forgotten, and tell how it goes."""
    began = told = time.monotonic()
    while True:
        await asyncio.to_thread(system.count_calls)
        if time.monotonic() - told > PROGRESS_S:
            told = time.monotonic()
            ended = sum(turn.ended is not None for turn in notes.turns)
            say(
                f"{told - began:.0f} s: {len(notes.turns)} turns asked, {ended} told, "
                f"{len(notes.writes)} writes, {len(system.bodies)} calls, "
                f"{sum(chaos.happened.values())} events"
            )
        await asyncio.sleep(0.5)


async def _usable(system: System, actor: Actor, *, say: Say) -> list[Violation]:
    """One more turn on every conversation, and on every chain, once all is quiet."""
    found: list[Violation] = []
    few = asyncio.Semaphore(LAST_AT_ONCE)
    chains = {turn.response_id[:37]: turn for turn in actor.notes.chains if turn.response_id}
    say(f"last: one more turn on {len(actor.notes.conversations) + len(chains)} conversations")

    async def ask(turn: Turn) -> None:
        async with few:
            await asking.plain(actor.client, turn, f"[[say still here]] {tagged(turn.tag)}")
            if turn.refusal is not None and DANGLING in turn.refusal.message:
                calls = await dangling(actor.client, turn)
                again = actor.notes.turn(
                    tag=actor.tag(), door="plain", conversation_id=turn.conversation_id
                )
                outputs = [
                    output_of(call["call_id"], f"late {tagged(again.tag)}") for call in calls
                ]
                await asking.plain(actor.client, again, outputs)
                turn = again
        if turn.ended is None or turn.ended["status"] != "completed":
            where = f"{turn.conversation_id or turn.parent} {turn.tag}"
            found.append(Violation("usable", where, f"{turn.refusal or turn.lost or turn.ended}"))

    def last(**fields: str) -> Turn:
        return actor.notes.turn(tag=actor.tag(), door="plain", **fields)

    await asyncio.gather(
        *(ask(last(conversation_id=one)) for one in actor.notes.conversations),
        *(ask(last(parent=str(turn.response_id))) for turn in chains.values()),
    )
    await asyncio.to_thread(system.count_calls)
    return found


async def _read_refusals(queue: Client, notes: Notes) -> None:
    """What was told on the queue's door while nobody could listen."""
    deltas = Deltas(queue)
    for turn in notes.turns:
        if turn.door == "queue" and turn.accepted_at and not (turn.ended or turn.refusal):
            for message in await deltas.read(PROJECT, str(turn.response_id)):
                read_delta(turn, message)


def _evidence(system: System, notes: Notes, chaos: Chaos) -> Evidence:
    system.count_calls()
    log = {
        conversation_id: [entry(stored) for stored in commits]
        for conversation_id, commits in system.running.all_commits().items()
    }
    return Evidence(
        turns=notes.turns,
        writes=notes.writes,
        log=log,
        calls=called(list(system.bodies.values())),
        forgetful=chaos.forgetful,
        parked=_parked(system),
    )


def _parked(system: System) -> set[str]:
    async def read(client: Client) -> set[str]:
        js, found = client.jetstream(), set()
        state = (await js.stream_info(subjects.PARKED)).state
        for sequence in range(max(1, state.first_seq), state.last_seq + 1):
            message = await js.get_msg(subjects.PARKED, sequence)
            with suppress(msgspec.DecodeError):
                found.add(msgspec.json.decode(message.data or b"", type=_Named).response_id)
        return found

    return system.running.on_log(read) or set()


class _Named(msgspec.Struct):
    response_id: str


def _listings(system: System, notes: Notes) -> list[Violation]:
    """Whether clients are told of each conversation what the log alone says."""
    found = []
    commits = system.running.all_commits()
    for number, conversation_id in enumerate(notes.conversations):
        loaded = folded(commits[conversation_id])
        if not visible(loaded.state):
            continue
        with system.running.http(system.urls[number % 2]) as http:
            if listed(http, conversation_id) != standing(loaded):
                found.append(Violation("listed as logged", conversation_id, "items differ"))
    return found


def _views(system: System) -> list[Violation]:
    """Whether the views are those an empty file is filled with."""
    running, last = system.running, system.running.last_sequence()
    # Asked at a sequence, it answers once it is there.
    running.sql("SELECT 1", sequence=last)
    fresh = system.running.directory / "views-anew"
    anew = running.beside("projector", data_dir=str(fresh), log_level="debug")
    until(lambda: anew.lines("batch.projected", sequence=last), wait_s=60)
    assert anew.end() == 0
    running.stop()
    shutil.copy(running.data / CURRENT, fresh / "kept.duckdb")
    kept, made = (_digest(fresh / name) for name in ("kept.duckdb", CURRENT))
    differ = sorted(name for name in made if made.get(name) != kept.get(name))
    return [Violation("views as rebuilt", ", ".join(differ), "tables differ")] if differ else []


def _digest(path: Path) -> dict[str, str]:
    with duckdb.connect(str(path), read_only=True) as connection:
        return digest(connection)


def _report(
    evidence: Evidence,
    chaos: Chaos,
    violations: list[Violation],
    *,
    seed: int,
    seconds: float,
    system: System,
) -> Report:
    turns = evidence.turns
    ends = [
        (turn.ended or {}).get("status") or ("refused" if turn.refusal else "lost")
        for turn in turns
    ]
    # What a client missed was looked up when all was over.
    heard = (turn for turn in turns if turn.ended and turn.ended_at and not turn.lost)
    waits = [turn.ended_at - turn.asked_at for turn in heard]
    kinds = (f"{turn.door} {end}" for turn, end in zip(turns, ends, strict=True))
    writes = (
        f"{write.kind} {'acked' if write.acked_at else 'refused' if write.refusal else 'lost'}"
        for write in evidence.writes
    )
    refusals = (f"{turn.refusal.status} {turn.refusal.code}" for turn in turns if turn.refusal)
    return Report(
        seed=seed,
        seconds=seconds,
        directory=str(system.running.directory),
        happened=_counted(chaos.happened.elements()),
        turns=_counted(kinds),
        refusals=_counted(refusals),
        lost=_counted(str(turn.lost) for turn in turns if turn.lost and not turn.ended),
        writes=_counted(writes),
        attempts=dict(sorted(Counter(t.attempts for t in logged(evidence.log).values()).items())),
        calls=sum(evidence.calls.values()),
        repeated=len(repeats(evidence)),
        parked=len(evidence.parked),
        commits=sum(map(len, evidence.log.values())),
        longest_stall_s=round(max(waits, default=0.0), 1),
        violations=violations,
    )


def _counted(names: object) -> dict[str, int]:
    return dict(sorted(Counter(names).items()))


async def _ignore(_error: Exception) -> None:
    """Connections are meant to break here."""


def seeds(count: int) -> list[int]:
    """The first seeds, always the same."""
    return [random.Random(number).randint(1, 10**6) for number in range(count)]
