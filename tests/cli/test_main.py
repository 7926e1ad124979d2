import importlib.metadata
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from services.cli.main import COMMANDS

TURNLOG = str(Path(sys.executable).with_name("turnlog"))


def turnlog(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [TURNLOG, *arguments],
        env=variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


def test_the_version_is_that_of_the_distribution():
    said = turnlog("--version")

    assert said.stdout == f"turnlog {importlib.metadata.version('turnlog')}\n"
    assert said.returncode == 0


def test_starting_imports_nothing_of_ours_but_the_table():
    code = """
import sys
from services.cli.main import main
main(["--help"], standalone_mode=False)
print(sorted(name for name in sys.modules if name.startswith(("services.", "nats", "msgspec"))))
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert said.stdout.splitlines()[-1] == "['services.cli', 'services.cli.main']"


def test_the_help_lists_every_command_with_examples():
    said = turnlog("--help")

    listed = said.stdout.partition("Commands:")[2].partition("Examples:")[0]
    assert [line.split()[0] for line in listed.strip().splitlines()] == list(COMMANDS)
    assert "turnlog up --model-url" in said.stdout


WRITTEN = [
    name for name, (target, _) in COMMANDS.items() if importlib.util.find_spec(target.split(":")[0])
]


@pytest.mark.parametrize("name", WRITTEN)
def test_the_help_of_a_command_has_an_example(name: str):
    said = turnlog(name, "--help")

    assert said.returncode == 0, said.stderr
    assert "Example" in said.stdout
    assert f"turnlog {name}" in said.stdout.partition("Example")[2]


def test_an_unknown_command_is_a_usage_error():
    said = turnlog("nonsense")

    assert (said.returncode, said.stdout) == (2, "")
    assert "No such command 'nonsense'" in said.stderr


def test_settings_that_cannot_be_used_are_one_line():
    said = turnlog("up", TURNLOG_STOP_WAIT_S="soon")

    assert said.stderr == "Error: TURNLOG_STOP_WAIT_S: Expected `float`, got `str`\n"
    assert said.returncode == 2


def test_a_variable_is_checked_as_its_option_is():
    said = turnlog("up", TURNLOG_PORT="70000")

    assert said.returncode == 2
    assert "'--port' (env var: 'TURNLOG_PORT'): 70000 is not in the range" in said.stderr
