import json
import subprocess
import sys

import pytest

PROGRAM = """
import json, sys
import click
from services import settings
from services.cli import options

@click.command()
@options.nats_url
@options.port
@options.model
@options.strict
def show():
    mine = {k: v for k, v in settings.inherited().items() if k.startswith("TURNLOG_")}
    print(json.dumps(mine))

show()
"""


def environment_after(*arguments: str, **variables: str) -> dict[str, str]:
    said = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        env=variables,
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, str] = json.loads(said.stdout)
    return found


def test_an_option_is_put_into_its_variable():
    assert environment_after("--port", "81", "--model-api", "chat") == {
        "TURNLOG_PORT": "81",
        "TURNLOG_MODEL_API": "chat",
    }


def test_an_option_wins_over_the_variable():
    given = {"TURNLOG_NATS_URL": "nats://variable", "TURNLOG_MODEL_URL": "http://kept"}

    assert environment_after("--nats-url", "nats://option", **given) == {
        "TURNLOG_NATS_URL": "nats://option",
        "TURNLOG_MODEL_URL": "http://kept",
    }


@pytest.mark.parametrize(
    ("arguments", "variables", "strict"),
    [
        (["--strict"], {}, "true"),
        (["--strict"], {"TURNLOG_STRICT": "false"}, "true"),
        ([], {"TURNLOG_STRICT": "true"}, "true"),
        ([], {"TURNLOG_STRICT": "0"}, "false"),
    ],
)
def test_a_switch_is_there_or_not(arguments, variables, strict):
    assert environment_after(*arguments, **variables) == {"TURNLOG_STRICT": strict}


def test_what_is_not_given_is_not_set():
    assert environment_after() == {}
