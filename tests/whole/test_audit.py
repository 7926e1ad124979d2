"""The log as an auditor reads it, on real processes: commands and their twins over HTTP."""

import hashlib
import json
import re
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner
from openai import OpenAI

from schemas import envelope, ids, subjects
from services.cli.main import main
from services.conversation.budget import Policy
from services.conversation.commands import CreateConversation
from services.journal.conversations import Conversations
from services.journal.jetstream import JetStreamJournal
from tests.builders import message as stored_message
from tests.whole.running import (
    MODEL,
    PROJECT,
    PYTHON,
    ROOT,
    Running,
    listed,
    message,
    own,
    standing,
    until,
)


def turnlog(running: Running, *arguments: str, status: int = 0) -> str:
    """What a command prints."""
    done = CliRunner().invoke(main, arguments, env={"TURNLOG_NATS_URL": running.nats_url})
    assert done.exit_code == status, done.output
    return done.stdout if status == 0 else done.output


@pytest.fixture
def client(shared: Running):
    with shared.client() as sdk:
        yield sdk


@pytest.fixture(scope="module")
def story(shared: Running) -> str:
    """A conversation with turns, a deleted item, other metadata, and a turn that was cut short."""
    with shared.client() as client:
        made = client.conversations.create(metadata={"topic": "a"}, items=[message("Hello")])
        for said in ("one", "two", "[[fail]]", "three"):
            client.responses.create(model=MODEL, input=said, conversation=made.id)
        first = client.conversations.items.list(made.id, order="asc").data[0]
        assert first.id is not None
        client.conversations.items.delete(first.id, conversation_id=made.id)
        client.conversations.update(made.id, metadata={"topic": "b"})
    return made.id


def sequences(running: Running, conversation_id: str) -> list[int]:
    return [commit.sequence for commit in running.commits(conversation_id)]


def sent(running: Running, marker: str) -> dict[str, Any]:
    """The newest request to the model that holds ``marker``."""
    (*_, newest) = running.received_with(marker)
    body: dict[str, Any] = json.loads(newest)
    return body


@pytest.mark.parametrize("door", ["command", "http"])
def test_a_fork_answers_as_its_origin_did(shared: Running, client: OpenAI, story: str, door: str):
    now = shared.fold(story)
    # Asked at the same point, with the same input: here by a fork of now, there by the origin.
    forked = fork(shared, story, now.sequence, door)
    marker = f"what was said {door}"
    there = client.responses.create(model=MODEL, input=marker, conversation=forked)
    body_there = sent(shared, marker)
    here = client.responses.create(model=MODEL, input=marker, conversation=story)
    body_here = sent(shared, marker)

    *window_here, asked_here = body_here.pop("input")
    *window_there, asked_there = body_there.pop("input")
    assert json.dumps(window_there) == json.dumps(window_here)
    assert [asked_here.pop("id"), asked_there.pop("id")].count(None) == 0
    assert (asked_there, body_there) == (asked_here, body_here)
    assert there.output_text == here.output_text
    assert shared.events(forked)[0] == "conversation_forked"
    # What the fork said is not in its origin.
    assert len(window_here) + 2 == len(standing(shared.fold(story)))


def fork(running: Running, conversation_id: str, at: int | str | None, door: str) -> str:
    if door == "command":
        options = [] if at is None else ["--at", str(at)]
        return turnlog(running, "fork", *options, conversation_id).strip()
    with running.http() as http:
        query = {} if at is None else {"at": str(at)}
        answer = http.post(f"/v1/turnlog/conversations/{conversation_id}/fork", params=query)
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    digest = envelope.digest(
        next(
            commit.payload
            for commit in reversed(running.commits(conversation_id))
            if at is None or commit.sequence <= int(at)
        )
    )
    assert told["object"] == "conversation"
    assert told["forked_from"]["conversation_id"] == conversation_id
    assert told["forked_from"]["digest"] == digest
    return str(told["id"])


def test_a_fork_of_any_point_has_the_window_there_was(shared: Running, story: str):
    with shared.http() as http:
        for sequence in sequences(shared, story):
            then = http.get(f"/v1/turnlog/conversations/{story}", params={"at": sequence}).json()
            forked = fork(shared, story, sequence, "http")
            window = [row["item"] for row in then["items"] if row["in_window"]]
            assert [json.loads(raw) for raw in listed(http, forked)] == window
            assert shared.fold(forked).state.tokens == then["window"]["tokens"]
            assert shared.fold(forked).state.running == ()
            bytes_then = turnlog(shared, "window", "--json", story, "--at", str(sequence))
            assert turnlog(shared, "window", "--json", forked) == bytes_then


def test_a_fork_lives_on_when_its_origin_is_deleted(shared: Running, client: OpenAI):
    origin = client.conversations.create(items=[message("kept in both")])
    forked = fork(shared, origin.id, None, "http")
    client.conversations.delete(origin.id)

    response = client.responses.create(model=MODEL, input="and now?", conversation=forked)

    assert "I have read 2 items" in response.output_text
    # Its history is still there to be forked, at a point when it was there itself.
    assert turnlog(shared, "fork", origin.id, status=1).strip() == (
        f"Error: Conversation with id '{origin.id}' not found."
    )
    (first, *_) = sequences(shared, origin.id)
    again = fork(shared, origin.id, first, "command")
    assert client.conversations.items.list(again).data[0].id is not None
    rows = shared.sql(
        "SELECT items, hidden, metadata FROM conversations WHERE conversation_id = '" + forked + "'"
    )
    assert rows == [(3, False, "{}")]


def test_a_chain_is_not_forked(shared: Running, client: OpenAI):
    response = client.responses.create(model=MODEL, input="alone")
    assert "previous_response_id" in turnlog(shared, "fork", response.id, status=1)
    chain = ids.conversation_of(response.id)
    with shared.http() as http:
        refused = http.post(f"/v1/turnlog/conversations/{chain}/fork")
        assert refused.status_code == 400
        assert refused.json()["error"]["param"] == "conversation_id"
        told = http.get(f"/v1/turnlog/conversations/{chain}").json()
    assert (told["hidden"], told["turns"][0]["response_id"]) == (True, response.id)


def test_a_turn_that_runs_is_no_part_of_a_fork(shared: Running, client: OpenAI):
    made = client.conversations.create(items=[message("before")])
    running = client.responses.create(
        model=MODEL, input="[[hang]] slowly", conversation=made.id, background=True
    )
    until(lambda: shared.fold(made.id).state.turn_on_line)
    forked = fork(shared, made.id, None, "http")
    response = client.responses.create(model=MODEL, input="at once", conversation=forked)
    assert "I have read 2 items" in response.output_text
    client.responses.cancel(running.id)


def test_what_was_is_shown(shared: Running, story: str):
    first, *_, last = sequences(shared, story)
    with shared.http() as http:
        then = http.get(f"/v1/turnlog/conversations/{story}", params={"at": first})
        now = http.get(f"/v1/turnlog/conversations/{story}")
        by_time = http.get(f"/v1/turnlog/conversations/{story}", params={"at": then.json()["at"]})
    assert then.headers["Turnlog-Sequence"] == str(first)
    assert now.headers["Turnlog-Sequence"] == str(last)
    assert by_time.json() == then.json()
    assert then.json()["metadata"] == {"topic": "a"}
    assert [row["item"]["content"][0]["text"] for row in then.json()["items"]] == ["Hello"]
    assert now.json()["metadata"] == {"topic": "b"}
    statuses = [turn["status"] for turn in now.json()["turns"]]
    assert statuses[:4] == ["completed", "completed", "failed", "completed"]
    assert json.loads(turnlog(shared, "show", "--json", "--at", str(first), story)) == then.json()
    text = turnlog(shared, "show", story)
    assert f"{story} at sequence {last}, " in text
    assert 'metadata  {"topic": "b"}' in text
    nothing = turnlog(shared, "show", "--at", "2020-01-01", story, status=1)
    assert "Error: the log has no conversation" in nothing
    assert "neither a sequence" in turnlog(shared, "show", "--at", "soon", story, status=2)


def test_what_changed_is_told(shared: Running, story: str):
    first, *_, last = sequences(shared, story)
    with shared.http() as http:
        path = f"/v1/turnlog/conversations/{story}/diff"
        told = http.get(path, params={"from": first, "to": last}).json()
        assert http.get(path).json()["error"]["param"] == "from"
        everything = http.get(path, params={"from": 0}).json()
    assert told["metadata"]["changed"] == {"topic": {"before": "a", "after": "b"}}
    (gone,) = told["items"]["removed"].values()
    assert gone["content"][0]["text"] == "Hello"
    assert len(told["turns"]["added"]) >= 4
    assert everything["from_sequence"] == 0
    assert gone["id"] not in everything["items"]["added"]
    text = turnlog(shared, "diff", story, str(first), str(last))
    assert '~ metadata topic  "a" -> "b"' in text
    assert f"- item {gone['id']}  Hello" in text
    assert json.loads(turnlog(shared, "diff", "--json", story, str(first), str(last))) == told


def test_events_are_told_from_one_point_to_another(shared: Running, story: str):
    numbers = sequences(shared, story)
    since, to = numbers[2], numbers[-2]
    span = ("events", "--since", str(since), "--until", str(to))
    told = [int(line.split()[0]) for line in turnlog(shared, *span, story).splitlines()]
    assert sorted(set(told)) == [number for number in numbers if since <= number <= to]
    failed = turnlog(shared, "events", "--type", "turn_failed", story).splitlines()
    assert ["  turn_failed  " in line for line in failed] == [True]
    commits = turnlog(shared, "events", "--json", "--type", "turn_failed", story).splitlines()
    assert [json.loads(line)["events"][0]["type"] for line in commits] == ["turn_failed"]


class Commit(msgspec.Struct):
    sequence: int
    previous: int
    digest: str
    commit: msgspec.Raw


class Page(msgspec.Struct):
    data: list[Commit]
    has_more: bool
    last_sequence: int | None


def test_events_are_paged_to_the_byte(shared: Running, story: str):
    found: list[Commit] = []
    with shared.http() as http:
        while True:
            answer = http.get(
                f"/v1/turnlog/conversations/{story}/events",
                params={"limit": "3", "after": str(found[-1].sequence if found else 0)},
            )
            page = msgspec.json.decode(answer.content, type=Page)
            assert 0 < len(page.data) <= 3
            found += page.data
            if not page.has_more:
                break
        last = found[-1].sequence
        path = f"/v1/turnlog/conversations/{story}/events"
        beyond = http.get(path, params={"after": str(last)}).json()
    assert [(each.sequence, bytes(each.commit)) for each in found] == [
        (commit.sequence, commit.payload) for commit in shared.commits(story)
    ]
    for each in found:
        assert hashlib.sha256(bytes(each.commit)).hexdigest() == each.digest
    assert (beyond["data"], beyond["has_more"], beyond["last_sequence"]) == ([], False, None)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        *(("GET", ""), ("GET", "/events"), ("GET", "/diff?from=1"), ("POST", "/fork")),
        *(("GET", "/verify"), ("GET", "/export")),
    ],
)
def test_other_projects_and_what_is_not_there_are_not_found(
    shared: Running, method: str, path: str
):
    elsewhere = f"conv_{'e' * 32}"

    async def make(client: Any) -> None:
        others = Conversations(JetStreamJournal(client), actor="test", policy=Policy())
        command = CreateConversation(items=(stored_message("msg_secret", "of another project"),))
        await others.grant("another", elsewhere, command, command_id="elsewhere")

    shared.on_log(make)
    with shared.http() as http:
        for name in (elsewhere, "conv_nothing"):
            answer = http.request(method, f"/v1/turnlog/conversations/{name}{path}")
            assert answer.status_code == 404
            assert answer.json()["error"] == {
                "message": f"Conversation with id '{name}' not found.",
                "type": "invalid_request_error",
                "param": None,
                "code": None,
            }
        wrong = http.request(method, f"/v1/turnlog/conversations/nothing{path}")
        assert wrong.status_code == 400
    assert "of another project" in turnlog(shared, "show", "--project", "another", elsewhere)
    assert "no conversation" in turnlog(shared, "show", elsewhere, status=1)


@pytest.mark.parametrize("at", ["soon", "1.5", "-1", "2026-13-01"])
def test_a_point_that_is_none_is_refused(shared: Running, story: str, at: str):
    with shared.http() as http:
        answer = http.get(f"/v1/turnlog/conversations/{story}", params={"at": at})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "at"


def test_the_log_of_real_processes_verifies(shared: Running, story: str):
    fork(shared, story, None, "http")
    assert re.fullmatch(
        r"\d+ commits up to sequence \d+: nothing found\n", turnlog(shared, "verify")
    )
    assert "nothing found" in turnlog(shared, "verify", story)
    with shared.http() as http:
        answer = http.get(f"/v1/turnlog/conversations/{story}/verify")
    told = answer.json()
    assert answer.headers["Turnlog-Sequence"] == str(told["sequence"])
    assert told == {
        "id": story,
        "object": "turnlog.verification",
        "sequence": told["sequence"],
        "commits": len(shared.commits(story)),
        "clean": True,
        "findings": [],
    }


def test_a_forged_commit_is_told_over_http(wounded: Running):
    with wounded.client() as client:
        made = client.conversations.create(items=[message("true")])
    (first,) = wounded.commits(made.id)

    async def forge(log: Any) -> int:
        subject = subjects.conversation(PROJECT, made.id)
        ack = await log.jetstream().publish(subject, first.payload.replace(b"true", b"lies"))
        return int(ack.seq)

    async def undo(log: Any) -> None:
        await log.jetstream().delete_msg(subjects.CONVERSATIONS, forged)

    forged = wounded.on_log(forge)
    with wounded.http() as http:
        told = http.get(f"/v1/turnlog/conversations/{made.id}/verify").json()
        # There is nothing to vouch for: the export ends without its last line.
        exported = http.get(f"/v1/turnlog/conversations/{made.id}/export").text.splitlines()
    wounded.on_log(undo)
    assert (told["clean"], told["commits"]) == (False, 2)
    assert [(each["sequence"], each["rule"]) for each in told["findings"]] == [(forged, "forged")]
    title, line = (json.loads(line).keys() for line in exported)
    assert ("format" in title, "sha256" in line, "signature" in line) == (True, True, False)


def checked(path: Path, *arguments: str, program: Path = ROOT / "deploy/check_export.py"):
    """What the script says that outsiders have, without any of our code at hand."""
    return subprocess.run(
        [sys.executable, "-I", str(program), str(path), *arguments],
        capture_output=True,
        text=True,
        check=False,
    )


def test_an_export_is_checked_by_an_outsider(shared: Running, story: str, tmp_path: Path):
    path, key = tmp_path / "story.jsonl", tmp_path / "turnlog.pem"
    turnlog(shared, "export", "--conversation", story, "-o", str(path))
    key.write_text(turnlog(shared, "export", "--public-key"))
    assert turnlog(shared, "export", "--public-key") == key.read_text()
    assert [each.name for each in tmp_path.iterdir()] == [path.name, key.name]
    count = len(shared.commits(story))
    with shared.http() as http:
        answer = http.get(f"/v1/turnlog/conversations/{story}/export")
    assert answer.headers["content-type"] == "application/jsonl"
    assert answer.content.splitlines()[1:-1] == path.read_bytes().splitlines()[1:-1]
    twin = tmp_path / "twin" / "story.jsonl"
    twin.parent.mkdir()
    twin.write_bytes(answer.content)
    done = checked(twin, str(key))
    assert (done.returncode, done.stdout) == (0, f"{story}: {count} commits, whole\n")
    shutil.rmtree(twin.parent)

    for arguments in ((), (str(key),)):
        done = checked(path, *arguments)
        assert (done.returncode, done.stdout) == (0, f"{story}: {count} commits, whole\n")

    lines = path.read_bytes().splitlines(keepends=True)
    first = json.loads(lines[1])
    other = {**first, "payload": first["payload"].replace("Hello", "Hallo")}
    rehashed = {**other, "sha256": hashlib.sha256(other["payload"].encode()).hexdigest()}
    for tampered in (
        [lines[0], json.dumps(other).encode() + b"\n", *lines[2:]],
        [lines[0], json.dumps(rehashed).encode() + b"\n", *lines[2:]],
        [*lines[:3], *lines[4:]],
        [*lines[:3], lines[4], lines[3], *lines[5:]],
        [*lines[:-2], lines[-1]],
        lines[:-1],
        [lines[0].replace(b"default", b"defauld"), *lines[1:]],
    ):
        path.write_bytes(b"".join(tampered))
        assert checked(path).returncode != 0
    seal = json.loads(lines[-1])
    seal["signature"] = "00" * 64
    path.write_bytes(b"".join([*lines[:-1], json.dumps(seal).encode()]))
    assert checked(path).returncode == 0
    assert "InvalidSignature" in checked(path, str(key)).stderr


def test_an_export_is_there_as_a_whole_or_not_at_all(shared: Running, story: str, tmp_path: Path):
    path = tmp_path / "story.jsonl"
    nothing = ("export", "--conversation", "conv_nothing", "-o", str(path))
    assert "no conversation" in turnlog(shared, *nothing, status=1)
    assert list(tmp_path.iterdir()) == []
    turnlog(shared, "export", "--conversation", story, "-o", str(path))
    before = path.read_bytes()
    turnlog(shared, *nothing, status=1)
    assert [path.read_bytes(), list(tmp_path.iterdir())] == [before, [path]]
    printed = turnlog(shared, "export", "--conversation", story)
    assert printed.encode().splitlines()[1:-1] == before.splitlines()[1:-1]


@contextmanager
def tailing(running: Running, *arguments: str):
    """``turnlog tail`` on a data directory, and its lines so far."""
    path = running.directory / f"tail-{len(list(running.directory.iterdir()))}.log"
    with path.open("wb") as written:
        process = subprocess.Popen(
            [*PYTHON, "services.cli", "tail", *arguments, "--data-dir", str(running.data)],
            env=own(running.mark),
            stdout=written,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            yield process, lambda: path.read_text().splitlines()
        finally:
            process.kill()
            process.communicate()


def test_tail_follows_what_is_wanted(shared: Running, client: OpenAI):
    made, other = client.conversations.create(), client.conversations.create()
    since = str(sequences(shared, made.id)[0])
    wanted = ["--conversation", made.id, "--since", since, "--json"]
    with (
        tailing(shared, *wanted) as (process, lines),
        tailing(shared, "--since", since, "--type", "items_added") as (_, typed),
    ):
        until(lines)
        for name in (made.id, other.id):
            client.conversations.items.create(name, items=[message(f"to {name}")])
        client.responses.create(model=MODEL, input="x", conversation=made.id)
        until(lambda: len(lines()) >= 4)
        until(lambda: len(typed()) >= 2)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
        assert (process.returncode, errors) == (0, "")
        told = [json.loads(line) for line in lines()]
        words = typed()
    assert [each["type"] for each in told] == [
        *("conversation_created", "items_added", "turn_requested", "turn_completed")
    ]
    assert {each["conversation_id"] for each in told} == {made.id}
    assert told[1]["data"]["items"][0]["content"][0]["text"] == f"to {made.id}"
    assert [each["sequence"] for each in told] == sequences(shared, made.id)
    assert all("  items_added" in line for line in words)
    assert [made.id in words[0], other.id in words[1]] == [True, True]


def test_tail_goes_on_when_the_server_comes_back(wounded: Running):
    with wounded.client() as client, tailing(wounded) as (process, lines):
        # It begins with what is new: until it is there nothing is.
        made = client.conversations.create()
        until(lambda: client.conversations.create() and lines())
        wounded.kill("nats-server")

        def asked() -> bool:
            with suppress(Exception):
                client.conversations.update(made.id, metadata={"after": "it was killed"})
                return True
            return False

        until(asked)
        until(lambda: any("after=it was killed" in line for line in lines()))
        # And when all of it is started again, under another address.
        wounded.stop()
        wounded.start()
        with wounded.client() as anew:
            anew.conversations.update(made.id, metadata={"after": "a new start"})
        until(lambda: any("after=a new start" in line for line in lines()))
        assert process.poll() is None
        numbers = [int(line.split()[0]) for line in lines()]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
