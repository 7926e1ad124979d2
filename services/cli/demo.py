"""``turnlog demo``: the quickstart on real parts, then what the log and the views know of it."""

import asyncio
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click
import openai

from schemas import envelope
from schemas.events import ConversationCompacted
from schemas.subjects import DEFAULT_PROJECT
from services import settings
from services.cli import address, events
from services.journal import Stored

MODEL = "simulator"
TOKENS_BUDGET = 300
"""Small, so that a short talk crosses it."""
START_WAIT_S = 60.0
COMPACTION_WAIT_S = 30.0
POLL_S = 0.1
STORY = (
    "The parcel was sent on 2026-11-02 from the depot in Rotterdam to Lisbon, tracking NL-4471-88.",
    "It held three lamps, two of them broken; I kept photographs of both and of the carton.",
    "My address is Rua do Salitre 12, and a neighbour can take a parcel on weekdays after five.",
    "Please send two new lamps and tell me when they leave the depot, and by which carrier.",
)
QUESTION = (
    "SELECT model, count(*) AS turns, sum(total_tokens) AS tokens FROM token_usage GROUP BY model"
)


class DemoFailed(click.ClickException):
    """A step of the demo did not come to what it must."""


@click.command(
    epilog="""\b
Example:
  turnlog demo
"""
)
def demo() -> None:
    """Run the quickstart on real parts: no key, no network."""
    with tempfile.TemporaryDirectory(prefix="turnlog-demo-") as folder:
        directory = Path(folder)
        _say(f"Starting NATS, the four services and a simulated model in {directory}")
        with (directory / "turnlog.log").open("wb") as log:
            running = _start(directory, log.fileno())
            try:
                url = _ready(running, directory)
                conversation_id = _talk(url)
                _show(directory, conversation_id)
            except BaseException:
                click.echo((directory / "turnlog.log").read_text()[-4000:], err=True)
                raise
            finally:
                running.send_signal(signal.SIGTERM)
                running.wait(timeout=10)
    _say("Everything has stopped. `make run` starts it for good.")


def _start(directory: Path, log: int) -> subprocess.Popen[bytes]:
    variables = {
        **{
            name: value
            for name, value in settings.inherited().items()
            if not name.startswith(settings.PREFIX) and name != "OPENAI_API_KEY"
        },
        "TURNLOG_DATA_DIR": str(directory),
        "TURNLOG_PORT": "0",
        "TURNLOG_TOKENS_BUDGET": str(TOKENS_BUDGET),
    }
    return subprocess.Popen(
        [sys.executable, "-m", "services.cli", "up"], env=variables, stdout=log, stderr=log
    )


def _ready(running: subprocess.Popen[bytes], directory: Path) -> str:
    until = time.monotonic() + START_WAIT_S
    where = address.Address(data_dir=str(directory))
    while time.monotonic() < until:
        if running.poll() is not None:
            raise DemoFailed(f"turnlog up ended with status {running.returncode}")
        try:
            return address.http_url(where)
        except address.NotRunning:
            time.sleep(POLL_S)
    raise DemoFailed(f"turnlog up was not ready within {START_WAIT_S:g} s")


def _talk(url: str) -> str:
    """The quickstart, as users write it; the conversation's id."""
    _say(f"The quickstart, through the openai SDK, against {url}/v1")
    with openai.OpenAI(base_url=f"{url}/v1", api_key="any") as client:
        conversation = client.conversations.create(
            metadata={"user_id": "user_123", "topic": "support"}
        )
        response = client.responses.create(
            model=MODEL, input="Hello! I need help with my order.", conversation=conversation.id
        )
        response2 = client.responses.create(
            model=MODEL, input="My order number is #12345", conversation=conversation.id
        )
        response3 = client.responses.create(model=MODEL, input="Tell me a joke")
        response4 = client.responses.create(
            model=MODEL, input="Explain why that's funny", previous_response_id=response3.id
        )
        for each in (response, response2, response3, response4):
            click.echo(f"  {each.id[:18]}…  {each.output_text}")
        _say(f"Four more turns, to cross a budget of {TOKENS_BUDGET} tokens")
        for line in STORY:
            each = client.responses.create(model=MODEL, input=line, conversation=conversation.id)
            click.echo(f"  {each.id[:18]}…  {each.output_text}")
    return conversation.id


def _show(directory: Path, conversation_id: str) -> None:
    nats_url = address.nats_url(address.Address(data_dir=str(directory)))
    stored = asyncio.run(_compacted(nats_url, conversation_id))
    _say(f"turnlog events {conversation_id}")
    for commit in stored:
        click.echo("\n".join(events.told(commit)))
    compaction = _compaction(stored)
    assert compaction is not None
    _say(
        f"The window shrank from {compaction.tokens_before} to {compaction.tokens_after} tokens; "
        "every item is still listed"
    )
    _say(f'turnlog sql "{QUESTION}"')
    command = [sys.executable, "-m", "services.cli", "sql", "--data-dir", str(directory), QUESTION]
    subprocess.run(command, check=True)  # noqa: S603 - our own command


async def _compacted(nats_url: str, conversation_id: str) -> list[Stored]:
    """The conversation's commits, once one of them is a compaction."""
    async with asyncio.timeout(COMPACTION_WAIT_S):
        while True:
            stored = await events.history(nats_url, DEFAULT_PROJECT, conversation_id)
            if _compaction(stored) is not None:
                return stored
            await asyncio.sleep(POLL_S)


def _compaction(stored: list[Stored]) -> ConversationCompacted | None:
    for commit in stored:
        for event in map(envelope.unpack, envelope.decode(commit.payload).events):
            if isinstance(event, ConversationCompacted):
                return event
    return None


def _say(line: str) -> None:
    click.secho(f"\n== {line}", bold=True)
    # Lines of the commands we start come out between ours, in this order.
    sys.stdout.flush()
