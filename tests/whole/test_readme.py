import re
import subprocess
import sys

import pytest
from click.testing import CliRunner

from services.cli.main import COMMANDS, main
from tests.whole.running import ROOT, Running, own

README = (ROOT / "README.md").read_text()
QUICKSTART, STRAIGHT_ONTO_THE_QUEUE = re.findall(r"(?ms)^```python\n(.*?)^```", README)


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
