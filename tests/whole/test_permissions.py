"""The users of ``deploy/nats.conf``: each process works as its own, and none can do more."""

import asyncio
import json
import socket
import ssl
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import nats.errors
import pytest
from nats.aio.client import Client
from openai import OpenAI

from schemas import subjects
from services import ids
from tests.whole.permitted import Permitted
from tests.whole.running import MODEL, WAIT_S, message, until

PROJECT = subjects.DEFAULT_PROJECT
ACK_S = 2.0
"""Seconds in which a server says what it stored; nothing is stored that takes longer."""


@pytest.fixture(scope="module")
def permitted(
    tmp_path_factory: pytest.TempPathFactory, _nothing_is_left: None
) -> Iterator[Permitted]:
    running = Permitted(tmp_path_factory.mktemp("permitted"))
    try:
        running.everything()
        yield running
    finally:
        running.end()


@pytest.fixture
def client(permitted: Permitted) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{permitted.url}/v1", api_key="any", max_retries=0) as sdk:
        yield sdk


def subjects_of(permitted: Permitted, stream: str) -> list[str]:
    """Every subject a stream holds a message of."""

    async def ask(client: Client) -> list[str]:
        info = await client.jetstream().stream_info(stream, subjects_filter=">")
        return sorted(info.state.subjects or {})

    return permitted.on("operator", ask)


def test_every_process_works_as_its_own_user(permitted: Permitted, client: OpenAI):
    key = {"Idempotency-Key": "once"}
    repeated = {"X-Stainless-Retry-Count": "1"}
    conversation = client.conversations.create(
        items=[message("Order 12345 is on its way. " * 100)], extra_headers=key
    )
    client.conversations.items.create(
        conversation.id, items=[message("hi")], extra_headers=repeated
    )
    said = client.responses.create(
        model=MODEL,
        input="Hello",
        conversation=conversation.id,
        extra_headers={"Idempotency-Key": "said-once"},
    )
    client.responses.create(
        model=MODEL, input="again", previous_response_id=said.id, extra_headers=repeated
    )
    client.responses.create(model=MODEL, input="unstored", store=False)
    with client.responses.create(
        model=MODEL, input="[[delay 0.05]] [[words 400]]", background=True, stream=True
    ) as stream:
        running = next(iter(stream)).response.id
    assert client.responses.cancel(running).status == "cancelled"
    slow = "[[wait 5]] slow"
    client.responses.create(model=MODEL, input=slow, conversation=conversation.id, background=True)
    overlap = {"Turnlog-Overlap": "queue"}
    waits = client.responses.create(
        model=MODEL,
        input="next",
        conversation=conversation.id,
        background=True,
        extra_headers=overlap,
    )
    assert client.responses.cancel(waits.id).status == "cancelled"
    client.responses.compact(model=MODEL, input=[message("to be compacted"), message("more")])
    client.responses.input_tokens.count(model=MODEL, input="Hello")
    until(lambda: "conversation_compacted" in story(permitted, conversation.id), wait_s=60)
    listed = client.get("/turnlog/conversations", cast_to=object)
    assert isinstance(listed, dict)
    rows = client.post(
        "/turnlog/sql", body={"statement": "SELECT count(*) FROM items"}, cast_to=object
    )
    assert isinstance(rows, dict)
    assert rows["rows"][0][0] > 0
    client.post(f"/turnlog/conversations/{conversation.id}/fork", cast_to=object)
    client.conversations.delete(conversation.id)
    # A message that is no request is parked.
    permitted.on("operator", publish_nonsense)
    until(lambda: "TURN_REQUESTS" in permitted.command("parked", "list").stdout)

    for arguments in (
        ("events", conversation.id),
        ("show", conversation.id, "--at", "2100-01-01T00:00:00Z"),
        ("verify",),
        ("sql", "SELECT count(*) FROM turns"),
    ):
        found = permitted.command(*arguments, user="auditor")
        assert found.returncode == 0, (arguments, found.stderr)
    assert permitted.denied() == []


async def publish_nonsense(client: Client) -> None:
    await client.jetstream().publish(
        subjects.turn_request(PROJECT, ids.conversation_id()), b"nonsense"
    )


def story(permitted: Permitted, conversation_id: str) -> str:
    return permitted.command("events", conversation_id).stdout


def test_a_backend_puts_turns_of_its_project_on_the_queue(permitted: Permitted):
    async def ask(client: Client, *, store: bool) -> str:
        conversation_id = ids.conversation_id()
        response_id = ids.response_id(conversation_id)
        request = {
            "response_id": response_id,
            "conversation_id": conversation_id,
            "body": {"model": MODEL, "input": "Hello", "store": store},
        }
        if store:
            heard = await client.subscribe(subjects.delta("acme", response_id))
            subject = subjects.turn_request("acme", conversation_id)
            ack = await client.request(subject, json.dumps(request).encode(), timeout=WAIT_S)
            assert json.loads(ack.data)["stream"] == subjects.TURN_REQUESTS
        else:
            heard = await client.subscribe(subjects.delta_unstored("acme", response_id))
            subject = subjects.turn_request_unstored("acme")
            await client.publish(subject, json.dumps(request).encode())
        while True:
            told = await heard.next_msg(timeout=WAIT_S)
            kind = (told.headers or {})["Turnlog-Kind"]
            if kind in {"end", "refusal"}:
                return str(kind)

    async def work(client: Client) -> list[str]:
        return [await ask(client, store=True), await ask(client, store=False)]

    assert permitted.on("acme", work) == ["end", "end"]


def test_what_a_backend_asks_for_is_answered_to_nobody_else(permitted: Permitted):
    """A reply subject that names another's conversation would have the server write to it."""
    theirs = subjects.conversation("other", ids.conversation_id())

    async def work(client: Client) -> None:
        request = subjects.turn_request("acme", ids.conversation_id())
        await client.publish(request, b"nonsense", reply=theirs)
        await client.publish(subjects.cancel("acme", "resp_1"), b"", reply=theirs)
        await client.flush()

    before = permitted.on("operator", parked)
    permitted.on("acme", work)
    # It has come there, and been answered.
    until(lambda: permitted.on("operator", parked) > before)
    assert theirs not in subjects_of(permitted, subjects.CONVERSATIONS)


async def parked(client: Client) -> int:
    return (await client.jetstream().stream_info(subjects.PARKED)).state.messages


CONVERSATION = subjects.conversation("other", "conv_forbidden")
FORBIDDEN_TO_PUBLISH: dict[str, list[str]] = {
    "gateway": [
        *("delta.other.resp_1", "delta_unstored.other.resp_1", "parked.TURN_REQUESTS.x"),
        *("$KV.turnlog_api_keys.mine", "$KV.turnlog_keys.content.2", "$KV.turnlog_keys.signing.1"),
        *("ask.rebuild", "ask.export", "$JS.API.STREAM.PURGE.CONVERSATIONS"),
        *("$JS.API.STREAM.MSG.DELETE.CONVERSATIONS", "$JS.API.STREAM.UPDATE.CONVERSATIONS"),
        "$JS.API.STREAM.DELETE.CONVERSATIONS",
        "$JS.API.CONSUMER.DELETE.TURN_REQUESTS.responder",
        "$JS.API.CONSUMER.MSG.NEXT.TURN_REQUESTS.responder",
        "$JS.API.CONSUMER.CREATE.CONVERSATIONS",
        "_INBOX_responder.x",
    ],
    "responder": [
        *("repeat.other.x", "ask.sql", "ask.compact", "$KV.turnlog_api_keys.mine"),
        *("$KV.turnlog_keys.content.2", "parked.CONVERSATIONS.x", "turn_request_unstored.other"),
        *("$JS.API.STREAM.MSG.GET.KV_turnlog_api_keys", "$JS.API.STREAM.PURGE.CONVERSATIONS"),
        *("$JS.API.DIRECT.GET.KV_turnlog_api_keys", "$JS.API.STREAM.DELETE.DELTAS"),
        *("$JS.API.STREAM.UPDATE.TURN_REQUESTS", "$JS.ACK.CONVERSATIONS.compactor.x"),
        "_INBOX_gateway.x",
    ],
    "compactor": [
        *("turn_request.other.conv_1", "delta.other.resp_1", "claim.other.x", "ask.sql"),
        *("cancel.other.resp_1", "$KV.turnlog_api_keys.mine", "$KV.turnlog_keys.content.2"),
        *("$JS.API.STREAM.MSG.GET.KV_turnlog_api_keys", "$JS.API.STREAM.PURGE.CONVERSATIONS"),
        *("$JS.API.DIRECT.GET.TURN_REQUESTS", "$JS.API.CONSUMER.CREATE.TURN_REQUESTS.x.y"),
        "_INBOX_gateway.x",
    ],
    "projector": [
        *(CONVERSATION, "turn_request.other.conv_1", "delta.other.resp_1", "ask.sql"),
        *("parked.TURN_REQUESTS.x", "claim.other.x", "repeat.other.x", "cancel.other.resp_1"),
        *("$KV.turnlog_api_keys.mine", "$JS.API.STREAM.MSG.GET.KV_turnlog_keys"),
        *("$JS.API.STREAM.MSG.GET.KV_turnlog_api_keys", "$JS.API.STREAM.PURGE.CONVERSATIONS"),
        *("$JS.API.DIRECT.GET.TURN_REQUESTS", "_INBOX_gateway.x"),
    ],
    "auditor": [
        *(CONVERSATION, "turn_request.other.conv_1", "delta.other.resp_1", "ask.rebuild"),
        *("parked.CONVERSATIONS.x", "claim.other.x", "cancel.other.resp_1", "ask.compact"),
        *("$KV.turnlog_api_keys.mine", "$JS.API.STREAM.MSG.GET.KV_turnlog_keys"),
        *("$JS.API.STREAM.MSG.GET.KV_turnlog_api_keys", "$JS.API.STREAM.PURGE.CONVERSATIONS"),
        *("$JS.API.DIRECT.GET.TURN_REQUESTS", "$JS.API.STREAM.MSG.DELETE.CONVERSATIONS"),
        "_INBOX_gateway.x",
    ],
}
FORBIDDEN_TO_HEAR: dict[str, list[str]] = {
    "gateway": [">", "conversation.>", "turn_request.>", "$KV.>", "_INBOX.>", "_INBOX_cli.>"],
    "responder": [">", "conversation.>", "delta.>", "ask.>", "$KV.turnlog_api_keys.*", "_INBOX.>"],
    "compactor": [">", "conversation.>", "delta.>", "ask.sql", "$KV.turnlog_api_keys.*"],
    "projector": [">", "conversation.>", "delta.>", "turn_request.>", "$KV.>", "_INBOX_cli.>"],
    "auditor": [">", "conversation.>", "delta.>", "turn_request.>", "$KV.>", "_INBOX_gateway.>"],
}


@pytest.mark.parametrize("user", sorted(FORBIDDEN_TO_PUBLISH))
def test_a_user_can_say_nothing_that_is_not_its_own(permitted: Permitted, user: str):
    wanted = FORBIDDEN_TO_PUBLISH[user]

    async def work(client: Client) -> None:
        for subject in wanted:
            await client.publish(subject, b"{}")
            await client.flush()

    before = len(permitted.denied())
    permitted.on(user, work)
    until(lambda: len(permitted.denied()) - before >= len(wanted))
    denied = permitted.denied()[before:]
    assert all(f"user:{user}" in line for line in denied)
    for subject, line in zip(wanted, denied, strict=True):
        assert "Publish Violation" in line
        assert f'"{subject}"' in line
    assert CONVERSATION not in subjects_of(permitted, subjects.CONVERSATIONS)


@pytest.mark.parametrize("user", sorted(FORBIDDEN_TO_HEAR))
def test_a_user_hears_nothing_that_is_not_its_own(permitted: Permitted, user: str):
    wanted = FORBIDDEN_TO_HEAR[user]

    async def work(client: Client) -> None:
        for subject in wanted:
            await client.subscribe(subject)
            await client.flush()

    before = len(permitted.denied())
    permitted.on(user, work)
    until(lambda: len(permitted.denied()) - before >= len(wanted))
    for subject, line in zip(wanted, permitted.denied()[before:], strict=True):
        assert "Subscription Violation" in line
        assert f'"{subject}"' in line


@pytest.mark.parametrize(
    "subject",
    [
        *("turn_request.other.conv_1", "turn_request_unstored.other", "cancel.other.resp_1"),
        *("conversation.acme.conv_1", CONVERSATION, "delta.acme.resp_1", "ask.sql", "ask.health.x"),
        *("$JS.API.INFO", "$JS.API.STREAM.NAMES", "$JS.API.STREAM.INFO.CONVERSATIONS"),
        *("$JS.API.DIRECT.GET.CONVERSATIONS", "claim.acme.x", "$KV.turnlog_api_keys.x"),
        *("cancel_waiting.acme.resp_1", "running.acme.resp_1", "parked.TURN_REQUESTS.x"),
    ],
)
def test_a_backend_reaches_nothing_but_its_queue(permitted: Permitted, subject: str):
    """In an account of its own there is nobody else."""

    async def work(client: Client) -> None:
        with suppress(nats.errors.NoRespondersError, nats.errors.TimeoutError):
            answer = await client.request(subject, b"{}", timeout=ACK_S)
            # The server itself answers so in every account.
            assert json.loads(answer.data)["error"]["description"].startswith("JetStream not en")

    permitted.on("acme", work)
    for stream in (subjects.CONVERSATIONS, subjects.TURN_REQUESTS, subjects.PARKED):
        assert not [each for each in subjects_of(permitted, stream) if ".other." in each]


def test_a_backend_hears_its_own_project_only(permitted: Permitted, client: OpenAI):
    async def work(backend: Client) -> list[str]:
        heard: list[str] = []

        async def hear(told: Any) -> None:
            heard.append(told.subject)

        await backend.subscribe(">", cb=hear)
        await backend.flush()
        await asyncio.to_thread(client.responses.create, model=MODEL, input="of another")
        await backend.publish(subjects.turn_request("acme", ids.conversation_id()), b"{}")
        await backend.flush()
        return heard

    assert not [each for each in permitted.on("acme", work) if PROJECT in each.split(".")]


def test_nobody_connects_without_a_certificate_and_a_password(permitted: Permitted):
    with socket.create_connection(("127.0.0.1", permitted.port), timeout=WAIT_S) as plain:
        # It says nothing to whoever does not begin with TLS.
        plain.sendall(b"CONNECT {}\r\nPING\r\n")
        with suppress(ConnectionError):
            assert b"INFO" not in plain.recv(1000)
    for context in (
        ssl.create_default_context(cafile=str(permitted.directory / "authority.pem")),
        ssl.create_default_context(),
    ):
        with (
            socket.create_connection(("127.0.0.1", permitted.port), timeout=WAIT_S) as door,
            pytest.raises(OSError, match="certificate"),
            context.wrap_socket(door, server_hostname="127.0.0.1") as secured,
        ):
            secured.recv(1000)

    kept, permitted.passwords["gateway"] = permitted.passwords["gateway"], "mistaken"
    try:
        refused = permitted.command("keys", "list", user="gateway")
    finally:
        permitted.passwords["gateway"] = kept
    assert refused.returncode
    assert "mistaken" not in refused.stderr


def test_files_that_cannot_be_used_are_named_at_the_start(permitted: Permitted):
    child = permitted.beside("compactor", TURNLOG_NATS_CA="/nowhere.pem")
    assert child.process.wait(60) == 2
    assert "TURNLOG_NATS_CA: No such file or directory" in child.log_path.read_text()
