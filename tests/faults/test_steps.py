"""A turn ends once and as it should, whichever step its process dies or stops at."""

import asyncio
import os
import random
import re
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any

import httpx2
import pytest
from nats.aio.client import Client
from openai import AsyncOpenAI

from schemas import subjects
from services import faults
from services.faults import Point
from services.responder.pulling import PULL_S
from tests.faults import asking
from tests.faults.asking import QueueDoor
from tests.faults.audit import audit
from tests.faults.evidence import Evidence, Logged, Turn, called, entry, logged, tagged
from tests.faults.system import System
from tests.faults.workload import Notes
from tests.whole.running import MODEL, WAIT_S, folded, until

SEEDS = range(int(os.environ.get("TURNLOG_TEST_SEEDS", "1")))
RESPONSE_ID = re.compile(r'"id":"(resp_[0-9a-f]+)"')
UNTOLD_S = 0.5
"""Seconds for which an end is awaited that nobody tells."""
MODES = ("plain", "streamed", "background", "queue")
STREAMS = ("streamed", "queue")
PASSED: dict[Point, tuple[str, ...]] = {
    "accepted": ("plain", "streamed", "background"),
    "taken": MODES,
    "admitted": MODES,
    "model_called": STREAMS,
    "told": STREAMS,
    "answered": MODES,
    "ended": MODES,
    "acked": MODES,
}
"""Who passes which point: only streams speak before their end, and no gateway is at the queue."""
TAKEN_OVER = ("admitted", "model_called", "told", "answered")
"""Points at which a turn is in the log and has not ended."""


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory, _nothing_is_left: None) -> Iterator[System]:
    directory = tmp_path_factory.mktemp("steps")
    system = System(directory, responders=3, tokens_budget="0", keep_alive_s="1")
    try:
        yield system.start()
    finally:
        system.end()


async def end_the_lease(client: Client) -> None:
    """Have the one request that is taken delivered again, as after its ten seconds."""
    info = await client.jetstream().consumer_info(subjects.TURN_REQUESTS, subjects.RESPONDER)
    if info.num_ack_pending:
        taken = f"1.{info.delivered.stream_seq}.{info.delivered.consumer_seq}.0.0"
        await client.publish(
            f"$JS.ACK.{subjects.TURN_REQUESTS}.{subjects.RESPONDER}.{taken}", b"-NAK"
        )
        await client.flush()


@pytest.fixture(autouse=True)
def _whole(system: System) -> Iterator[None]:
    """Nothing of a test that failed strikes the next one."""
    yield
    system.spare()


class Steps:
    """Turns that are each let run into a fault."""

    def __init__(self, system: System, seed: str, stack: AsyncExitStack) -> None:
        """``seed`` decides what they say, and in which order they are asked for."""
        self.system = system
        self.dice = random.Random(seed)
        self.notes = Notes()
        self._prefix = f"{''.join(filter(str.isalpha, seed))}{seed.rpartition('/')[2]}"
        self._stack = stack

    async def conversation(self, url: str) -> tuple[AsyncOpenAI, str]:
        """The SDK as it is, and a conversation."""
        client = AsyncOpenAI(base_url=f"{url}/v1", api_key="any", timeout=WAIT_S)
        await self._stack.enter_async_context(client)
        return client, (await client.conversations.create()).id

    async def ask(
        self, mode: str, conversation_id: str | None = None, *, struck_at: Point | None = None
    ) -> Turn:
        """A turn, once all that will be told of it is told, and nothing waits.

        ``struck_at``: there its process is killed, whereupon its lease ends.
        """
        client, fresh = await self.conversation(self.system.urls[0])
        conversation_id = conversation_id or fresh
        turn = self.notes.turn(
            tag=f"{self._prefix}-{len(self.notes.turns)}",
            door=mode,
            conversation_id=conversation_id,
            overlap="queue" if mode == "queue" else "reject",
        )
        words = self.dice.randint(5, 9)
        text = f"[[delay 0.0{self.dice.randint(2, 6)}]] [[words {words}]] {tagged(turn.tag)}"
        if mode == "queue":
            queue = Client()
            await queue.connect(self.system.running.nats_url)
            self._stack.push_async_callback(queue.close)
            asked = QueueDoor(queue).ask(turn, text, stream=True)
        else:
            asked = getattr(asking, mode)(client, turn, text)
        telling = asyncio.create_task(asked)
        if struck_at is not None:
            await waited(lambda: not faults.planned(self.system.faults, struck_at))
            if struck_at != "accepted":
                await asyncio.to_thread(self.system.running.on_log, end_the_lease)
        await waited(lambda: turn.accepted_at or telling.done())
        await waited(self.idle)
        # Who asked at the queue's door and missed the end is told nothing more.
        missed = mode == "queue" and struck_at == "acked"
        _, untold = await asyncio.wait([telling], timeout=UNTOLD_S if missed else None)
        for task in untold:
            task.cancel()
        return turn

    def idle(self) -> bool:
        """Whether every request is done with."""
        return not self.system.running.turns_waiting()

    async def over(self) -> dict[str, Logged]:
        """Wait until nothing waits; the turns of the log, audited."""
        await waited(self.idle)
        await self.last()
        evidence = await asyncio.to_thread(self._evidence)
        assert audit(evidence) == []
        return {turn.tag or "": turn for turn in logged(evidence.log).values()}

    async def last(self) -> None:
        """One more turn on every conversation."""
        for number, turn in enumerate(tuple(self.notes.turns)):
            client = AsyncOpenAI(base_url=f"{self.system.urls[1]}/v1", api_key="any")
            await self._stack.enter_async_context(client)
            again = self.notes.turn(
                tag=f"last{self._prefix}-{number}",
                door="plain",
                conversation_id=turn.conversation_id,
            )
            await asking.plain(client, again, tagged(again.tag))
            assert (again.ended or {}).get("status") == "completed", again

    def _evidence(self) -> Evidence:
        self.system.count_calls()
        log = {}
        for turn in self.notes.turns:
            conversation_id = str(turn.conversation_id)
            commits = self.system.running.commits(conversation_id)
            assert folded(commits).state.running == ()
            log[conversation_id] = [entry(stored) for stored in commits]
        own = {turn.tag for turn in self.notes.turns}
        calls = called(list(self.system.bodies.values()))
        return Evidence(
            turns=self.notes.turns,
            writes=self.notes.writes,
            log=log,
            calls=Counter({tag: count for tag, count in calls.items() if tag in own}),
        )


async def waited(condition: Callable[[], Any], *, wait_s: float = WAIT_S) -> None:
    """As `until`, while turns go on."""
    await asyncio.to_thread(until, condition, wait_s=wait_s)


async def outlast_its_lease(system: System) -> None:
    """What a process that was stopped had taken goes to another one."""
    # By then what it has asked the queue for has lapsed.
    lapsed = time.monotonic() + 1.2 * PULL_S
    await waited(lambda: time.monotonic() > lapsed)
    await asyncio.to_thread(system.running.on_log, end_the_lease)


def ended_as(turn: Turn, point: Point) -> tuple[str, int]:
    """Status and number of attempts by section 6.5 of the design."""
    if point in {"told", "answered"} and turn.door in STREAMS:
        return "failed", 1
    return "completed", 2 if point in TAKEN_OVER else 1


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("point", faults.POINTS)
async def test_a_turn_survives_a_kill_at_every_step(system: System, point: Point, seed: int):
    async with AsyncExitStack() as stack:
        steps = Steps(system, f"{point}/{seed}", stack)
        modes = steps.dice.sample(PASSED[point], len(PASSED[point]))
        turns = []
        for mode in modes:
            faults.plan(system.faults, point, "kill")
            turns.append(await steps.ask(mode, struck_at=point))
            await asyncio.to_thread(system.keep)
        found = await steps.over()

    for turn in turns:
        status, attempts = ended_as(turn, point)
        end = found[turn.tag]
        assert (turn.door, end.status, end.attempts) == (turn.door, status, attempts)
        if point == "acked" and turn.door == "queue":
            continue
        assert turn.ended is not None
        assert (turn.ended["error"] or {}).get("code") == (
            "server_error" if status == "failed" else None
        )


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("point", ["admitted", "answered", "ended"])
async def test_who_was_stopped_for_longer_than_its_lease_ends_nothing_again(
    system: System, point: Point, seed: int
):
    async with AsyncExitStack() as stack:
        steps = Steps(system, f"late{point}/{seed}", stack)
        faults.plan(system.faults, point, "stop")
        asking_for_it = asyncio.create_task(steps.ask("plain"))
        await waited(system.halted)
        (pid,) = system.halted()
        await outlast_its_lease(system)
        try:
            turn = await asking_for_it
        finally:
            os.kill(pid, signal.SIGCONT)
        found = await steps.over()

    assert turn.ended is not None
    assert found[turn.tag].attempts == (1 if point == "ended" else 2)


@pytest.mark.parametrize("fields", [{"background": True}, {"stream": True}, {}])
async def test_a_repeat_of_a_turn_that_has_said_nothing_waits_for_its_first_word(
    system: System, fields: dict[str, bool]
):
    body = {"model": MODEL, "input": f"unsaid {sorted(fields)}", **fields}

    async def ask(count: int) -> httpx2.Response:
        async with httpx2.AsyncClient(base_url=system.urls[count], timeout=WAIT_S) as http:
            headers = {"X-Stainless-Retry-Count": str(count)}
            return await http.post("/v1/responses", json=body, headers=headers)

    faults.plan(system.faults, "admitted", "stop")
    first = asyncio.create_task(ask(0))
    await waited(system.halted)
    second = asyncio.create_task(ask(1))
    await outlast_its_lease(system)
    # Whoever asks again asks what the turn has said so far, and the log what it has come to.
    await waited(lambda: second.done() or not system.running.turns_waiting())
    system.spare()
    answers = [await first, await second]

    assert [answer.status_code for answer in answers] == [200, 200]
    assert len({found for answer in answers for found in RESPONSE_ID.findall(answer.text)}) == 1


@pytest.mark.parametrize("mode", MODES)
async def test_a_refusal_is_told_though_its_responder_died_when_it_was_acked(
    system: System, mode: str
):
    async with AsyncExitStack() as stack:
        steps = Steps(system, f"refused/{MODES.index(mode)}", stack)
        client, conversation_id = await steps.conversation(system.urls[0])
        await client.conversations.delete(conversation_id)
        faults.plan(system.faults, "acked", "kill")
        turn = await steps.ask(mode, conversation_id)
        await waited(lambda: not faults.planned(system.faults, "acked"))

    assert turn.refusal is not None
    assert turn.refusal.status == 404
