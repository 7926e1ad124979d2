"""``turnlog replay``, and the projector as a process whose views are replaced while it is used."""

import asyncio
import os
import subprocess
import sys
import time
from itertools import pairwise

import nats

from services import settings
from tests.builders import completed, created, message, requested, said
from tests.projector.builders import Log, opened
from tests.projector.serving import (
    ROOT,
    WAIT_S,
    ask,
    process,
    settings_for,
    until_health,
)
from tests.projector.test_follow import chatter, fresh, kept
from tests.projector.test_generations import rebuilt
from tests.projector.test_parking import altered

SWITCH_MS_MAX = 1000
"""A few, unless others are at work on the machine."""
WRITES_S = 200
LONG_S = 120.0
TURNS = int(os.environ.get("TURNLOG_TEST_REBUILT_TURNS", "1500"))


async def turnlog(*arguments: str) -> subprocess.CompletedProcess[str]:
    return await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "services.cli", "replay", *arguments],
        cwd=ROOT,
        env=settings.inherited(),
        capture_output=True,
        text=True,
        check=False,
    )


def speak(log: Log, index: int) -> None:
    """A turn of one of many conversations."""
    name = f"c{index % 50}"
    if index < 50:
        log.commit(name, created())
    log.commit(name, requested(f"r{index}", message(f"m{index}", "x" * 200)))
    log.commit(name, completed(f"r{index}", said(f"s{index}", "y" * 200), total=9))


async def test_no_question_goes_without_an_answer_while_views_are_replaced_under_writes(
    nats_server, client, tmp_path
):
    """``TURNLOG_TEST_REBUILT_TURNS`` says how many turns the views hold when it begins."""
    log = Log()
    for index in range(TURNS):
        speak(log, index)
    written = len(log.messages)
    await log.publish(client.jetstream())
    answered: list[float] = []
    errors: list[str] = []
    # Not cancelled: before Python 3.12 who waits for a reply may go on all the same.
    enough = asyncio.Event()

    async def write() -> None:
        begun = time.monotonic()
        while not enough.is_set():
            at = len(log.messages)
            while len(log.messages) < written + int((time.monotonic() - begun) * WRITES_S):
                speak(log, TURNS + (len(log.messages) - written) // 2)
            await log.publish(client.jetstream(), start=at)
            await asyncio.sleep(0.005)

    async def question(connection) -> None:
        while not enough.is_set():
            answer = await ask(connection, "SELECT count(*) FROM events")
            answered.append(time.monotonic())
            if answer.error is not None:
                errors.append(answer.error)

    with process(settings_for(nats_server, tmp_path / "views"), tmp_path / "words") as projector:
        await until_health(client, lambda health: health.sequence == written, wait_s=LONG_S)
        asker = await nats.connect(nats_server.url)
        begun = time.monotonic()
        going_on = [asyncio.create_task(work) for work in (write(), question(asker))]
        told = await rebuilt(client)
        took_s = time.monotonic() - begun
        end = len(log.messages)
        health = await until_health(client, lambda health: (health.sequence or 0) >= end + 50)
        enough.set()
        await asyncio.gather(*going_on)
        await asker.close()
        last = told[-1]
        assert (last.error, last.switched, last.differ) == (None, True, ())
        assert last.compared >= written
        assert last.switch_ms < SWITCH_MS_MAX
        assert errors == []
        gap_ms = max(after - before for before, after in pairwise(answered)) * 1000
        sys.stderr.write(
            f"{written} commits built again in {took_s:.1f} s beside "
            f"{(end - written) / took_s:.0f} writes/s, equal at {last.compared}: switch "
            f"{last.switch_ms} ms; {len(answered)} questions answered, none failed, longest wait "
            f"for an answer {gap_ms:.0f} ms\n"
        )
        await until_health(client, lambda health: health.sequence == len(log.messages))
        projector.terminate()
        assert projector.wait(WAIT_S) == 0
    assert health.ok
    assert end > written
    assert kept(tmp_path / "views") == fresh(tmp_path / "fresh", log)


async def test_a_file_is_built_and_found_equal_to_the_projectors(nats_server, client, tmp_path):
    log = chatter(500)
    await log.publish(client.jetstream())
    made = tmp_path / "again.duckdb"
    alone = await turnlog("--into", str(tmp_path / "alone"), "--nats-url", nats_server.url)
    assert alone.returncode == 0, alone.stderr
    assert "compared with nothing: no projector runs" in alone.stderr

    with process(settings_for(nats_server, tmp_path / "views"), tmp_path / "words"):
        await until_health(client, lambda health: health.sequence == 500)
        ended = await turnlog("--into", str(made), "--nats-url", nats_server.url)
        assert ended.returncode == 0, ended.stderr
        stands, equal = ended.stdout.splitlines()
        assert stands.startswith(f"{made} stands at 500: 500 events in ")
        assert equal == "equal to the projector's views at 500"
        assert made.exists()
        again = await turnlog("--into", str(made), "--nats-url", nats_server.url)
        assert (again.returncode, made.exists()) == (2, True)
        assert f"{made} exists" in again.stderr

        live = await turnlog("--live", "--nats-url", nats_server.url)
        assert live.returncode == 0, live.stderr
        compared, switched = live.stdout.splitlines()
        assert compared == "at 500 the new views and those that answered are equal"
        assert switched.startswith("the new views answer at 500; the switch took ")
        back = await turnlog("--rollback", "--nats-url", nats_server.url)
        assert back.returncode == 0, back.stderr
    without = await turnlog("--live", "--nats-url", nats_server.url)
    assert without.returncode == 1
    assert without.stderr.endswith("Error: no projector runs: see `turnlog projector --help`\n")


async def test_a_difference_ends_it_with_status_1_and_names_the_tables(
    nats_server, client, tmp_path
):
    await chatter(100).publish(client.jetstream())
    used = settings_for(nats_server, tmp_path / "views")
    with process(used, tmp_path / "words") as projector:
        await until_health(client, lambda health: health.sequence == 100)
        projector.terminate()
        projector.wait(WAIT_S)

    database = opened(tmp_path / "views")
    database._connection.execute("UPDATE items SET tokens = 7 WHERE position = 0")
    database.close()
    with process(used, tmp_path / "words"):
        await until_health(client, lambda health: health.ok)
        made = tmp_path / "again.duckdb"
        ended = await turnlog("--into", str(made), "--nats-url", nats_server.url)
        assert ended.returncode == 1
        assert ended.stderr.endswith("Error: the projector has other rows at 100 in items\n")
        assert made.exists()


async def test_it_stops_at_an_event_nobody_knows_and_makes_nothing(nats_server, client, tmp_path):
    log = chatter(30)
    altered(log, 20, '"items_added"', '"items_dreamt"')
    await log.publish(client.jetstream())
    made = tmp_path / "again.duckdb"
    ended = await turnlog("--into", str(made), "--nats-url", nats_server.url)
    assert ended.returncode == 1
    assert "Error: stopped before commit 21: EventUnknown: cannot read event 'items_dreamt'" in (
        ended.stderr
    )
    assert list(tmp_path.glob("again*")) == []


async def test_one_way_has_to_be_chosen():
    for arguments in ((), ("--live", "--rollback"), ("--rollback", "--differing")):
        assert (await turnlog(*arguments)).returncode == 2
