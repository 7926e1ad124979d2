"""Erased conversations: of what they held nothing is left, whatever dies on the way."""

import asyncio
import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import duckdb
import openai
import pytest
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from schemas import subjects
from services import faults
from tests.whole.running import MODEL, PROJECT, WAIT_S, Running, listed, until
from tests.whole.test_encryption import MASTER, SECRET, found_in, planted, ran

KINDS = ["encrypted", "plain"]
NO_STEP = {"encrypted": {"commit_removed"}, "plain": {"key_destroyed", "key_overwritten"}}


@pytest.fixture(scope="module", params=KINDS)
def erasing(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    """One instance with a master key, and one without."""
    given = {"master_key": MASTER} if request.param == "encrypted" else {}
    running = Running(tmp_path_factory.mktemp(request.param), tokens_budget="0", **given)
    try:
        yield running.start()
    finally:
        running.end()


def is_encrypted(running: Running) -> bool:
    return "TURNLOG_MASTER_KEY" in running.variables


def command(running: Running, *arguments: str, **more: str) -> "subprocess.CompletedProcess[str]":
    return ran(running, *arguments, key=MASTER if is_encrypted(running) else None, **more)


def keys_kept(running: Running, conversation_id: str) -> list[bytes]:
    """What is stored of a conversation's key."""

    async def read(client):
        js = client.jetstream()
        subject = subjects.conversation_key(PROJECT, conversation_id)
        return [(await js.get_msg(subjects.ENCRYPTION_KEYS, subject=subject)).data or b""]

    return running.on_log(read)


def test_nothing_of_it_can_be_read_any_more_and_everything_else_can(
    erasing: Running, tmp_path: Path
):
    mark = f"Kept-{SECRET}" if is_encrypted(erasing) else "Kept-4711"
    with erasing.client() as client:
        other = client.conversations.create(metadata={"kept": mark}).id
        client.responses.create(model=MODEL, input=mark, conversation=other)
    named = planted(erasing)
    with erasing.client() as client:
        answer = client.responses.create(model=MODEL, input=f"{SECRET} last", conversation=named)
    at = erasing.last_sequence()
    proof = tmp_path / "proof.jsonl"
    dry = command(erasing, "erase", named, "--dry-run")
    assert (dry.returncode, erasing.last_sequence()) == (0, at)
    done = command(erasing, "erase", named, "--proof", str(proof))
    assert done.returncode == 0, done.stdout + done.stderr

    with erasing.client() as client, erasing.http() as http:
        for gone in (
            lambda: client.conversations.retrieve(named),
            lambda: client.conversations.items.list(named),
            lambda: client.responses.retrieve(answer.id),
            lambda: client.responses.create(model=MODEL, input="Hi", conversation=named),
            lambda: client.conversations.items.create(
                named, items=[{"type": "message", "role": "user", "content": "Hi"}]
            ),
        ):
            with pytest.raises(openai.NotFoundError):
                gone()
        with pytest.raises(openai.BadRequestError, match=r"not found|not_found"):
            client.responses.create(model=MODEL, input="Hi", previous_response_id=answer.id)
        one = f"/v1/turnlog/conversations/{named}"
        assert http.get(one, params={"at": at}).status_code == 404
        assert http.post(one + "/fork", params={"at": at}).status_code == 404
        assert SECRET not in http.get(one + "/events").text
        assert mark in str(listed(http, other))
    for table in ("conversations", "items", "turns", "compactions"):
        rows = erasing.sql(f"SELECT count(*) FROM {table} WHERE conversation_id = '{named}'")
        assert rows == [(0,)], table
    assert erasing.sql(f"SELECT type FROM events WHERE conversation_id = '{named}'") == [
        ("conversation_erased",)
    ]
    ((count, commits),) = erasing.sql(
        f"SELECT count(*), max(commits) FROM erasures WHERE conversation_id = '{named}'"
    )
    assert count >= 1
    assert command(erasing, "show", named, "--at", str(at)).returncode != 0
    assert "conversation_erased" in command(erasing, "events", named).stdout
    exported = command(erasing, "export", "--conversation", named)
    assert exported.returncode == 0, exported.stderr
    assert SECRET not in exported.stdout

    for verified in (command(erasing, "verify"), ran(erasing, "verify", named, key=None)):
        assert verified.returncode == 0, verified.stdout
    again = command(erasing, "replay", "--into", str(tmp_path / "again.duckdb"))
    assert again.returncode == 0, again.stdout + again.stderr

    title, row, seal = proof.read_text().splitlines()
    told = json.loads(row)
    assert (told["conversation_id"], told["commits"]) == (named, commits)
    assert len(told["trail"]) == commits
    pem = command(erasing, "export", "--public-key").stdout.encode()
    load_pem_public_key(pem).verify(
        bytes.fromhex(json.loads(seal)["signature"]), json.loads(seal)["sha256"].encode()
    )
    assert SECRET not in title + row + seal
    if is_encrypted(erasing):
        assert told["key"]
        assert keys_kept(erasing, named) == [b""]


def test_with_encryption_off_it_is_left_only_where_the_readme_says(tmp_path: Path):
    running = Running(tmp_path / "plain", tokens_budget="0")
    try:
        running.start()
        named = planted(running)
        # The chain and the background turns of it are conversations of their own.
        for (each,) in running.sql("SELECT conversation_id FROM conversations"):
            assert command(running, "erase", each).returncode == 0
        assert named
        assert command(running, "replay", "--live").returncode == 0
        running.forget_received()
        left = until(lambda: _left(running))
        assert left == ["nothing"]
    finally:
        running.end()


def _left(running: Running) -> list[str]:
    """What holds the secret but for what is rewritten by and by; once views are closed."""
    left = [name for name in found_in(running.data) if "TURN_REQUESTS" not in name]
    return left or ["nothing"]


def test_by_metadata_all_that_have_it_are_erased(erasing: Running):
    with erasing.client() as client:
        wanted = [
            client.conversations.create(metadata={"user id": "o'neil\"s"}).id for _ in range(2)
        ]
        other = client.conversations.create(metadata={"user id": "o'neil"}).id
    done = command(erasing, "erase", "--metadata", "user id=o'neil\"s")
    assert done.returncode == 0, done.stderr
    assert sorted(line.split()[0] for line in done.stdout.splitlines()) == sorted(wanted)
    with erasing.client() as client:
        assert client.conversations.retrieve(other).id == other


def test_over_http_and_twice_it_is_the_same(erasing: Running):
    named = planted(erasing)
    with erasing.http() as http:
        one, two = (http.post(f"/v1/turnlog/conversations/{named}/erase").json() for _ in range(2))
        assert one == two
        assert one["commits"] > 0
        assert bool(one["key"]) == is_encrypted(erasing)
        assert http.post("/v1/turnlog/conversations/conv_unknown/erase").status_code == 404


def test_a_turn_that_runs_is_ended_and_one_that_waits_never_begins(erasing: Running):
    with erasing.client() as client:
        named = client.conversations.create().id
        running = client.responses.create(
            model=MODEL, input="Hi [[delay 600]]", conversation=named, background=True
        )
        until(lambda: client.responses.retrieve(running.id).status == "in_progress")
        waiting = client.responses.create(
            model=MODEL,
            input=f"Never {SECRET}",
            conversation=named,
            background=True,
            extra_headers={"Turnlog-Overlap": "queue"},
        )
        erasing.forget_received()
        done = command(erasing, "erase", named)
        assert done.returncode == 0, done.stderr
        for response in (running, waiting):
            with pytest.raises(openai.NotFoundError):
                client.responses.retrieve(response.id)
    until(lambda: erasing.turns_waiting() == 0)
    assert erasing.received_with("Never") == []
    assert command(erasing, "verify").returncode == 0


def test_who_writes_at_the_same_time_comes_before_or_is_refused(erasing: Running):
    with erasing.client() as client:
        named = client.conversations.create(metadata={"a": "b"}).id
    deadline = time.monotonic() + 4 * WAIT_S

    def write() -> list[str]:
        refusals = []
        with erasing.client() as client:
            while len(refusals) < 3:
                assert time.monotonic() < deadline, "it is never refused"
                try:
                    client.conversations.items.create(
                        named, items=[{"type": "message", "role": "user", "content": SECRET}]
                    )
                except openai.NotFoundError:
                    refusals.append("refused")
        return refusals

    async def both() -> None:
        writers = [asyncio.to_thread(write) for _ in range(4)]
        erased = asyncio.to_thread(command, erasing, "erase", named)
        *_, done = await asyncio.gather(*writers, erased)
        assert done.returncode == 0, done.stderr

    asyncio.run(both())
    assert erasing.events(named)[-1] == "conversation_erased"
    assert command(erasing, "verify", named).returncode == 0


def test_killed_at_any_step_and_run_again_it_ends_the_same(erasing: Running, tmp_path: Path):
    kind = "encrypted" if is_encrypted(erasing) else "plain"
    for point in faults.ERASURE_POINTS:
        if point not in NO_STEP[kind]:
            killed_and_run_again(erasing, tmp_path / point, point)


def killed_and_run_again(erasing: Running, planned: Path, point: faults.ErasurePoint) -> None:
    with erasing.client() as client:
        named = client.conversations.create(metadata={"a": SECRET}).id
        for _ in range(2):
            client.responses.create(model=MODEL, input=SECRET, conversation=named)
    planned.mkdir()
    faults.plan(planned, point, "kill", passing=2 if point == "commit_removed" else 1)
    killed = command(erasing, "erase", named, faults=str(planned))
    assert killed.returncode == -9, killed.stdout + killed.stderr
    assert not list(planned.iterdir())
    # Nobody gets at it from the first step on, and the log holds at each.
    with erasing.client() as client, pytest.raises(openai.NotFoundError):
        client.conversations.retrieve(named)
    assert command(erasing, "verify").returncode == 0
    done = command(erasing, "erase", named)
    assert done.returncode == 0, done.stderr
    assert erasing.events(named)[-1] == "conversation_erased"
    assert erasing.events(named).count("conversation_erased") == 1
    if is_encrypted(erasing):
        assert keys_kept(erasing, named) == [b""]
    else:
        assert erasing.events(named) == ["conversation_erased"]
    assert command(erasing, "verify").returncode == 0
    assert command(erasing, "erase", named).returncode == 0


def test_to_delete_can_mean_to_erase(tmp_path: Path):
    running = Running(tmp_path / "deleting", tokens_budget="0", master_key=MASTER, delete="erase")
    try:
        running.start()
        with running.client() as client:
            named = client.conversations.create(metadata={"a": SECRET}).id
            assert client.conversations.delete(named).deleted
            with pytest.raises(openai.NotFoundError):
                client.conversations.delete(named)
        assert running.events(named)[-1] == "conversation_erased"
        assert keys_kept(running, named) == [b""]
    finally:
        running.end()


def test_the_next_export_writes_again_what_held_it(erasing: Running, tmp_path: Path):
    with erasing.client() as client:
        named = client.conversations.create(metadata={"a": f"{SECRET} exported"}).id
        client.responses.create(model=MODEL, input=f"{SECRET} exported", conversation=named)
        kept = client.conversations.create(metadata={"a": "kept in exports"}).id
    folder = tmp_path / "parquet"
    assert command(erasing, "export", str(folder)).returncode == 0
    assert named in str(_rows(folder))
    assert command(erasing, "erase", named).returncode == 0
    again = command(erasing, "export", str(folder))
    assert again.returncode == 0, again.stderr
    assert f"{SECRET} exported" not in str(_rows(folder))
    assert kept in str(_rows(folder))
    # As an export has it that was never made before.
    fresh = tmp_path / "fresh"
    assert command(erasing, "export", str(fresh)).returncode == 0
    assert _files(folder) == _files(fresh)


def _files(folder: Path) -> list[str]:
    return sorted(str(each.relative_to(folder)) for each in folder.rglob("*.parquet"))


def _rows(folder: Path) -> list[object]:
    return [duckdb.read_parquet(str(each)).fetchall() for each in folder.rglob("*.parquet")]
