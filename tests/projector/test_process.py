"""The projector as a process: started, killed, stopped."""

import asyncio
import json
import os
import signal
import subprocess
from contextlib import suppress

import msgspec
import nats
import pytest
from nats.aio.client import Client

from schemas import subjects
from schemas.queries import Sql
from services.journal import streams
from services.projector.files import CURRENT
from tests.builders import added, completed, created, message, requested, said
from tests.projector.builders import Log
from tests.projector.serving import (
    WAIT_S,
    Server,
    ask,
    process,
    settings_for,
    until,
    until_health,
)
from tests.projector.test_follow import fresh, kept


def busy(turns: int) -> Log:
    """Turns in several conversations at once, so that a kill finds some of them running."""
    log = Log()
    for index in range(10):
        log.commit(f"c{index}", created(), added(message(f"a{index}")))
    for index in range(turns):
        log.commit(f"c{index % 10}", requested(f"r{index}", message(f"m{index}", "x" * 300)))
        if index >= 5:
            done = index - 5
            log.commit(f"c{done % 10}", completed(f"r{done}", said(f"s{done}", "y" * 300), total=9))
    return log


async def test_killed_at_any_time_it_ends_with_the_views_of_a_rebuild(
    nats_server: Server, client: Client, tmp_path
):
    log = busy(1500)
    used, words = settings_for(nats_server, tmp_path / "views"), tmp_path / "words"
    writing = asyncio.create_task(log.publish(client.jetstream()))
    for reached in (300, 1200):
        with process(used, words) as started:
            await until_health(client, lambda health, at=reached: (health.sequence or 0) >= at)
            os.kill(started.pid, signal.SIGKILL)
            started.wait()
    await writing
    with process(used, words) as started:
        await until_health(client, lambda health: health.sequence == len(log.messages))
        started.terminate()
        assert started.wait(WAIT_S) == 0, words.read_text()

    assert kept(tmp_path / "views") == fresh(tmp_path / "fresh", log)
    said_by_it = [json.loads(line) for line in words.read_text().splitlines()]
    assert [line["event"] for line in said_by_it if line["level"] in {"warning", "error"}] == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_it_stops_in_time_while_a_statement_runs(nats_server, client, tmp_path, number):
    words = tmp_path / "words"
    with process(settings_for(nats_server, tmp_path / "views"), words) as started:
        await until_health(client, lambda health: health.ok)
        endless = "SELECT count(*) FROM range(10000000000) a, range(10000000000) b"
        asked = asyncio.create_task(ask(client, endless))
        await client.flush()
        assert (await ask(client, "SELECT 1")).rows == ((1,),)
        os.kill(started.pid, number)
        await asyncio.to_thread(started.wait, WAIT_S / 2)
        asked.cancel()
    assert started.returncode == 0, words.read_text()
    assert not (tmp_path / "views" / f"{CURRENT}.wal").exists()


async def test_it_begins_anew_when_a_statement_cannot_be_ended(nats_server, client, tmp_path):
    unending_s = 0.5
    used, words = settings_for(nats_server, tmp_path / "views"), tmp_path / "words"
    used = msgspec.structs.replace(used, sql_unending_s=unending_s)
    deaf = "SELECT regexp_matches(repeat('a', 20000000), '(a?){1000}b')"
    with process(used, words) as started:
        await until_health(client, lambda health: health.ok)
        time_s = 0.5
        while started.poll() is None:
            # One that has not come to its function in that time still hears that it is to end.
            question = msgspec.json.encode(Sql(statement=deaf, time_s_max=time_s))
            await client.publish(subjects.ask("sql"), question, reply=client.new_inbox())
            await client.flush()
            with suppress(subprocess.TimeoutExpired):
                await asyncio.to_thread(started.wait, time_s + unending_s + 2.0)
            time_s *= 2
            assert time_s < WAIT_S, words.read_text()
        assert started.returncode == os.EX_SOFTWARE, words.read_text()
    (line,) = [each for each in words.read_text().splitlines() if "statement.unending" in each]
    assert json.loads(line)["asked_to_end_s"] == unending_s
    with process(used, words):
        assert (await until_health(client, lambda health: health.ok)).sequence == 0
        assert (await ask(client, "SELECT 1")).rows == ((1,),)


def test_it_stops_while_there_is_no_server(tmp_path):
    server, words = Server(tmp_path), tmp_path / "words"
    server.start()
    server.stop()
    with process(settings_for(server, tmp_path / "views"), words) as started:
        until(lambda: "nats.failed" in words.read_text())
        started.terminate()
        assert started.wait(WAIT_S) == 0, words.read_text()


async def test_a_second_one_on_the_same_file_is_refused(nats_server, client, tmp_path):
    used, words = settings_for(nats_server, tmp_path / "views"), tmp_path / "words"
    with process(used, words):
        await until_health(client, lambda health: health.ok)
        with process(used, words) as second:
            assert await asyncio.to_thread(second.wait, WAIT_S) == 1
        await until_health(client, lambda health: health.ok)
    assert "is open in another process" in words.read_text()


async def test_it_makes_the_log_where_there_is_none(nats_server, tmp_path):
    client = await nats.connect(nats_server.url)
    await streams.declare(client)
    await client.jetstream().delete_stream(subjects.CONVERSATIONS)
    with process(settings_for(nats_server, tmp_path / "views"), tmp_path / "words"):
        health = await until_health(client, lambda health: health.ok)
    assert health.sequence == 0
    await client.close()
