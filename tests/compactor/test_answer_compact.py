"""What becomes of a request to compact when the model does not answer it."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable

import msgspec
import pytest

from schemas.queries import Compact, CompactAnswer
from services.compaction import connect
from services.compactor.answer_compact import CompactAnswerer
from services.compactor.compact_window import WindowCompactor
from services.conversation.budget import Policy
from services.journal.conversations import Conversations
from services.journal.memory import MemoryJournal
from services.model.connect import model
from services.model.intake import Intake
from services.model.tokenizer import Tokenizer
from services.sealing import Sealer
from services.settings import ModelSettings

SEALER = Sealer(bytes(32))
Serve = Callable[[int, bytes], Awaitable[str]]


class Asking:
    """A request as the answerer takes it; what is said to it."""

    def __init__(self, body: dict[str, object]) -> None:
        asked = Compact(project="default", body=msgspec.Raw(json.dumps(body).encode()))
        self.data = msgspec.json.encode(asked)
        self.answered: asyncio.Queue[bytes] = asyncio.Queue()

    async def respond(self, data: bytes) -> None:
        await self.answered.put(data)


@pytest.fixture
async def upstream() -> AsyncIterator[Serve]:
    """Starts a model that answers everything with one status and body; returns its URL."""
    servers = []

    async def start(status: int, body: bytes) -> str:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = int(head.partition(b"content-length:")[2].split(b"\r\n")[0])
            await reader.readexactly(length)
            writer.write(
                b"HTTP/1.1 %d Said\r\ncontent-type: application/json\r\n"
                b"x-should-retry: false\r\nretry-after: 7\r\n"
                b"content-length: %d\r\nconnection: close\r\n\r\n%b" % (status, len(body), body)
            )
            await writer.drain()
            writer.close()
            await writer.wait_closed()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        servers.append(server)
        return f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"

    yield start
    for server in servers:
        server.close()
        await server.wait_closed()


async def answered(url: str, **body: object) -> CompactAnswer:
    conversations = Conversations(MemoryJournal(), actor="compactor", policy=Policy())
    summariser = model(ModelSettings(model_url=url, model_wait_s=10), SEALER)
    compactor = WindowCompactor(
        conversations,
        connect.summariser(ModelSettings(), summariser, SEALER, Tokenizer()),
        Intake(Tokenizer(), SEALER),
        SEALER,
        policy=Policy(),
        shrink_share=0.2,
        model_name="",
    )
    asking = Asking({"model": "m", "input": "Hello", **body})
    await CompactAnswerer(compactor).take(asking)
    answer = await asyncio.wait_for(asking.answered.get(), 20)
    await summariser.aclose()
    return msgspec.json.decode(answer, type=CompactAnswer)


def error_of(answer: CompactAnswer) -> dict[str, object]:
    error: dict[str, object] = json.loads(bytes(answer.body))["error"]
    return error


async def test_a_model_that_is_unknown_upstream_is_refused_in_its_words(upstream: Serve):
    refusal = {
        "message": "The requested model 'm' does not exist.",
        "type": "invalid_request_error",
        "param": "model",
        "code": "model_not_found",
    }
    url = await upstream(400, json.dumps({"error": refusal}).encode())
    answer = await answered(url)
    assert (answer.status, error_of(answer)) == (400, refusal)


async def test_a_model_that_has_too_much_to_do_says_when_to_come_again(upstream: Serve):
    answer = await answered(await upstream(429, b'{"error":{"message":"Slow down."}}'))
    assert (answer.status, answer.retry_after_s) == (429, 7)
    assert error_of(answer) == {
        "message": "Slow down.",
        "type": "requests",
        "param": None,
        "code": "rate_limit_exceeded",
    }


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, b"{}"),
        (401, b'{"error":{"message":"key sk-1"}}'),
        (200, b"{}"),
        (
            200,
            (
                b'{"status":"incomplete","output":[{"type":"message","content":'
                b'[{"type":"output_text","text":"Ha"}]}]}'
            ),
        ),
    ],
    ids=["broken", "without_its_key", "unreadable", "half_a_summary"],
)
async def test_a_model_that_fails_is_done_without(upstream: Serve, status: int, body: bytes):
    answer = await answered(await upstream(status, body))
    assert answer.status == 200
    output = json.loads(bytes(answer.body))["output"]
    assert [item["type"] for item in output] == ["message", "compaction"]
    assert SEALER.open(output[1]["encrypted_content"]) == "User: Hello"


async def test_a_request_that_is_none_is_answered_too(upstream: Serve):
    answer = await answered(await upstream(200, b"{}"), input=[{"type": "nothing"}])
    assert (answer.status, error_of(answer)["code"]) == (400, "invalid_value")
