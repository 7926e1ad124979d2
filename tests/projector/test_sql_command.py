"""``turnlog sql`` against a real projector."""

import csv
import json
import subprocess
import sys

import pytest

from schemas.queries import SqlAnswer
from services import settings
from services.cli.sql import write
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
    write(ANSWER, "csv")
    assert list(csv.reader(capsys.readouterr().out.splitlines(keepends=True))) == [
        ["name", "value"],
        ["a,b", ""],
        ["two\nlines", '{"x":[1,true]}'],
    ]


def test_json_is_a_list_of_objects(capsys):
    write(ANSWER, "json")
    assert json.loads(capsys.readouterr().out) == [
        {"name": "a,b", "value": None},
        {"name": "two\nlines", "value": {"x": [1, True]}},
    ]


def test_a_table_has_one_line_a_row(capsys):
    write(ANSWER, "table")
    assert capsys.readouterr().out == (
        "name        value\n"
        "----------  --------------\n"
        "a,b         NULL\n"
        'two\\nlines  {"x":[1,true]}\n'
    )


def test_a_terminal_gets_a_table_as_well(capsys, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    write(ANSWER, "table")
    shown = capsys.readouterr().out
    assert "two\\nlines" in shown
    assert "2 rows at sequence 0" in shown
