"""Turns whose summary, or whose answer behind it, the model does not give."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress

import msgspec
import pytest

from schemas.turn_requests import TurnRequest
from services import ids
from services.conversation.budget import Policy
from services.journal.conversations import Conversations
from services.journal.memory import MemoryJournal
from services.model.connect import model
from services.model.intake import Intake
from services.model.tokenizer import Tokenizer
from services.responder import ask_model
from services.responder.outcome import End, Outcome, Refusal
from services.sealing import Sealer
from services.settings import ModelSettings
from tests.responder.answering import answerer
from tests.summaries import wants_summary

SEALER = Sealer(bytes(32))
Reply = tuple[int, bytes]
Upstream = Callable[..., Awaitable[str]]

TALK = [
    {"role": "user", "content": "Where is my parcel? " + "It is large. " * 500},
    {"role": "assistant", "content": "In Rotterdam."},
    {"role": "user", "content": "And now?"},
]
MANAGED = [{"type": "compaction", "compact_threshold": 1000}]
REFUSED = (400, b'{"error":{"message":"Too long.","code":"context_length_exceeded"}}')
BROKEN = (500, b"{}")


def answer(text: str, *, status: str = "completed") -> bytes:
    part = {"type": "output_text", "annotations": [], "logprobs": [], "text": text}
    said = {"id": "msg_1", "type": "message", "status": status, "content": [part]}
    response = {"status": status, "model": "m", "output": [{**said, "role": "assistant"}]}
    return json.dumps(response).encode()


def streamed(body: bytes) -> bytes:
    response = json.loads(body)
    (item,) = response["output"]
    told = [
        {"type": "response.output_item.added", "item": {**item, "content": []}, "output_index": 0},
        {"type": "response.output_item.done", "item": item, "output_index": 0},
        {"type": "response.completed", "response": response},
    ]
    return b"".join(
        b"event: %b\ndata: %b\n\n" % (event["type"].encode(), json.dumps(event).encode())
        for event in told
    )


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    """Starts a model that has one reply to requests for summaries, and one to all others."""
    servers = []

    async def start(summary: Reply, other: Reply, *, wait_s: float = 0) -> str:
        async def reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = int(head.partition(b"content-length:")[2].split(b"\r\n")[0])
            asked = json.loads(await reader.readexactly(length))
            summarising = wants_summary(asked)
            status, body = summary if summarising else other
            if summarising:
                with suppress(TimeoutError):
                    # Who has waited long enough hangs up.
                    await asyncio.wait_for(reader.read(1), wait_s)
            kind = b"application/json"
            if asked["stream"] and status == 200:
                kind, body = b"text/event-stream", streamed(body)
            writer.write(
                b"HTTP/1.1 %d Said\r\ncontent-type: %b\r\nx-should-retry: false\r\n"
                b"content-length: %d\r\nconnection: close\r\n\r\n%b"
                % (status, kind, len(body), body)
            )
            await writer.drain()
            writer.close()
            await writer.wait_closed()

        server = await asyncio.start_server(reply, "127.0.0.1", 0)
        servers.append(server)
        return f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"

    yield start
    for server in servers:
        server.close()
        await server.wait_closed()


class Told:
    """Frames as they come."""

    def __init__(self) -> None:
        self.payload = b""
        self.attempt = 1

    async def put(self, frame: bytes, *, number: int) -> None:
        assert number == len(self.events())
        self.payload += frame

    async def flush(self) -> None:
        pass

    def events(self) -> list[dict[str, object]]:
        parts = self.payload.split(b"\n\n")[:-1]
        return [json.loads(part.split(b"data: ")[1]) for part in parts]


async def turn(url: str, told: Told, *, wait_s: float = 10, **body: object) -> Outcome:
    """The outcome of one turn on an empty log; ``wait_s`` is there for summaries."""
    called = model(ModelSettings(model_url=url, model_wait_s=10), SEALER)
    intake = Intake(Tokenizer(), SEALER)
    conversations = Conversations(MemoryJournal(), actor="responder", policy=Policy())
    answering = answerer(conversations, called, intake, SEALER, compaction_wait_s=wait_s)
    conversation_id = ids.conversation_id()
    request = TurnRequest(
        response_id=ids.response_id(conversation_id),
        conversation_id=conversation_id,
        body=msgspec.Raw(json.dumps({"model": "m", **body}).encode()),
    )
    outcome = (
        await answering.answer(project="default", request=request, deltas=told, place=1, first=True)
        if body.get("store", True)
        else await answering.answer_unstored("default", request, told)
    )
    await called.aclose()
    return outcome


def response_of(outcome: Outcome) -> dict[str, object]:
    assert isinstance(outcome, End), outcome
    data = outcome.frame.split(b"data: ")[-1].removesuffix(b"\n\n")
    response: dict[str, object] = json.loads(data)["response"]
    return response


def types_of(response: dict[str, object]) -> list[str]:
    output = response["output"]
    assert isinstance(output, list)
    return [item["type"] for item in output]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("store", [True, False])
@pytest.mark.parametrize(
    "summary",
    [REFUSED, BROKEN, (200, b"{}"), (200, answer("Half", status="incomplete"))],
    ids=["refused", "broken", "unreadable", "half"],
)
async def test_without_a_summary_by_the_model_one_is_made_without_it(
    upstream: Upstream, summary: Reply, store: bool, stream: bool
):
    url, told = await upstream(summary, (200, answer("Still there."))), Told()
    outcome = await turn(
        url, told, input=TALK, context_management=MANAGED, store=store, stream=stream
    )
    response = response_of(outcome)
    assert (response["status"], types_of(response)) == ("completed", ["compaction", "message"])
    assert "Where is my parcel?" in SEALER.open(response["output"][0]["encrypted_content"])


async def test_a_summary_larger_than_its_source_is_let_go(upstream: Upstream):
    url = await upstream((200, answer("Very much. " * 2_000)), (200, answer("Still there.")))
    response = response_of(await turn(url, Told(), input=TALK, context_management=MANAGED))
    assert types_of(response) == ["compaction", "message"]
    assert "Very much" not in SEALER.open(response["output"][0]["encrypted_content"])


async def test_a_turn_goes_on_where_nothing_is_to_be_gained(upstream: Upstream):
    url = await upstream((200, answer("Never asked.")), (200, answer("Still there.")))
    talk = [{"role": "user", "content": "Hi."}, *TALK[:1]]
    response = response_of(await turn(url, Told(), input=talk, context_management=MANAGED))
    assert types_of(response) == ["message"]


async def test_a_model_that_takes_its_time_keeps_no_turn_waiting(upstream: Upstream):
    url = await upstream((200, answer("Late.")), (200, answer("Still there.")), wait_s=30)
    response = response_of(
        await turn(url, Told(), wait_s=0.2, input=TALK, context_management=MANAGED)
    )
    assert types_of(response) == ["compaction", "message"]
    assert "Late" not in SEALER.open(response["output"][0]["encrypted_content"])


@pytest.mark.parametrize("store", [True, False])
async def test_a_refusal_behind_a_summary_that_was_told_ends_the_stream(
    upstream: Upstream, store: bool
):
    url, told = await upstream((200, answer("Rotterdam.")), REFUSED), Told()
    outcome = await turn(
        url, told, input=TALK, context_management=MANAGED, store=store, stream=True
    )
    response = response_of(outcome)
    assert response["status"] == "failed"
    assert response["error"] == {"code": "context_length_exceeded", "message": "Too long."}
    assert [event["type"] for event in told.events()] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.compaction.compacting",
        "response.output_item.done",
    ]
    assert types_of(response) == ["compaction"]


async def test_a_refusal_behind_a_summary_that_was_not_told_is_plain_http(upstream: Upstream):
    url = await upstream((200, answer("Rotterdam.")), REFUSED)
    outcome = await turn(url, Told(), input=TALK, context_management=MANAGED)
    assert isinstance(outcome, Refusal)
    assert outcome.status == 400


TRIGGERED = [*TALK, {"type": "compaction_trigger"}]


@pytest.mark.parametrize("store", [True, False])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_summary_that_was_asked_for_and_is_refused_is_plain_http(
    upstream: Upstream, store: bool, stream: bool
):
    url = await upstream(REFUSED, (200, answer("Never asked.")))
    outcome = await turn(url, Told(), input=TRIGGERED, store=store, stream=stream)
    assert isinstance(outcome, Refusal)
    assert json.loads(outcome.body)["error"]["code"] == "context_length_exceeded"


@pytest.mark.parametrize("store", [True, False])
@pytest.mark.parametrize("summary", [BROKEN, (200, answer("Half", status="incomplete"))])
async def test_a_turn_that_is_nothing_but_a_summary_gets_one_without_the_model(
    upstream: Upstream, summary: Reply, store: bool
):
    url = await upstream(summary, (200, answer("Never asked.")))
    response = response_of(await turn(url, Told(), input=TRIGGERED, store=store, stream=True))
    assert (response["status"], types_of(response)) == ("completed", ["compaction"])


@pytest.mark.parametrize("store", [True, False])
async def test_who_waits_for_a_summary_is_told_that_it_is_being_made(
    upstream: Upstream, monkeypatch: pytest.MonkeyPatch, store: bool
):
    monkeypatch.setattr(ask_model, "PROGRESS_S", 0.05)
    url = await upstream((200, answer("Rotterdam.")), BROKEN, wait_s=0.4)
    told = Told()
    response = response_of(await turn(url, told, input=TRIGGERED, store=store, stream=True))
    types = [event["type"] for event in told.events()]
    assert types[:3] == ["response.created", "response.in_progress", "response.output_item.added"]
    assert types.count("response.compaction.compacting") >= 2
    assert types[-1] == "response.output_item.done"
    assert [event["sequence_number"] for event in told.events()] == list(range(len(types)))
    assert types_of(response) == ["compaction"]
