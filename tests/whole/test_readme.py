import re
import subprocess
import sys

import pytest
from click.testing import CliRunner

from services.cli.main import COMMANDS, main
from tests.whole.running import ROOT, Running, own

README = (ROOT / "README.md").read_text()
QUICKSTART, STRAIGHT_ONTO_THE_QUEUE, FOLLOWING_THE_LOG = re.findall(
    r"(?ms)^```python\n(.*?)^```", README
)


def ran(running: Running, program: str, **variables: str) -> str:
    """What a program of the README prints, run as users run it."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        env=own(running.mark, **variables),
        cwd=running.directory,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def test_the_quickstart_runs_as_it_is_written(shared: Running):
    assert "http://127.0.0.1:8080/v1" in QUICKSTART

    told = ran(shared, QUICKSTART.replace("http://127.0.0.1:8080", shared.url))

    assert "You said: Explain why that's funny." in told
    assert told.count("\n") == 1


def test_the_queue_example_runs_as_it_is_written(shared: Running):
    told = ran(shared, STRAIGHT_ONTO_THE_QUEUE, TURNLOG_NATS_URL=shared.nats_url)

    assert told.startswith("event: response.created\ndata: {")
    assert "You said: Where is order #12345?" in told
    assert told.count("event: response.completed\n") == 1


def test_the_service_that_follows_the_log_runs_as_it_is_written(shared: Running):
    with shared.client() as client:
        made = client.conversations.create()
        (first,) = shared.commits(made.id)
        client.conversations.update(made.id, metadata={"topic": "before it listens"})
        variables = {"TURNLOG_NATS_URL": shared.nats_url, "SINCE": str(first.sequence)}
        with subprocess.Popen(
            [sys.executable, "-W", "error", "-c", FOLLOWING_THE_LOG],
            env=own(shared.mark, **variables),
            cwd=shared.directory,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as service:
            try:
                told = _lines_until(service, made.id, "conversation_updated")
                client.conversations.delete(made.id)
                told += _lines_until(service, made.id, "conversation_deleted")
            finally:
                service.terminate()
            _, errors = service.communicate(timeout=30)
    numbers = [int(line.split()[0]) for line in told]
    mine = [commit.sequence for commit in shared.commits(made.id)]

    assert numbers == list(range(first.sequence, first.sequence + len(numbers)))
    assert [int(line.split()[0]) for line in told if made.id in line] == mine
    assert service.returncode == 0, errors


def _lines_until(service: subprocess.Popen[str], *words: str) -> list[str]:
    """What the service prints, up to a line with all of these words."""
    assert service.stdout is not None
    told = []
    for line in service.stdout:
        told.append(line)
        if all(word in line for word in words):
            return told
    raise AssertionError(f"it ended after {told}")


def test_every_command_the_readme_names_is_listed_in_the_help():
    named = {
        name
        for names in re.findall(r"\bturnlog ([a-z-]+(?:(?:\||, )[a-z-]+)*)", README)
        for name in re.split(r"\||, ", names)
    }
    listed = CliRunner().invoke(main, ["--help"]).output

    assert named >= {"up", "demo", "events", "sql", "bench", "gateway", "projector"}
    assert {name for name in named if not re.search(rf"^  {name} ", listed, re.MULTILINE)} == set()


@pytest.mark.parametrize("name", COMMANDS)
def test_a_listed_command_explains_itself(name: str):
    told = CliRunner().invoke(main, [name, "--help"], catch_exceptions=False)

    assert told.exit_code == 0
    assert told.output.startswith("Usage: ")


def test_the_readme_lists_the_options_of_up():
    told = CliRunner().invoke(main, ["up", "--help"]).output
    listed = dict(re.findall(r"^\| `(--[a-z-]+)` \| `(TURNLOG_[A-Z_]+)` ", README, re.MULTILINE))

    assert listed.keys() | {"--help"} == set(re.findall(r"(?m)^ +(?:-h, )?(--[a-z-]+)", told))
    assert {variable for variable in listed.values() if variable not in told} == set()
