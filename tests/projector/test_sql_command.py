"""``turnlog sql`` against a real projector."""

import csv
import json
import os
import pty
import select
import subprocess
import sys

import pyarrow as pa
import pytest

from schemas.queries import SqlAnswer
from services import settings
from services.cli.sql_formats import write
from tests.builders import added, created, message
from tests.projector.builders import Log
from tests.projector.serving import ROOT, process, settings_for, until_health


def turnlog(*arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "services.cli", *arguments],
        cwd=ROOT,
        env=settings.inherited(),
        input=given,
        capture_output=True,
        text=True,
        check=False,
    )


def subprocess_of(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "services.cli", *arguments],
        cwd=ROOT,
        env=settings.inherited(),
        capture_output=True,
        check=True,
    )


def at_terminal(terminal: int, *arguments: str) -> subprocess.Popen[bytes]:
    started = subprocess.Popen(
        [sys.executable, "-m", "services.cli", *arguments],
        cwd=ROOT,
        env={**settings.inherited(), "TERM": "dumb", "COLUMNS": "100"},
        start_new_session=True,
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
    )
    os.close(terminal)
    return started


async def test_it_answers_with_everything_written_before_it_was_asked(
    nats_server, client, tmp_path
):
    log = Log()
    log.commit("c1", created(topic="tea"), added(message("m1"), message("m2")))
    with process(settings_for(nats_server, tmp_path), tmp_path / "words"):
        await until_health(client, lambda health: health.ok)
        await log.publish(client.jetstream())
        (tmp_path / "nats-url").write_text(nats_server.url)

        counted = turnlog("sql", "SELECT count(*) AS n FROM items", "--data-dir", str(tmp_path))
        assert (counted.stdout, counted.stderr) == ("n\n-\n2\n", "")
        statement = "SELECT item_id, position FROM items ORDER BY position"
        named = turnlog(
            "sql", "--format", "jsonl", "-", "--nats-url", nats_server.url, given=statement
        )
        assert [json.loads(line) for line in named.stdout.splitlines()] == [
            {"item_id": "m1", "position": 0},
            {"item_id": "m2", "position": 1},
        ]
        refused = turnlog("sql", "DROP TABLE items", "--nats-url", nats_server.url)
        assert (refused.returncode, refused.stdout) == (1, "")
        assert refused.stderr == "Error: only SELECT is possible here, not DROP\n"
        cut = turnlog("sql", "FROM items", "--rows-max", "1", "--nats-url", nats_server.url)
        assert cut.stderr == "only the first 1 rows are shown\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--data-dir", "/nonexistent"), "no Turnlog runs on /nonexistent"),
        (("--nats-url", "nats://secret@127.0.0.1:9"), "no Turnlog answers at nats://127.0.0.1:9"),
    ],
)
def test_without_a_turnlog_it_says_so_in_one_line(arguments, said):
    ended = turnlog("sql", "SELECT 1", *arguments)
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"Error: {said}")
    assert ended.stderr.count("\n") == 1
    assert "secret" not in ended.stderr


@pytest.mark.usefixtures("client")
async def test_without_a_projector_it_says_so_in_one_line(nats_server):
    ended = turnlog("sql", "SELECT 1", "--nats-url", nats_server.url)
    assert ended.stderr == "Error: no projector runs: see `turnlog projector --help`\n"
    assert ended.returncode == 1


ANSWER = SqlAnswer(
    columns=("name", "value"), rows=(("a,b", None), ("two\nlines", {"x": [1, True]}))
)


def test_csv_can_be_read_back(capsys):
    write(ANSWER, "csv", sys.stdout)
    assert list(csv.reader(capsys.readouterr().out.splitlines(keepends=True))) == [
        ["name", "value"],
        ["a,b", ""],
        ["two\nlines", '{"x":[1,true]}'],
    ]


def test_json_is_a_list_of_objects(capsys):
    write(ANSWER, "json", sys.stdout)
    assert json.loads(capsys.readouterr().out) == [
        {"name": "a,b", "value": None},
        {"name": "two\nlines", "value": {"x": [1, True]}},
    ]


def test_a_table_has_one_line_a_row(capsys):
    write(ANSWER, "table", sys.stdout)
    assert capsys.readouterr().out == (
        "name        value\n"
        "----------  --------------\n"
        "a,b         NULL\n"
        'two\\nlines  {"x":[1,true]}\n'
    )


def test_a_terminal_gets_a_table_as_well(capsys, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    write(ANSWER, "table", sys.stdout)
    shown = capsys.readouterr().out
    assert "two\\nlines" in shown
    assert "2 rows at sequence 0" in shown


@pytest.fixture
async def views(nats_server, client, tmp_path):
    log = Log()
    log.commit("c1", created(topic="tea"), added(message("m1"), message("m2")))
    with process(settings_for(nats_server, tmp_path), tmp_path / "words"):
        await until_health(client, lambda health: health.ok)
        await log.publish(client.jetstream())
        yield nats_server.url


async def test_every_format_can_be_read_from_its_file(views, tmp_path):
    statement = tmp_path / "items.sql"
    statement.write_text("-- Items.\nSELECT item_id, position FROM items ORDER BY position;\n")
    rows = [{"item_id": "m1", "position": 0}, {"item_id": "m2", "position": 1}]
    read = {
        "csv": lambda path: list(csv.DictReader(path.read_text().splitlines())),
        "json": lambda path: json.loads(path.read_text()),
        "jsonl": lambda path: [json.loads(line) for line in path.read_text().splitlines()],
        "arrow": lambda path: pa.ipc.open_file(path).read_all().to_pylist(),
    }
    for form, of in read.items():
        path = tmp_path / f"items.{form}"
        said = turnlog(
            *("sql", "-f", str(statement), "--format", form, "-o", str(path)),
            *("--nats-url", views),
        )
        assert (said.stderr, said.stdout, said.returncode) == ("", "", 0)
        shown = [{**row, "position": str(row["position"])} for row in rows]
        assert of(path) == (shown if form == "csv" else rows)
    refused = tmp_path / "refused.csv"
    turnlog("sql", "DROP TABLE items", "-o", str(refused), "--nats-url", views)
    left = {path.name for path in tmp_path.iterdir() if "items" in path.name or "ref" in path.name}
    assert left == {"items.sql", *(f"items.{form}" for form in read)}


async def test_a_file_of_many_rows_is_written_whole(views, tmp_path):
    path = tmp_path / "many.arrow"
    statement = "SELECT range AS n, repeat('x', 100) AS x FROM range(300000)"
    said = turnlog("sql", statement, "--format", "arrow", "-o", str(path), "--nats-url", views)
    assert said.stderr == ""
    assert pa.ipc.open_file(path).read_all()["n"].to_pylist() == list(range(300_000))
    cut = ("--format", "arrow", "--rows-max", "10", "--nats-url", views)
    piped = subprocess_of("sql", statement, *cut)
    assert pa.ipc.open_stream(piped.stdout).read_all()["n"].to_pylist() == list(range(10))
    assert piped.stderr == b"only some rows are shown\n"


async def test_statements_are_typed_at_a_terminal_and_kept(views, tmp_path):
    history = tmp_path / "state" / "history"
    ours, theirs = pty.openpty()
    prompt = at_terminal(theirs, "sql", "--nats-url", views, "--history", str(history))
    try:
        said = _until_said(ours, b"turnlog> ")
        for typed, answered in (
            (b"SELECT count(*) AS n\nFROM items;\n", b"1 row at sequence 1"),
            (b"DROP TABLE items;\n", b"only SELECT is possible here, not DROP"),
            (b".schema\n", b"CREATE TABLE items ("),
        ):
            os.write(ours, typed)
            said = _until_said(ours, answered, b"turnlog> ")
        os.write(ours, b"exit\n")
        assert prompt.wait(20) == 0, said
    finally:
        prompt.kill()
        prompt.wait(10)
        os.close(ours)
    assert history.read_text().splitlines() == [
        "SELECT count(*) AS n FROM items;",
        "DROP TABLE items;",
        ".schema",
    ]
    assert history.stat().st_mode & 0o777 == 0o600


def _until_said(terminal: int, *wanted: bytes) -> bytes:
    said = b""
    while not all(one in said for one in wanted) or not said.endswith(wanted[-1]):
        assert select.select([terminal], [], [], 30)[0], said
        said += os.read(terminal, 65536)
    return said
