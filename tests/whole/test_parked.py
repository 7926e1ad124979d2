"""What failed for good is parked, seen, tried again and thrown away by command."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from nats.aio.client import Client

from schemas import subjects
from services import faults
from services.journal.deltas import Deltas
from tests.whole.running import MODEL, PROJECT, PYTHON, Running, own, until

UNREADABLE = b'{"no": "request"}'


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where faults are planned."""
    return tmp_path_factory.mktemp("faults")


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory, planned: Path) -> Iterator[Running]:
    """An instance that tries each turn once."""
    running = Running(
        tmp_path_factory.mktemp("parked"),
        tokens_budget="0",
        turn_attempts_max="1",
        faults=str(planned),
    )
    try:
        yield running.start()
    finally:
        running.end()


def ran(running: Running, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*PYTHON, "services.cli", "parked", *arguments],
        env=own(running.mark, TURNLOG_NATS_URL=running.nats_url),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def told(running: Running, *arguments: str) -> list[str]:
    """Lines a command prints."""
    ended = ran(running, *arguments)
    assert (ended.returncode, ended.stderr) == (0, "")
    return ended.stdout.splitlines()


def test_a_message_that_is_no_request_is_parked_until_it_is_discarded(impatient: Running):
    subject = subjects.turn_request(PROJECT, "conv_1")

    async def publish(client: Client) -> None:
        await client.jetstream().publish(subject, UNREADABLE)

    impatient.on_log(publish)
    until(lambda: told(impatient, "list"))
    (line,) = told(impatient, "list")
    sequence, _, _, stream, reason, came_from, response_id = line.split()
    assert (stream, reason, came_from, response_id) == (
        subjects.TURN_REQUESTS,
        "unreadable",
        subject,
        "-",
    )
    assert told(impatient, "show", sequence) == [UNREADABLE.decode()]
    # Not any more readable than before, it is parked again.
    assert told(impatient, "replay", sequence) == [f"{sequence:>6}  replayed on {subject}"]
    until(lambda: told(impatient, "list"))
    (again,) = told(impatient, "list")
    assert again.split()[0] != sequence
    assert told(impatient, "discard", "--all") == [f"{again.split()[0]:>6}  discarded"]
    assert told(impatient, "list") == []


def test_a_turn_that_was_given_up_is_answered_when_it_is_replayed(impatient: Running):
    with impatient.client() as client:
        conversation_id = client.conversations.create().id
        lost = client.responses.create(
            model=MODEL,
            input="[[hang once]] given-up",
            conversation=conversation_id,
            background=True,
        )
        until(lambda: impatient.received_with("given-up"))
        impatient.kill("responder")
        until(lambda: client.responses.retrieve(lost.id).status == "failed")
        assert client.responses.retrieve(lost.id).error.code == "server_error"
        (line,) = told(impatient, "list")
        sequence, *_, response_id = line.split()
        assert response_id == lost.id
        assert json.loads("".join(told(impatient, "show", sequence)))["response_id"] == lost.id
        (replayed,) = told(impatient, "replay", "--all")
        fresh = replayed.split()[-1]
        assert fresh != lost.id
        until(lambda: "turn_completed" in impatient.events(conversation_id))
        assert client.responses.retrieve(fresh).status == "completed"
    assert told(impatient, "list") == []
    until(lambda: impatient.turns_waiting() == 0)


def test_a_promised_turn_nobody_survives_reading_has_failed(impatient: Running, planned: Path):
    with impatient.client() as client:
        conversation_id = client.conversations.create().id
        faults.plan(planned, "taken", "kill")
        lost = client.responses.create(
            model=MODEL,
            input="never-read",
            conversation=conversation_id,
            background=True,
            extra_headers={"Turnlog-Overlap": "queue"},
        )
        assert lost.status == "queued"
        # As by another one who died of it.
        impatient.on_log(lambda log: Deltas(log).attempted(PROJECT, lost.id))
        until(lambda: client.responses.retrieve(lost.id).status == "failed")
        failed = client.responses.retrieve(lost.id)
        assert (failed.error.code, failed.error.message) == (
            "server_error",
            "Too many attempts failed.",
        )
        assert (failed.background, failed.model, failed.output) == (True, MODEL, [])
        assert failed.conversation.id == conversation_id
        (line,) = told(impatient, "list")
        assert line.split()[-1] == lost.id
        assert impatient.received_with("never-read") == []
        (replayed,) = told(impatient, "replay", "--all")
        fresh = replayed.split()[-1]
        until(lambda: client.responses.retrieve(fresh).status == "completed")
    until(lambda: impatient.turns_waiting() == 0)


@pytest.mark.parametrize("command", ["show", "discard", "replay"])
def test_what_is_not_parked_is_said_in_one_line(impatient: Running, command: str):
    ended = ran(impatient, command, "999")
    assert ended.returncode == 1
    assert ended.stderr == "Error: nothing is parked at 999: see `turnlog parked list`\n"


def test_sequences_or_all_have_to_be_named(impatient: Running):
    for arguments in (["discard"], ["replay", "3", "--all"]):
        ended = ran(impatient, *arguments)
        assert ended.returncode == 2
        assert "name sequences" in ended.stderr
