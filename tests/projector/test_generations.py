"""Views that are built beside those that answer, and take their place."""

import asyncio
import shutil

import msgspec
import pytest

from schemas import subjects
from schemas.queries import Rebuild, Rebuilding
from services.projector.database import Database
from services.projector.files import CURRENT, PREVIOUS, Files, ViewsInUse
from services.projector.settings import ProjectorSettings
from tests.projector.builders import applied, contents, opened
from tests.projector.serving import (
    WAIT_S,
    ask,
    eventually,
    held,
    projecting,
    settings_for,
    until_health,
)
from tests.projector.test_follow import chatter, fresh, kept
from tests.projector.test_parking import altered

COUNT = "SELECT count(*) FROM items"


async def rebuilt(client, **fields: bool) -> list[Rebuilding]:
    """Everything that is said of a rebuild."""
    inbox = client.new_inbox()
    answers = await client.subscribe(inbox)
    question = msgspec.json.encode(Rebuild(**fields))
    await client.publish(subjects.ask("rebuild"), question, reply=inbox)
    told: list[Rebuilding] = []
    while not (told and told[-1].done):
        answer = await answers.next_msg(timeout=WAIT_S)
        told.append(msgspec.json.decode(answer.data, type=Rebuilding))
    await answers.unsubscribe()
    return told


def of_another_release(directory) -> None:
    """Let the views of a directory have been made by one whose items had another column."""
    database = opened(directory)
    database._connection.execute("UPDATE projection SET versions = '{}'")
    database._connection.execute("ALTER TABLE items RENAME COLUMN item_id TO old_id")
    database.close()


@pytest.fixture
async def log(client):
    written = chatter(300)
    await written.publish(client.jetstream())
    return written


async def test_views_built_again_are_compared_and_take_the_place_of_those_before(
    nats_server, client, log, tmp_path
):
    directory = tmp_path / "views"
    async with projecting(settings_for(nats_server, directory)) as views:
        await until_health(client, lambda health: health.sequence == 300)
        before = Files(directory).named(CURRENT)
        told = await rebuilt(client)
        assert told[-1].error is None
        assert (told[-1].switched, told[-1].compared, told[-1].differ) == (True, 300, ())
        assert told[-1].switch_ms < 100
        assert Files(directory).named(PREVIOUS) == before
        assert views.current.views.path != before
        chatter(10, start=log)
        await log.publish(client.jetstream(), start=300)
        answer = await ask(client, COUNT, sequence=310)
        assert answer.sequence == 310

        again = await rebuilt(client)
        assert again[-1].switched
        await eventually(lambda: not before.exists())
    assert kept(directory) == fresh(tmp_path / "fresh", log)


async def test_views_that_turn_out_to_differ_take_no_place_unless_they_may(
    nats_server, client, log, tmp_path
):
    directory = tmp_path / "views"
    async with projecting(settings_for(nats_server, directory)):
        await until_health(client, lambda health: health.sequence == 300)
    database = opened(directory)
    database._connection.execute("DELETE FROM items WHERE sequence > 290")
    database._connection.execute("UPDATE conversations SET tokens = 7")
    database.close()

    async with projecting(settings_for(nats_server, directory)):
        await until_health(client, lambda health: health.sequence == 300)
        wrong = await ask(client, COUNT)
        told = await rebuilt(client)
        assert (told[-1].switched, told[-1].differ) == (False, ("conversations", "items"))
        assert await ask(client, COUNT) == wrong
        assert len(list(directory.glob("views.*.duckdb"))) == 1

        told = await rebuilt(client, differing=True)
        assert (told[-1].switched, told[-1].differ) == (True, ("conversations", "items"))
        assert (await ask(client, COUNT)).rows != wrong.rows
    assert kept(directory) == fresh(tmp_path / "fresh", log)


async def test_after_a_rollback_the_views_before_answer_up_to_date(
    nats_server, client, log, tmp_path
):
    directory = tmp_path / "views"
    async with projecting(settings_for(nats_server, directory)) as views:
        await until_health(client, lambda health: health.sequence == 300)
        none = await rebuilt(client, rollback=True)
        assert none[-1].error == "no earlier views are kept"
        before = views.current.views.path
        assert (await rebuilt(client))[-1].switched
        chatter(50, start=log)
        await log.publish(client.jetstream(), start=300)
        told = await rebuilt(client, rollback=True)
        assert (told[-1].error, told[-1].switched) == (None, True)
        assert views.current.views.path == before
        answer = await ask(client, COUNT, sequence=350)
        assert answer.sequence == 350
        forth = await rebuilt(client, rollback=True)
        assert forth[-1].switched
        assert views.current.views.path != before
    assert kept(directory) == fresh(tmp_path / "fresh", log)


async def test_a_rebuild_stops_at_what_cannot_be_projected_and_the_others_go_on(
    nats_server, client, tmp_path
):
    log = chatter(40)
    altered(log, 20, '"items_added"', '"items_dreamt"')
    await log.publish(client.jetstream())
    directory = tmp_path / "views"
    async with projecting(settings_for(nats_server, directory)):
        health = await until_health(client, lambda health: health.sequence == 40)
        assert health.parked == 1
        told = await rebuilt(client)
        assert not told[-1].switched
        assert told[-1].error is not None
        assert told[-1].error.startswith("stopped before commit 21: EventUnknown: cannot read")
        assert "items_dreamt" in told[-1].error
        chatter(5, start=log)
        await log.publish(client.jetstream(), start=40)
        assert (await ask(client, COUNT, sequence=45)).sequence == 45
        assert len(list(directory.glob("views.*.duckdb"))) == 1


async def test_only_one_rebuild_goes_on_at_a_time(nats_server, client, log, tmp_path):
    async with projecting(settings_for(nats_server, tmp_path)):
        await until_health(client, lambda health: health.sequence == len(log.messages))
        one, two = await asyncio.gather(rebuilt(client), rebuilt(client))
        said = {one[-1].error, two[-1].error}
        assert said == {None, "the views are being built already"}


async def test_views_of_another_release_answer_until_ours_are_there(
    nats_server, client, log, tmp_path
):
    directory = tmp_path / "views"
    async with projecting(settings_for(nats_server, directory)):
        await until_health(client, lambda health: health.sequence == 300)
    of_another_release(directory)
    chatter(10, start=log)
    await log.publish(client.jetstream(), start=300)

    async with projecting(settings_for(nats_server, directory)) as views:
        await until_health(client, lambda health: health.sequence)
        # Whether or not the new ones are there by now, a question is answered.
        assert (await ask(client, COUNT)).error is None
        assert (await ask(client, "SELECT count(item_id) FROM items", sequence=310)).error is None
        await eventually(lambda: views.next is None)
        health = await until_health(client, lambda health: health.ok)
        assert (health.sequence, health.detail) == (310, "")
        previous = Files(directory).named(PREVIOUS)
        refused = await rebuilt(client, rollback=True)
        assert refused[-1].error is not None
        assert refused[-1].error.startswith("its views are {}")
    assert kept(directory) == fresh(tmp_path / "fresh", log)
    assert previous is not None


async def test_until_then_a_question_is_told_what_it_waits_for(nats_server, client, log, tmp_path):
    directory = tmp_path / "views"
    async with projecting(settings_for(nats_server, directory)):
        await until_health(client, lambda health: health.sequence == 300)
    of_another_release(directory)
    async with projecting(settings_for(nats_server, directory)) as views:
        assert views.next is not None
        views.next.projection.end_at(100)
        await until_health(client, lambda health: health.sequence == 300)
        assert (await ask(client, "SELECT count(old_id) FROM items")).sequence == 300
        told = await ask(client, COUNT, sequence=301, wait_s=0.3)
        assert told.error == (
            "the views stand at 300 and did not reach 301: they were made by another release, "
            "and are built again: 100 of 300 commits"
        )
        health = await until_health(client, lambda health: health.detail)
        assert health.ok
        views.next.projection.end_at(None)
        chatter(1, start=log)
        await log.publish(client.jetstream(), start=300)
        assert (await ask(client, COUNT, sequence=301, wait_s=WAIT_S)).sequence == 301


@pytest.mark.usefixtures("log")
async def test_who_goes_back_to_a_release_finds_its_views_again(nats_server, client, tmp_path):
    directory = tmp_path / "views"
    async with projecting(settings_for(nats_server, directory)):
        await until_health(client, lambda health: health.sequence == 300)
    ours = Files(directory).named(CURRENT)
    # The later release has built its own, and has been taken back.
    later = Files(directory).fresh()
    shutil.copy(ours, later)
    Files(directory).switch(later)
    of_another_release(directory)

    async with projecting(settings_for(nats_server, directory)) as views:
        await eventually(lambda: views.next is None)
        assert views.current.views.path == ours
        assert views.current.projection.events == 0


def test_a_file_that_bears_the_name_of_the_link_is_taken_over(tmp_path):
    log = chatter(5)
    database = Database(tmp_path / CURRENT, ProjectorSettings())
    applied(database, log.messages)
    before = contents(database)
    database.close()

    database = opened(tmp_path)
    assert contents(database) == before
    assert (tmp_path / CURRENT).is_symlink()
    database.close()


async def test_a_damaged_file_is_built_again(nats_server, client, log, tmp_path):
    (tmp_path / CURRENT).write_bytes(b"\0" * 4096)
    async with projecting(settings_for(nats_server, tmp_path)):
        await until_health(client, lambda health: health.sequence == len(log.messages))


async def test_an_unfinished_file_is_removed(nats_server, client, log, tmp_path):
    async with projecting(settings_for(nats_server, tmp_path)):
        await until_health(client, lambda health: health.sequence == len(log.messages))
    unfinished = Files(tmp_path).fresh()
    Database(unfinished, ProjectorSettings()).close()
    async with projecting(settings_for(nats_server, tmp_path)):
        assert not unfinished.exists()
        await until_health(client, lambda health: health.sequence)
        assert (await ask(client, COUNT)).sequence == len(log.messages)


async def test_a_file_in_use_by_another_process_is_left_alone(nats_server, client, tmp_path):
    assert client.is_connected
    opened(tmp_path).close()
    path = Files(tmp_path).named(CURRENT)
    with (
        held(f"import duckdb; c = duckdb.connect({str(path)!r})"),
        pytest.raises(ViewsInUse),
    ):
        async with projecting(settings_for(nats_server, tmp_path)):
            pass


async def test_questions_asked_all_the_time_are_all_answered_while_views_are_replaced(
    nats_server, client, log, tmp_path, caplog
):
    asked = []
    # Not cancelled: before Python 3.12 who waits for a reply may go on all the same.
    enough = asyncio.Event()

    async def go_on() -> None:
        while not enough.is_set():
            asked.append(await ask(client, "SELECT count(*), max(sequence) FROM events"))

    async with projecting(settings_for(nats_server, tmp_path)):
        await until_health(client, lambda health: health.sequence == 300)
        asking = [asyncio.create_task(go_on()) for _ in range(3)]
        for index in range(3):
            chatter(20, start=log)
            await log.publish(client.jetstream(), start=300 + 20 * index)
            assert (await rebuilt(client, rollback=index == 2))[-1].switched
        await eventually(lambda: asked[-1].sequence == 360)
        enough.set()
        await asyncio.gather(*asking)
    assert caplog.records == []
    assert {answer.error for answer in asked} == {None}
    sequences = [answer.sequence for answer in asked]
    assert max(sequences) == 360
