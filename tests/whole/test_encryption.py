"""With a master key: what clients say is on no disk and in no log, while all doors tell it."""

import base64
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from schemas import claims, subjects
from services.encryption import Key
from tests.whole.running import (
    MODEL,
    PROJECT,
    PYTHON,
    Running,
    function,
    listed,
    message,
    output_of,
    own,
    texts,
    until,
)

SECRET = "Xyzzy-4711-plugh"
MASTER = base64.b64encode(Key.fresh().raw).decode()


@pytest.fixture(scope="module")
def encrypted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    running = Running(
        tmp_path_factory.mktemp("encrypted"),
        tokens_budget="0",
        master_key=MASTER,
        log_level="debug",
    )
    try:
        yield running.start()
    finally:
        running.end()


def found_in(directory: Path, secret: str = SECRET) -> list[str]:
    """Files that hold a secret, as it is or in Base64."""
    spelled = [secret.encode()]
    spelled += [base64.b64encode(b"x" * pad + secret.encode())[4:-4] for pad in range(3)]
    return sorted(
        str(path.relative_to(directory))
        for path in directory.rglob("*")
        if path.is_file() and any(each in path.read_bytes() for each in spelled)
    )


def ran(
    running: Running, *arguments: str, key: str | None = MASTER, **variables: str
) -> "subprocess.CompletedProcess[str]":
    """A command beside it; ``variables`` are settings without their prefix."""
    given = {f"TURNLOG_{name.upper()}": value for name, value in variables.items()}
    given |= {"TURNLOG_DATA_DIR": str(running.data)} | ({"TURNLOG_MASTER_KEY": key} if key else {})
    return subprocess.run(
        (*PYTHON, "services.cli", *arguments),
        env=own(running.mark, **given),
        cwd=running.directory,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def planted(running: Running) -> str:
    """A conversation with a secret in every place there is for one."""
    with running.client() as client:
        conversation = client.conversations.create(
            metadata={"name": f"{SECRET} metadata"}, items=[message(f"{SECRET} item")]
        )
        named = conversation.id
        tools = [function("look_up", what="string")]
        asked = client.responses.create(
            model=MODEL,
            input=f"{SECRET} [[tool look_up]]",
            conversation=named,
            tools=tools,
            metadata={"of": f"{SECRET} response"},
            instructions=f"{SECRET} instructions",
        )
        (call,) = [item for item in asked.output if item.type == "function_call"]
        client.responses.create(
            model=MODEL, input=[output_of(call.call_id, f"{SECRET} output")], conversation=named
        )
        with client.responses.create(
            model=MODEL, input=f"Say {SECRET}", conversation=named, stream=True
        ) as stream:
            assert SECRET in "".join(
                event.delta for event in stream if event.type == "response.output_text.delta"
            )
        client.responses.create(model=MODEL, input=f"{SECRET} chain")
        client.responses.create(
            model=MODEL,
            input=f"{SECRET} with a key",
            conversation=named,
            extra_headers={"Idempotency-Key": f"{SECRET}-{named}"},
        )
        client.responses.create(model=MODEL, input=f"{SECRET} [[fail]]")
        begun = client.responses.create(
            model=MODEL, input=f"{SECRET} in the background", background=True, stream=True
        )
        event = next(iter(begun))
        begun.close()
        assert event.type == "response.created"
        until(lambda: client.responses.retrieve(event.response.id).status == "completed")
        resumed = client.responses.retrieve(event.response.id, stream=True, starting_after=2)
        assert SECRET in str(list(resumed))
    return named


def test_what_clients_say_is_nowhere_in_files_and_everywhere_in_answers(encrypted: Running):
    named = planted(encrypted)
    with encrypted.http() as http:
        said = texts(listed(http, named))
        assert sum(SECRET in text for text in said) >= 6
        then = http.get(
            f"/v1/turnlog/conversations/{named}", params={"at": encrypted.last_sequence()}
        )
        assert SECRET in then.text
        events = http.get(f"/v1/turnlog/conversations/{named}/events").json()
        assert SECRET in json.dumps(events)
    ((metadata,),) = encrypted.sql(
        f"SELECT metadata FROM conversations WHERE conversation_id = '{named}'"
    )
    assert SECRET in metadata
    # Clients are the only ones that were told.
    encrypted.forget_received()
    assert found_in(encrypted.directory) == []
    # Nor can what it was be guessed by its digest: the mark, and the claim, of an idempotency key.
    claim = encrypted.on_log(
        lambda client: client.jetstream().get_msg(subjects.CLAIMS, subject=f"claim.{PROJECT}.*")
    )
    body = {"model": MODEL, "input": f"{SECRET} with a key", "conversation": named}
    guessed = claims.fingerprint_of_turn(json.dumps(body).encode())
    assert claims.decode(claim.data).conversation_id == named
    assert claims.decode(claim.data).fingerprint != guessed


def test_the_log_is_checked_without_the_key_and_looked_into_with_it(encrypted: Running):
    named = planted(encrypted)
    without, with_key = ran(encrypted, "verify", key=None), ran(encrypted, "verify")
    assert (without.returncode, with_key.returncode) == (0, 0), without.stdout + with_key.stdout
    assert "sealed, and not looked into" in without.stdout
    assert "sealed" not in with_key.stdout
    for command in ("events", "show", "window"):
        refused = ran(encrypted, command, named, key=None)
        assert refused.returncode != 0
        assert "TURNLOG_MASTER_KEY: required" in refused.stderr
        assert ran(encrypted, command, named).returncode == 0
    assert SECRET in ran(encrypted, "show", named, "--json").stdout
    exported = ran(encrypted, "export", "--conversation", named)
    assert exported.returncode == 0
    assert SECRET not in exported.stdout
    file = encrypted.directory / "export.jsonl"
    file.write_text(exported.stdout)
    assert ran(encrypted, "verify", "--against", str(file), key=None).returncode == 0


def test_views_built_again_are_equal_and_encrypted(encrypted: Running, tmp_path: Path):
    planted(encrypted)
    again = ran(encrypted, "replay", "--into", str(tmp_path / "again.duckdb"))
    assert again.returncode == 0, again.stdout + again.stderr
    live = ran(encrypted, "replay", "--live")
    assert live.returncode == 0, live.stdout + live.stderr
    assert found_in(tmp_path) == []
    encrypted.forget_received()
    assert found_in(encrypted.directory) == []


def test_everything_is_there_after_all_of_it_was_killed(encrypted: Running):
    named = planted(encrypted)
    encrypted.kill9()
    encrypted.start()
    with encrypted.client() as client:
        answer = client.responses.create(model=MODEL, input=f"{SECRET} again", conversation=named)
        assert SECRET in answer.output_text
    with encrypted.http() as http:
        assert SECRET in str(texts(listed(http, named)))


def test_a_parked_request_is_sealed_and_shown_to_whoever_has_the_key(encrypted: Running):
    with encrypted.client() as client:
        slow = client.responses.create(
            model=MODEL, input=f"{SECRET} [[delay 600]]", background=True
        )

    async def park(client):
        from services.encryption import Masters  # noqa: PLC0415
        from services.journal.parked import Parked  # noqa: PLC0415
        from services.journal.turn_requests import TurnRequests  # noqa: PLC0415
        from services.journal.vault import Vault  # noqa: PLC0415

        queue = TurnRequests(client, Vault(client, Masters.read(MASTER)))
        waiting = await queue.find(PROJECT, slow.id)
        assert waiting is not None
        assert waiting.sealed
        subject = subjects.turn_request(PROJECT, waiting.request.conversation_id)
        payload = await queue.encoded(PROJECT, waiting.request)
        await Parked(client).put(
            subjects.TURN_REQUESTS, "attempts", subject=subject, payload=payload
        )

    encrypted.on_log(park)
    with encrypted.client() as client:
        client.responses.cancel(slow.id)
    listing = ran(encrypted, "parked", "list")
    (line,) = [each for each in listing.stdout.splitlines() if slow.id in each]
    assert SECRET in ran(encrypted, "parked", "show", line.split()[0]).stdout
    assert found_in(encrypted.data) == []


def test_encryption_that_is_turned_on_leaves_nothing_plain_in_new_files(tmp_path: Path):
    running = Running(tmp_path / "later", tokens_budget="0")
    try:
        running.start()
        named = planted(running)
        running.stop()
        assert "views.1.duckdb" in " ".join(found_in(running.data))
        running.variables["TURNLOG_MASTER_KEY"] = MASTER
        running.start()
        with running.client() as client:
            client.responses.create(model=MODEL, input="After-4711-it", conversation=named)
        with running.http() as http:
            assert SECRET in str(texts(listed(http, named)))
        assert running.sql("SELECT count(*) > 0 FROM items") == [(True,)]
        running.forget_received()
        until(lambda: not any("views" in name for name in found_in(running.data)))
        assert found_in(running.data, "After-4711-it") == []
        assert ran(running, "verify").returncode == 0
        running.stop()
        # Nobody goes on without the key.
        del running.variables["TURNLOG_MASTER_KEY"]
        running.begin()
        assert running.up is not None
        assert running.up.process.wait(60) != 0
        assert "TURNLOG_MASTER_KEY: required" in running.up.log_path.read_text()
        running.up = None
    finally:
        running.end()
