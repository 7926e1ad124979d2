"""``turnlog export DIR`` against a real projector: complete, whole, and the same every time."""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pytest

from schemas import events as e
from services import settings
from tests.builders import (
    AT,
    added,
    compacted,
    compaction_item,
    completed,
    created,
    message,
    requested,
    said,
)
from tests.projector.builders import Log
from tests.projector.serving import ROOT, ask, process, settings_for, until, until_health
from tests.projector.serving import held as held_open

TABLES = ("conversations", "items", "turns", "compactions", "events")
KEYS = {
    "conversations": "project, conversation_id",
    "items": "project, conversation_id, sequence, position, item_id",
    "turns": "project, response_id",
    "compactions": "project, item_id",
    "events": "sequence, number",
}


HALF_A_DAY_S = 43_200.0
LONG_S = 60.0


def turnlog(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments),
        cwd=ROOT,
        env=settings.inherited(),
        capture_output=True,
        text=True,
        check=False,
    )


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "services.cli", *arguments]


def exported(views: str, path: Path, *options: str) -> str:
    done = turnlog("export", str(path), "--nats-url", views, *options)
    assert (done.stderr, done.returncode) == ("", 0)
    return done.stdout


@pytest.fixture
async def log(client) -> Log:
    log = Log(apart_s=HALF_A_DAY_S)
    for number in range(6):
        one = f"c{number}"
        project = ("default", "odd=%")[number % 2]
        log.commit(one, created(topic=f"t{number}"), added(message(f"m{number}")), project=project)
        log.commit(one, requested(f"r{number}", message(f"q{number}", "Grüße")), project=project)
        log.commit(one, completed(f"r{number}", said(f"a{number}"), total=9), project=project)
    log.commit("c0", compacted(compaction_item("p0"), covered=2, before=50, after=8))
    log.commit("c1", requested("running", message("open")), project="odd=%")
    await log.publish(client.jetstream())
    return log


@pytest.fixture
async def views(nats_server, client, log, tmp_path) -> AsyncIterator[str]:
    assert log.messages
    used = settings_for(nats_server, tmp_path / "views")
    with process(used, tmp_path / "words"):
        await until_health(client, lambda health: health.ok)
        yield nats_server.url


def sql(path: Path, statement: str) -> list[tuple[Any, ...]]:
    with duckdb.connect() as connection:
        for table in TABLES:
            files = str(path / table / "**" / "*.parquet")
            if (path / table).exists():
                connection.execute(
                    f"CREATE VIEW {table} AS FROM read_parquet('{files}', hive_partitioning=true,"
                    " hive_types={'day': DATE, 'project': VARCHAR})"
                )
        return connection.execute(statement).fetchall()


async def held(client, table: str) -> list[tuple[Any, ...]]:
    """A table as the views have it, in text."""
    answer = await ask(client, f"SELECT {columns(table)} FROM {table} ORDER BY ALL", rows_max=9999)
    assert answer.error is None
    return list(answer.rows)


def columns(table: str) -> str:
    made = (ROOT / "services" / "projector" / "views" / f"{table}.sql").read_text()
    name = "turns_ended" if table == "turns" else table
    body = made.split(f"CREATE TABLE {name} (")[1].split("\n);")[0]
    names = [line.split()[0] for line in body.splitlines() if line[:4] == "    " and line[4] != " "]
    return ", ".join(f"{each}::VARCHAR AS {each}" for each in names)


async def assert_complete(client, path: Path) -> None:
    """Files have what the views have, each row once, and are what the manifest says."""
    for table in TABLES:
        if (path / table).exists():
            shown = sql(path, f"SELECT {columns(table)} FROM {table} ORDER BY ALL")
            assert shown == await held(client, table), table
            doubled = f"SELECT count(*), count(DISTINCT ({KEYS[table]})) FROM {table}"
            ((rows, distinct),) = sql(path, doubled)
            assert rows == distinct == len(shown)
    assert_whole(path)


def assert_whole(path: Path) -> None:
    files = {str(each.relative_to(path)): each for each in path.rglob("*.parquet")}
    manifest = json.loads((path / "manifest.json").read_text())
    assert manifest["files"].keys() == files.keys()
    for name, kept in manifest["files"].items():
        payload = files[name].read_bytes()
        assert hashlib.sha256(payload).hexdigest() == kept["sha256"]
        assert len(payload) == kept["bytes"]
        assert len(pd.read_parquet(files[name])) == kept["rows"]
    left = {each.name for each in path.rglob("*") if each.is_file()} - {
        each.name for each in files.values()
    }
    assert left == {"manifest.json", ".lock"}


async def test_an_export_has_every_row_once_and_three_libraries_read_it(views, client, tmp_path):
    path = tmp_path / "out"
    said_last = exported(views, path).splitlines()[-1]
    assert said_last.endswith("files at sequence 20")
    await assert_complete(client, path)
    assert (path / "items" / "day=2025-10-26" / "project=odd%3D%25").exists()

    counted = {table: len(await held(client, table)) for table in TABLES}
    assert counted["items"] == 19
    for table in TABLES:
        assert len(pd.read_parquet(path / table)) == counted[table]
        assert len(pl.scan_parquet(path / table).collect()) == counted[table]
    per_project = sql(path, "SELECT project, count(*) FROM items GROUP BY ALL ORDER BY 1")
    frame = pd.read_parquet(path / "items")
    assert frame.groupby("project", observed=True).size().to_dict() == dict(per_project)
    lazy = pl.scan_parquet(path / "items", hive_partitioning=True)
    assert dict(lazy.group_by("project").len().collect().rows()) == dict(per_project)
    status = pl.read_parquet(path / "turns").filter(pl.col("response_id") == "running")["status"]
    assert status.to_list() == ["in_progress"]


async def test_an_export_again_writes_only_what_may_have_changed(views, client, log, tmp_path):
    path = tmp_path / "out"
    exported(views, path)
    before = written(path)
    assert "0 files written" in exported(views, path)
    assert written(path) == before

    # A turn of the second day ends, an item of the first is deleted: rows that were exported.
    start = len(log.messages)
    log.commit("c1", completed("running", said("late"), total=3), project="odd=%")
    log.commit("c0", e.ItemDeleted(item_id="m0"))
    await log.publish(client.jetstream(), start=start)
    exported(views, path)
    await assert_complete(client, path)
    after = written(path)
    same = {name for name in before if after[name] == before[name]}
    assert {"c2", "c3", "c4", "c5"} & {
        row[0]
        for name in same
        if name.startswith("items/")
        for row in pl.read_parquet(path / name).select("conversation_id").rows()
    }
    ((deleted,),) = sql(path, "SELECT deleted_at IS NOT NULL FROM items WHERE item_id = 'm0'")
    ((status,),) = sql(path, "SELECT status FROM turns WHERE response_id = 'running'")
    assert (deleted, status) == (True, "completed")


def written(path: Path) -> dict[str, tuple[int, int]]:
    return {
        str(each.relative_to(path)): (each.stat().st_ino, each.stat().st_mtime_ns)
        for each in path.rglob("*")
        if each.is_file() and each.name != ".lock"
    }


async def test_the_same_rows_are_the_same_bytes(views, tmp_path):
    for name in ("one", "two"):
        exported(views, tmp_path / name)
    one, two = (tmp_path / name / "manifest.json" for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()


@pytest.mark.parametrize("since", ["15", (AT + timedelta(seconds=15 * HALF_A_DAY_S)).isoformat()])
async def test_an_export_may_begin_later(views, client, tmp_path, since):
    path = tmp_path / "out"
    exported(views, path, "--since", since)
    manifest = json.loads((path / "manifest.json").read_text())
    assert (manifest["since"], manifest["state"]["sequence"]) == (15, 20)
    known = {row[0] for row in sql(path, "SELECT DISTINCT conversation_id FROM items")}
    assert known >= {"c5", "c0", "c1"}
    assert "c3" not in known
    exported(views, path, "--since", "0")
    await assert_complete(client, path)
    assert json.loads((path / "manifest.json").read_text())["since"] == 0


async def test_what_would_leave_a_gap_is_refused(views, client, log, tmp_path):
    path = tmp_path / "out"
    exported(views, path)
    before = written(path)
    for since in ("99", "2031-01-01"):
        log.commit("c9", created())
        await log.publish(client.jetstream(), start=len(log.messages) - 1)
        done = turnlog("export", str(path), "--nats-url", views, "--since", since)
        assert done.returncode == 1
        assert "would be missing" in done.stderr
        assert written(path) == before


async def test_another_log_is_refused(views, tmp_path):
    path = tmp_path / "out"
    exported(views, path)
    manifest = path / "manifest.json"
    told = json.loads(manifest.read_text())
    told["state"]["log"] = "another"
    manifest.write_text(json.dumps(told))
    done = turnlog("export", str(path), "--nats-url", views)
    assert done.stderr == ("Error: it was exported from another log: choose an empty directory\n")
    manifest.write_text("{}")
    done = turnlog("export", str(path), "--nats-url", views)
    assert done.returncode == 1
    assert "is no manifest of ours" in done.stderr


async def test_what_other_views_had_is_exported_anew(views, client, tmp_path):
    path = tmp_path / "out"
    exported(views, path)
    stray = path / "items" / "day=1999-01-01" / "project=gone" / "items.parquet"
    stray.parent.mkdir(parents=True)
    stray.write_bytes(b"nothing")
    manifest = path / "manifest.json"
    told = json.loads(manifest.read_text())
    told["state"]["versions"] = "{}"
    told["files"][str(stray.relative_to(path))] = next(iter(told["files"].values()))
    manifest.write_text(json.dumps(told))
    exported(views, path)
    await assert_complete(client, path)


async def test_two_exports_into_one_directory_do_not_meet(views, tmp_path):
    path = tmp_path / "out"
    path.mkdir()
    lock = f"lock = open({str(path / '.lock')!r}, 'w')"
    code = f"import fcntl; {lock}; fcntl.flock(lock, fcntl.LOCK_EX)"
    with held_open(code):
        done = turnlog("export", str(path), "--nats-url", views)
    assert done.returncode == 1
    assert done.stderr == f"Error: another export is being made in {path}\n"


async def test_an_export_killed_anywhere_is_made_whole_by_the_next(views, client, log, tmp_path):
    """Killed at random moments, with commits in between, again and again on the same files."""
    path = tmp_path / "out"
    dice = random.Random(int(os.environ.get("TURNLOG_TEST_SEED", "1")))
    wanted = int(os.environ.get("TURNLOG_TEST_EXPORTS_KILLED", "3"))
    begun = time.monotonic()
    exported(views, tmp_path / "whole")
    took = time.monotonic() - begun
    torn = number = 0
    # Some come to their end before.
    while torn < wanted:
        number += 1
        assert number < 20 * wanted
        start = len(log.messages)
        log.commit(f"k{number}", created(), added(message(f"k{number}")))
        log.commit("c2", added(message(f"more{number}")))
        await log.publish(client.jetstream(), start=start)
        before = written(path)
        cut_short(views, path, after_s=dice.uniform(0, 0.3) * took)
        changed = {name for name, state in written(path).items() if before.get(name) != state}
        torn += bool(changed) and "manifest.json" not in changed
        if number % 3 == 0:
            exported(views, path)
            await assert_complete(client, path)
    exported(views, path)
    await assert_complete(client, path)
    sys.stderr.write(f"{number} exports begun, {torn} killed while they wrote; then complete\n")


def cut_short(views: str, path: Path, *, after_s: float) -> None:
    """Kill an export so long after it has begun to write."""
    before = set(path.rglob("*"))
    arguments = command("export", str(path), "--nats-url", views)
    with subprocess.Popen(
        arguments, cwd=ROOT, env=settings.inherited(), stdout=subprocess.DEVNULL
    ) as at_work:
        until(lambda: set(path.rglob("*")) != before or at_work.poll() is not None, wait_s=LONG_S)
        try:
            at_work.wait(after_s)
        except subprocess.TimeoutExpired:
            at_work.send_signal(signal.SIGKILL)
