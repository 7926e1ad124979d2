import asyncio
import json
import re
from contextlib import suppress
from typing import Any

import msgspec
from jsonschema import Draft202012Validator
from nats.aio.client import Client
from nats.aio.msg import Msg
from openai import BadRequestError, OpenAI
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from schemas import asyncapi, openapi, subjects, wrapped_keys
from schemas.channel import Message
from schemas.channels import CHANNELS
from schemas.queries import OPENED, Digest, Export, Listing, Rebuild, Sql
from services.encryption import Key
from services.journal.pieces import pieces
from services.simulator.directives import HOSTED
from tests.whole.asking import last, request
from tests.whole.running import MODEL, PROJECT, WAIT_S, Running
from tests.whole.wire import wired

DOCUMENT = asyncapi.document(version="1")
REGISTRY: Registry[Any] = Registry().with_resources(
    [
        (openapi.FILE, DRAFT202012.create_resource(openapi.document(version="1", server="/"))),
        (asyncapi.FILE, DRAFT202012.create_resource(DOCUMENT)),
    ]
)
EVENT = {"$ref": f"{openapi.FILE}#/components/schemas/ResponseStreamEvent"}
KEYED = {"Idempotency-Key": "as-described"}
UNREADABLE = b"not a request"
SAYS_NOTHING = {
    *("cancel", "cancelling", "cancel_waiting"),
    *("erased", "health_question", "left", "parked", "running_question", "waits"),
}
DELIVERED_AGAIN = {("delta", "attempt"), ("delta_unstored", "attempt")}
"""Said when a responder has died, which none does here."""
SUBJECTS = {name: row for name, row in CHANNELS.items() if row.server == "nats"}


def faults(value: Any, schema: dict[str, Any]) -> list[str]:
    """What is wrong with a value by a schema of the document."""
    whole = {**schema, "$id": asyncapi.FILE, "components": DOCUMENT["components"]}
    found = Draft202012Validator(whole, registry=REGISTRY).iter_errors(value)
    return [f"{error.json_path}: {error.message}" for error in found]


def said_on(channel: str, headers: dict[str, str]) -> Message:
    """The one message of a channel that has such headers."""
    rows = CHANNELS[channel].messages
    described = {row.name: DOCUMENT["components"]["messages"][row.name] for row in rows}
    fitting = [row for row in rows if not faults(headers, described[row.name].get("headers", {}))]
    assert len(fitting) == 1, (channel, headers)
    return fitting[0]


def payload_of(name: str) -> dict[str, Any]:
    """The shape of a message's payload."""
    shape: dict[str, Any] = DOCUMENT["components"]["messages"][name]["payload"]
    return shape


def faults_of(row: Message, payload: bytes) -> list[str]:
    """What is wrong with the payload of a message."""
    if row.name in SAYS_NOTHING:
        return []
    if row.content_type == openapi.JSON:
        return faults(json.loads(payload), payload_of(row.name))
    events = re.findall(r"^data: (.*)$", payload.decode(), re.MULTILINE)
    assert events
    return [fault for data in events for fault in faults(json.loads(data), EVENT)]


def lead(client: OpenAI) -> None:
    """Make every service say what it has to say."""
    conversation = client.conversations.create(metadata={"a": "b"})
    named = conversation.id
    client.conversations.update(named, metadata={})
    client.conversations.items.create(named, items=[{"role": "user", "content": "Hello"}])
    hosted = " ".join(f"[[hosted {kind}]]" for kind in HOSTED if kind != "future")
    client.responses.create(model=MODEL, input=f"Hi {hosted}")
    orders = "[[reasoning]] [[call look_up {}]]"
    answer = client.responses.create(model=MODEL, input=f"Hi {orders}", conversation=named)
    with suppress(BadRequestError):
        client.responses.create(model=MODEL, input="unanswered call", conversation=named)
    told = list(client.responses.create(model=MODEL, input="Hi", store=False, stream=True))
    assert told[-1].type == "response.completed"
    client.responses.create(model=MODEL, input="Hi [[incomplete]]", extra_headers=KEYED)
    client.responses.create(model=MODEL, input="Hi [[fail]]")
    slow = client.responses.create(model=MODEL, input="Hi [[delay 5]]", background=True)
    client.responses.cancel(slow.id)
    client.responses.delete(answer.id)
    client.responses.compact(model=MODEL, input=[{"role": "user", "content": "Hello " * 50}])
    last = client.conversations.items.list(named).data[0]
    assert last.id is not None
    client.conversations.items.delete(last.id, conversation_id=named)
    client.conversations.delete(named)


def lead_on_a_socket(shared: Running) -> None:
    """One turn that leaves a context, and one that is refused; every frame is as described."""
    asked = {"type": "response.create", "model": MODEL, "input": "Hi", "store": False}
    wrong = {**asked, "stream_id": "lane", "input": 5}
    assert faults(asked, payload_of("create")) == []
    assert faults(wrong, payload_of("create")) != []
    with wired(shared.url) as wire:
        for create in (asked, wrong):
            wire.send(create)
            assert wire.answer()
    assert wire.heard[-1]["type"] == "error"
    assert faults(wire.heard[-1], payload_of("error")) == []
    assert [
        found for frame in wire.heard[:-1] if (found := faults(frame, payload_of("event")))
    ] == []


def test_everything_that_is_said_is_as_described(shared: Running):
    heard: list[tuple[str, Msg]] = []
    complete = asyncio.Event()

    async def listen(client: Client) -> None:
        for name, channel in SUBJECTS.items():

            async def hear(message: Msg, name: str = name) -> None:
                heard.append((name, message))
                if {each for each, _ in heard} == SUBJECTS.keys():
                    complete.set()

            await client.subscribe(re.sub(r"{\w+}", "*", channel.address), cb=hear)
        await client.flush()
        with shared.client() as sdk:
            await asyncio.to_thread(lead, sdk)
            await asyncio.to_thread(lead_on_a_socket, shared)
        repeated = request("Hi [[incomplete]]", request_id=KEYED["Idempotency-Key"])
        assert faults(repeated, payload_of("turn_request")) == []
        await last(client, repeated)
        subject = subjects.turn_request(PROJECT, "conv_unreadable0")
        await client.jetstream().publish(subject, UNREADABLE)
        await client.request(subjects.cancel_waiting(PROJECT, "resp_gone"), timeout=WAIT_S)
        # Asked by gateways after a silence that nobody waits for here.
        await client.publish(subjects.running(PROJECT, "resp_gone"))
        # Said where a turn finds its conversation busy.
        await client.publish(subjects.waited_for(PROJECT, "resp_gone"))
        # Said by responders that stop, which none does here.
        await client.publish(subjects.left(PROJECT, "conv_gone"))
        # Said where something is erased.
        await client.publish(subjects.erased(PROJECT, "conv_gone"))
        # Stored by logs that are encrypted, which this one is not.
        wrapped = wrapped_keys.encode(Key.fresh().wrap(Key.fresh(), "nobody"))
        await client.publish(subjects.project_key(PROJECT), wrapped)
        await client.publish(subjects.conversation_key(PROJECT, "conv_gone"), wrapped)
        for question, asked, row in (
            (subjects.ask("sql"), Sql(statement="SELECT 1"), CHANNELS["ask_sql"].reply),
            (
                subjects.ask("conversations"),
                Listing(project=PROJECT),
                CHANNELS["ask_conversations"].reply,
            ),
            (subjects.ask("digest"), Digest(), CHANNELS["ask_digest"].reply),
            (subjects.ask("rebuild"), Rebuild(), CHANNELS["ask_rebuild"].reply),
            (subjects.ask_health("projector"), None, CHANNELS["ask_health"].reply),
        ):
            answer = await client.request(question, msgspec.json.encode(asked), timeout=WAIT_S)
            assert row is not None
            assert faults_of(row, answer.data) == []
        question = msgspec.json.encode(Export(since=2**40))
        first, *_ = [each async for each in pieces(client, subjects.ask("export"), question)]
        row = CHANNELS["ask_export"].reply
        assert row is not None
        assert (first.kind, faults_of(row, first.data)) == (OPENED, [])
        async with asyncio.timeout(WAIT_S):
            await complete.wait()

    shared.on_log(listen)

    wrong = {}
    told = set()
    for name, message in heard:
        if message.data == UNREADABLE and name != "parked":
            continue
        row = said_on(name, message.headers or {})
        told.add((name, row.name))
        if found := faults_of(row, message.data):
            wrong[message.subject, message.data] = found
    assert wrong == {}
    assert told == {
        (name, row.name) for name, channel in SUBJECTS.items() for row in channel.messages
    } - {("delta_unstored", "refusal"), *DELIVERED_AGAIN}
