"""``turnlog verify`` on real servers: a recorded log, and copies of it that were tampered with."""

import contextlib
import json

import pytest
from click.testing import CliRunner

from schemas import envelope, subjects
from services.audit import verification
from services.cli.export import export
from services.cli.verify import verify
from services.conversation.budget import Policy
from services.conversation.commands import CreateConversation, RequestTurn
from services.journal import streams
from services.journal.conversations import Conversations
from services.journal.jetstream import EXPECTED, JetStreamJournal
from services.journal.publishing import MESSAGE_ID
from tests.audit.recording import copy, exchanged, flipped, forged, on, record, whole
from tests.builders import added, message, request
from tests.journal.conftest import server


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    """A log as a server has it."""
    with server(tmp_path_factory.mktemp("recorded")) as url:

        async def run(client):
            await streams.declare(client)
            await record(JetStreamJournal(client), seed=5, conversations=4, steps=160)
            return await whole(client)

        found = on(url, run)
        assert ran(url).exit_code == 0
        assert ran(url, "--all").output == told(len(found), len(found), "nothing found")
    return found


@pytest.fixture
def server_of(tmp_path):
    """Serves a copy of some log."""

    @contextlib.contextmanager
    def serving(log):
        with server(tmp_path) as url:
            on(url, lambda client: copy(client, log))
            on(url, streams.declare)
            yield url

    return serving


def ran(url, *arguments: str):
    return CliRunner().invoke(verify, arguments, env={"TURNLOG_NATS_URL": url})


def told(commits, through, found):
    return f"{commits} commits up to sequence {through}: {found}\n"


def findings(url, *arguments: str):
    """Where something was found and by which rule; that there is something."""
    done = ran(url, "--json", *arguments)
    assert done.exit_code == 1, done.output
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    return [(row["subject"], row["sequence"], row["rule"]) for row in rows]


def followed(log, least=3):
    """Place of a commit that has ``least`` of its conversation before it and behind it."""
    of = [place for place, each in enumerate(log) if each.subject == log[0].subject]
    return of[least], of[least + 1]


def test_a_copy_that_was_not_tampered_with_is_clean(log, server_of):
    with server_of(log) as url:
        assert ran(url).output == told(len(log), len(log), "nothing found")
        _, _, name = log[0].subject.split(".")
        (own,) = [sum(each.subject == log[0].subject for each in log)]
        assert ran(url, name).output == told(own, len(log), "nothing found")
        assert ran(url, "--project", "default").exit_code == 0
        assert ran(url, "conv_nowhere").exit_code == 1
        assert "the log has no conversation conv_nowhere" in ran(url, "conv_nowhere").output


def test_a_flipped_byte_is_found(log, server_of):
    place, _ = followed(log)
    tampered = list(log)
    at = log[place].payload.index(b'"events"') + 30
    tampered[place] = flipped(log[place], at)
    with server_of(tampered) as url:
        (found,) = findings(url)
        assert found[:2] == (log[place].subject, log[place].sequence)
        assert found[2] in {"altered", "unreadable"}
        others = {each.subject.split(".")[2] for each in log} - {log[place].subject.split(".")[2]}
        assert ran(url, *sorted(others)).exit_code == 0


def test_two_swapped_commits_are_found(log, server_of):
    place, after = followed(log)
    with server_of(exchanged(log, place, after)) as url:
        assert findings(url) == [(log[place].subject, log[place].sequence, "swapped")]
        text = ran(url).output
        assert f"it has changed places with {log[after].sequence}" in text
        assert text.endswith(told(len(log), len(log), "1 findings, 0 warnings"))


def test_a_removed_commit_is_found(log, server_of):
    place, _ = followed(log)
    gone = log[place]
    with server_of(log) as url:
        remove(url, gone.sequence)
        assert findings(url) == [(gone.subject, gone.sequence, "missing")]
        assert findings(url, gone.subject.split(".")[2]) == [
            (gone.subject, gone.sequence, "missing")
        ]


def test_a_removed_last_commit_is_found_by_the_gap_it_leaves(log, server_of):
    last = {each.subject: each for each in log}[log[0].subject]
    with server_of(log) as url:
        remove(url, last.sequence)
        # Nothing says whose it was.
        assert findings(url) == [("", last.sequence, "missing")]
        assert ran(url, last.subject.split(".")[2]).exit_code == 0
        remove(url, log[-1].sequence)
        assert findings(url)[-1] == ("", log[-1].sequence, "missing")


def test_an_export_shows_what_the_log_has_no_longer(log, server_of, tmp_path):
    last = {each.subject: each for each in log}[log[0].subject]
    _, _, name = last.subject.split(".")
    path = tmp_path / "story.jsonl"
    with server_of(log) as url:
        made = CliRunner().invoke(
            export, ["--conversation", name, "-o", str(path)], env={"TURNLOG_NATS_URL": url}
        )
        assert made.exit_code == 0, made.output
        assert ran(url, "--against", str(path)).exit_code == 0
        remove(url, last.sequence)
        # Without the export, the conversation by itself looks whole.
        assert ran(url, name).exit_code == 0
        assert findings(url, name, "--against", str(path)) == [
            (last.subject, last.sequence, "export")
        ]
        path.write_bytes(path.read_bytes().replace(b"conv_", b"conv-", 1))
        altered = ran(url, "--against", str(path))
    assert altered.exit_code == 2
    assert f"Error: {path}: it was altered after it was signed" in altered.output


def test_a_conversation_that_was_purged_is_found(log, server_of):
    mine = [each.sequence for each in log if each.subject == log[0].subject]
    with server_of(log) as url:
        on(
            url,
            lambda client: client.jetstream().purge_stream(
                subjects.CONVERSATIONS, subject=log[0].subject
            ),
        )
        found = findings(url)
    assert {rule for _, _, rule in found} == {"missing"}
    assert found[0] == ("", 1, "missing")
    assert {sequence for _, sequence, _ in found} <= set(mine)


@pytest.mark.parametrize("prev", ["right", "wrong"])
def test_a_forged_commit_is_found(log, server_of, prev):
    last = {each.subject: each for each in log}[log[0].subject]
    digest = envelope.digest(last.payload) if prev == "right" else "0" * 64
    event = envelope.pack(added(message("msg_mine", "words of mine")))
    own = forged(last, id="mine", prev=digest, events=(event,))
    # As whoever may write to the server can: with the sequence the server wants.
    headers = {**own.headers, EXPECTED: str(last.sequence), MESSAGE_ID: "mine"}
    with server_of(log) as url:
        on(
            url,
            lambda client: client.jetstream().publish(last.subject, own.payload, headers=headers),
        )
        found = findings(url)
    rules = {rule for _, _, rule in found}
    assert {(subject, sequence) for subject, sequence, _ in found} == {(last.subject, len(log) + 1)}
    assert rules == {"forged"} if prev == "wrong" else rules == {"outline"}


def test_all_is_found_by_several_processes(log, server_of, monkeypatch):
    monkeypatch.setattr(verification, "ALONE_MAX", 0)
    place, after = followed(log)
    with server_of(exchanged(log, place, after)) as url:
        assert findings(url, "--processes", "2") == [
            (log[place].subject, log[place].sequence, "swapped")
        ]


def test_a_turn_that_nobody_runs_is_a_warning(tmp_path):
    async def run(client):
        await streams.declare(client)
        every = Conversations(JetStreamJournal(client), actor="test", policy=Policy())
        await every.grant("default", "conv_1", CreateConversation(), command_id="a")
        turn: RequestTurn = request("resp_1", message("msg_1"))
        await every.grant("default", "conv_1", turn, command_id="b")

    with server(tmp_path) as url:
        on(url, run)
        assert ran(url).output == told(2, 2, "nothing found")
        done = ran(url, "--orphan-after-s", "0")
    assert done.exit_code == 0
    assert done.output == (
        "warning         2  conversation.default.conv_1  orphan: resp_1 has not ended, and nobody "
        "runs it\n" + told(2, 2, "0 findings, 1 warnings")
    )


def test_a_server_without_a_log_or_none_at_all_is_status_2(tmp_path):
    with server(tmp_path) as url:
        assert ran(url).exit_code == 2
    assert ran("nats://127.0.0.1:1").exit_code == 2


def remove(url, sequence):
    on(url, lambda client: client.jetstream().delete_msg(subjects.CONVERSATIONS, sequence))
