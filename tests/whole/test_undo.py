"""A compaction that is undone leaves the window as it was, to the byte."""

import hashlib
import json
import os
import secrets
import signal
import subprocess
from collections.abc import Iterator

import msgspec
import openai
import pytest
from nats.aio.client import Client
from openai import OpenAI

from schemas import envelope, subjects
from schemas.events import ConversationCompacted
from schemas.ids import conversation_of
from services.cli.window import NothingFound, Window, read
from services.conversation.parts import KEPT, LATER, SUMMARY
from services.model.rendering import SUMMARY_INTRODUCTION
from tests.whole.running import (
    MODEL,
    PROJECT,
    PYTHON,
    Running,
    folded,
    message,
    own,
    standing,
    until,
)

BUDGET = 400
FACT = "Parcel NL-4471-88 left Rotterdam on 2026-11-02 with three lamps for Rua do Salitre 12."
MANAGED = [{"type": "compaction", "compact_threshold": 1000}]


class Sent(msgspec.Struct):
    """What the model was sent."""

    input: list[msgspec.Raw]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory, _nothing_is_left: None) -> Iterator[Running]:
    """An instance whose budget a short talk crosses."""
    running = Running(tmp_path_factory.mktemp("undo"), tokens_budget=str(BUDGET))
    try:
        yield running.start()
    finally:
        running.end()


@pytest.fixture
def client(small: Running) -> Iterator[OpenAI]:
    with small.client() as sdk:
        yield sdk


@pytest.fixture
def mark() -> str:
    """A word that finds one test's requests to the model."""
    return secrets.token_hex(5)


def window(running: Running, followed: str, *, at: int | None = None) -> Window:
    """What `turnlog window` tells."""

    async def ask(log: Client) -> Window:
        return await read(log, PROJECT, followed, at=at)

    found: Window = running.on_log(ask)
    return found


def items_of(found: Window) -> list[bytes]:
    return [bytes(raw) for raw in msgspec.json.decode(found.array, type=list[msgspec.Raw])]


def digest(items: list[bytes]) -> str:
    """Of a window that holds these."""
    return hashlib.sha256(b"[" + b",".join(items) + b"]").hexdigest()


def sent_with(running: Running, text: str) -> list[bytes]:
    """The input of the newest request that holds ``text``."""
    body = running.received_with(text)[-1]
    return [bytes(raw) for raw in msgspec.json.decode(body, type=Sent).input]


def compacted_ids(running: Running, conversation_id: str) -> list[str]:
    """Ids of the items that the compactor has put on a line, oldest first."""
    return [
        json.loads(bytes(event.item))["id"]
        for commit in running.commits(conversation_id)
        for event in map(envelope.unpack, envelope.decode(commit.payload).events)
        if isinstance(event, ConversationCompacted)
    ]


def say(client: OpenAI, conversation_id: str, text: str) -> None:
    client.responses.create(model=MODEL, input=text, conversation=conversation_id)


def compacted(running: Running, client: OpenAI, mark: str) -> tuple[str, str, Window]:
    """A conversation that was just compacted, the item, and the window before it."""
    conversation_id = client.conversations.create().id
    say(client, conversation_id, f"{mark} 0")
    add(client, conversation_id, mark, 18)
    return compacted_again(running, conversation_id, 1)


def add(client: OpenAI, conversation_id: str, mark: str, count: int) -> None:
    """Items that cross the budget of a window that was compacted, or has just begun."""
    told = [message(f"{mark} {n}: {FACT}", ("user", "assistant")[n % 2]) for n in range(count)]
    client.conversations.items.create(conversation_id, items=told)


def compacted_again(running: Running, conversation_id: str, count: int) -> tuple[str, str, Window]:
    """The same, of the ``count``-th time."""
    until(lambda: len(compacted_ids(running, conversation_id)) == count)
    commits = running.commits(conversation_id)
    made = next(
        at
        for at in reversed(range(len(commits)))
        if b"conversation_compacted" in commits[at].payload
    )
    before = window(running, conversation_id, at=commits[made - 1].sequence)
    return conversation_id, compacted_ids(running, conversation_id)[-1], before


def undo(client: OpenAI, conversation_id: str, item_id: str) -> None:
    client.conversations.items.delete(item_id, conversation_id=conversation_id)


def test_the_window_before_is_back_to_the_byte(small: Running, client: OpenAI, mark: str):
    conversation_id, item_id, before = compacted(small, client, mark)
    after = window(small, conversation_id)
    assert after.digest != before.digest
    assert SUMMARY_INTRODUCTION.encode()[:30] in after.array

    undo(client, conversation_id, item_id)

    undone = window(small, conversation_id)
    assert (undone.array, undone.digest) == (before.array, before.digest)
    assert undone.sequence == small.fold(conversation_id).sequence
    assert window(small, conversation_id, at=after.sequence).digest == after.digest
    say(client, conversation_id, f"{mark} at last")
    assert digest(sent_with(small, f"{mark} at last")[:-1]) == before.digest
    story = small.events(conversation_id)
    assert story[story.index("conversation_compacted") :] == [
        *("conversation_compacted", "compaction_reverted"),
        *("turn_requested", "turn_completed"),
    ]


def test_what_came_since_stands_behind_it(small: Running, client: OpenAI, mark: str):
    conversation_id, item_id, before = compacted(small, client, mark)
    say(client, conversation_id, f"{mark} since")
    client.conversations.items.create(conversation_id, items=[message(f"{mark} by hand")])
    since = items_of(window(small, conversation_id))[-3:]

    undo(client, conversation_id, item_id)

    undone = items_of(window(small, conversation_id))
    assert undone == [*items_of(before), *since]
    assert digest(undone[: -len(since)]) == before.digest


def test_undone_twice_it_is_not_found(small: Running, client: OpenAI, mark: str):
    conversation_id, item_id, before = compacted(small, client, mark)
    undo(client, conversation_id, item_id)
    with pytest.raises(openai.NotFoundError):
        undo(client, conversation_id, item_id)
    assert small.events(conversation_id).count("compaction_reverted") == 1
    assert window(small, conversation_id).digest == before.digest


def test_it_is_not_made_again_before_the_window_has_grown(
    small: Running, client: OpenAI, mark: str
):
    conversation_id, item_id, before = compacted(small, client, mark)
    undo(client, conversation_id, item_id)
    say(client, conversation_id, f"{mark} once more")
    assert small.events(conversation_id).count("budget_crossed") == 1

    add(client, conversation_id, mark, 18)

    state = small.fold(conversation_id).state
    assert small.events(conversation_id).count("budget_crossed") == 2
    assert state.crossed >= 1.5 * (before.counted or 0) or state.compactions
    compacted_again(small, conversation_id, 2)


def test_of_two_the_newer_leaves_the_older_in_force(small: Running, client: OpenAI, mark: str):
    conversation_id, older, _ = compacted(small, client, mark)
    add(client, conversation_id, mark, 18)
    _, newer, before = compacted_again(small, conversation_id, 2)
    assert newer != older

    undo(client, conversation_id, newer)

    undone = window(small, conversation_id)
    assert undone.digest == before.digest
    assert [row.item.id for row in undone.rows if row.part == SUMMARY] == [older]


def test_of_two_the_older_takes_the_newer_along(small: Running, client: OpenAI, mark: str):
    """The newer was made of it: what it told is in the newer as well."""
    conversation_id, older, first = compacted(small, client, mark)
    add(client, conversation_id, mark, 18)
    _, newer, _ = compacted_again(small, conversation_id, 2)
    listed = standing(small.fold(conversation_id))

    undo(client, conversation_id, older)

    undone = items_of(window(small, conversation_id))
    assert digest(undone[: len(items_of(first))]) == first.digest
    assert undone == [raw for raw in listed if json.loads(raw)["type"] != "compaction"]
    assert small.events(conversation_id)[-2:] == ["compaction_reverted"] * 2
    for gone in (older, newer):
        with pytest.raises(openai.NotFoundError):
            undo(client, conversation_id, gone)


def test_an_item_deleted_meanwhile_stays_away(small: Running, client: OpenAI, mark: str):
    conversation_id, item_id, before = compacted(small, client, mark)
    rows = window(small, conversation_id).rows
    # The first of them are older messages of the user, of which the summary tells.
    recent = next(row.item.id for row in reversed(rows) if row.part == KEPT)
    client.conversations.items.delete(recent, conversation_id=conversation_id)

    undo(client, conversation_id, item_id)

    expected = [raw for raw in items_of(before) if json.loads(raw)["id"] != recent]
    assert len(expected) == len(items_of(before)) - 1
    assert items_of(window(small, conversation_id)) == expected


def test_one_that_a_turn_has_made_is_undone_as_well(shared: Running, mark: str):
    with shared.client() as client:
        conversation_id = client.conversations.create().id
        say(client, conversation_id, f"{mark} one. {FACT} [[words 1200]]")
        before = window(shared, conversation_id)
        response = client.responses.create(
            model=MODEL,
            input=f"{mark} two",
            conversation=conversation_id,
            context_management=MANAGED,
        )
        item, answer = response.output
        assert item.type == "compaction"
        rows = window(shared, conversation_id).rows
        assert [row.part for row in rows] == [SUMMARY, KEPT, KEPT, LATER]

        undo(client, conversation_id, item.id)

        undone = items_of(window(shared, conversation_id))
        assert digest(undone[:-2]) == before.digest
        assert [json.loads(raw)["role"] for raw in undone[-2:]] == ["user", "assistant"]
        say(client, conversation_id, f"{mark} three")
        assert sent_with(shared, f"{mark} three")[:-1] == undone
        # A chain goes on from the response as it was answered.
        assert client.responses.retrieve(response.id).output == [item, answer]
        with pytest.raises(openai.NotFoundError):
            undo(client, conversation_id, item.id)


def test_one_that_is_made_meanwhile_is_made_anew_without_it(
    small: Running, client: OpenAI, mark: str
):
    conversation_id, item_id, _ = compacted(small, client, mark)
    os.kill(small.simulator.process.pid, signal.SIGSTOP)
    try:
        # The compactor has to wait for its summary, which the older one is to be a part of.
        add(client, conversation_id, mark, 18)
        until(lambda: _waiting(small))
        undo(client, conversation_id, item_id)
    finally:
        os.kill(small.simulator.process.pid, signal.SIGCONT)

    _, newest, before = compacted_again(small, conversation_id, 2)

    state = small.fold(conversation_id).state
    assert [done.item.id for done in state.compactions] == [newest]
    assert json.loads(items_of(before)[0])["content"][0]["text"].startswith(f"{mark} 0")
    assert f"{mark} 0" in state.compactions[0].summary
    undo(client, conversation_id, newest)
    assert window(small, conversation_id).digest == before.digest


def _waiting(running: Running) -> bool:
    async def ask(client: Client) -> bool:
        info = await client.jetstream().consumer_info(subjects.CONVERSATIONS, subjects.COMPACTOR)
        return info.num_ack_pending == 1

    return running.on_log(ask)


# The command


def command(running: Running, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    variables = own(running.mark, TURNLOG_DATA_DIR=str(running.data))
    said = [*PYTHON, "services.cli", "window", *arguments]
    return subprocess.run(said, env=variables, capture_output=True, check=False, timeout=30)


def test_the_command_tells_what_the_model_is_sent_next(small: Running, client: OpenAI, mark: str):
    conversation_id, item_id, before = compacted(small, client, mark)

    array = command(small, conversation_id, "--json").stdout.removesuffix(b"\n")
    story = command(small, conversation_id).stdout.decode().splitlines()
    earlier = command(small, conversation_id, "--at", str(before.sequence)).stdout.decode()

    say(client, conversation_id, f"{mark} next")
    found = msgspec.json.decode(array, type=list[msgspec.Raw])
    assert [bytes(raw) for raw in found] == sent_with(small, f"{mark} next")[:-1]
    sha256 = hashlib.sha256(array).hexdigest()
    state = folded(small.commits(conversation_id)[:-2]).state
    assert story[0] == f"as of sequence {small.commits(conversation_id)[-3].sequence}"
    assert story[1] == f"sha256 {sha256}, {len(array)} bytes"
    assert story[2].split()[:2] == ["0", "summary"]
    assert story[2].split()[3:5] == ["developer", item_id]
    assert "Summary of the conversation so far" in story[2]
    tokens = [int(line.split()[2]) for line in story[2:] if line.split()[0].isdigit()]
    parts = {line.split()[0]: int(line.split()[1]) for line in story[2 + len(tokens) :]}
    assert list(parts) == ["summary", "kept", "total"]
    assert parts["total"] == sum(tokens) == parts["summary"] + parts["kept"]
    assert parts["summary"] == state.compactions[0].item.tokens
    assert f"sha256 {before.digest}" in earlier
    assert f"as of sequence {before.sequence}" in earlier


def test_the_command_tells_what_follows_a_response(shared: Running, mark: str):
    with shared.client() as client:
        first = client.responses.create(model=MODEL, input=f"{mark} one")
        second = client.responses.create(
            model=MODEL, input=f"{mark} two", previous_response_id=first.id
        )
        branch = command(shared, first.id, "--json").stdout
        chain = command(shared, second.id, "--json").stdout
        for parent, told in ((first, branch), (second, chain)):
            client.responses.create(
                model=MODEL, input=f"{mark} after {parent.id}", previous_response_id=parent.id
            )
            sent = sent_with(shared, f"{mark} after {parent.id}")[:-1]
            assert told == b"[" + b",".join(sent) + b"]\n"


@pytest.mark.parametrize(
    ("followed", "words"),
    [
        ("conv_0000000000000000", "the log has no conversation conv_0000000000000000"),
        ("{hidden}", "{hidden} only carries a chain: name the response to follow"),
        ("{unknown}", "Previous response with id '{unknown}' not found."),
        ("{deleted}", "Conversation with id '{deleted}' not found."),
    ],
    ids=["unknown", "chain", "unknown_response", "deleted"],
)
def test_what_no_turn_could_follow_has_no_window(shared: Running, followed, words):
    with shared.client() as client:
        deleted = client.conversations.create()
        client.conversations.delete(deleted.id)
        response = client.responses.create(model=MODEL, input="Hi")
    names = {
        "hidden": conversation_of(response.id),
        "deleted": deleted.id,
        "unknown": response.id[:-18] + "0" * 18,
    }

    with pytest.raises(NothingFound) as found:
        window(shared, followed.format(**names))

    assert found.value.message == words.format(**names)


def test_the_command_says_what_it_cannot_tell(shared: Running):
    with shared.client() as client:
        client.conversations.create()
        conversation_id = client.conversations.create().id

    said = command(shared, conversation_id, "--at", "1")

    assert (said.returncode, said.stdout) == (1, b"")
    assert said.stderr.decode() == (
        f"Error: the log has no conversation {conversation_id} up to sequence 1\n"
    )
