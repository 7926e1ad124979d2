"""Thousands of turns against one responder: in order, none lost, memory bounded.

``TURNLOG_TEST_TURNS_QUEUED`` says how many; a few hundred without it.
"""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx2
import msgspec
import pytest
from nats.aio.client import Client

from schemas import envelope, subjects, turn_requests
from schemas.turn_requests import TurnRequest
from services import ids
from services.journal.publishing import MESSAGE_ID, NOT_STORED
from tests.whole.running import MODEL, PROJECT, Running, folded, until
from tests.whole.slow import memory

MIB = 1024 * 1024
TURNS = int(os.environ.get("TURNLOG_TEST_TURNS_QUEUED", "500"))
CONVERSATIONS = 40
OVER_HTTP = TURNS // 10
WAITING_MAX = TURNS
MEMORY_MAX = {
    "gateway": 320,
    "responder": 384,
    "projector": 512,
    "compactor": 320,
    "nats-server": 256,
}
"""MiB each process may ever have; the gateway alone has 200 when it is idle."""


@pytest.fixture
def busy(tmp_path_factory: pytest.TempPathFactory, _nothing_is_left: None) -> Iterator[Running]:
    running = Running(
        tmp_path_factory.mktemp("busy"),
        tokens_budget="0",
        log_level="info",
        turns_waiting_max=str(WAITING_MAX),
        conversation_turns_waiting_max=str(WAITING_MAX),
    )
    try:
        yield running.start()
    finally:
        running.end()


def request(conversation_id: str, text: str) -> TurnRequest:
    body = {"model": MODEL, "input": text, "conversation": conversation_id}
    return TurnRequest(
        response_id=ids.response_id(conversation_id),
        conversation_id=conversation_id,
        body=msgspec.Raw(msgspec.json.encode(body)),
        overlap=turn_requests.QUEUE,
    )


async def publish(client: Client, conversation_id: str, text: str) -> int:
    """Put a turn on the queue; the error code of a refusal, or 0."""
    asked = request(conversation_id, text)
    answer = await client.request(
        subjects.turn_request(PROJECT, conversation_id),
        turn_requests.encode(asked),
        headers={MESSAGE_ID: asked.response_id},
        timeout=30,
    )
    told = msgspec.json.decode(answer.data)
    return told["error"]["err_code"] if "error" in told else 0


class Asker:
    """Asks for turns of some conversations, and remembers which were accepted, in order."""

    def __init__(self, running: Running, conversations: list[str]) -> None:
        self._running = running
        self.conversations = conversations
        self.accepted: dict[str, list[str]] = {one: [] for one in conversations}
        self.refused = 0

    async def fill(self, client: Client) -> None:
        """Straight onto the queue: one of each conversation at once."""
        for start in range(0, TURNS, CONVERSATIONS):
            row = self.conversations[: TURNS - start]
            texts = [f"[[say q{start + n}]] queued-{start + n}" for n in range(len(row))]
            asked = zip(row, texts, strict=True)
            assert set(await asyncio.gather(*(publish(client, *one) for one in asked))) == {0}
            for conversation, text in zip(row, texts, strict=True):
                self.accepted[conversation].append(text)

    async def overfill(self, client: Client) -> int:
        """One more."""
        return await publish(client, self.conversations[0], "refused")

    def over_http(self, index: int) -> None:
        """Turns of one conversation, in the background, again whenever one is refused."""
        conversation = self.conversations[index]
        with self._running.http(timeout=600) as http:
            for number in range(index, OVER_HTTP, CONVERSATIONS):
                text = f"[[say h{number}]] http-{number}"
                while (answer := in_background(http, conversation, text)).status_code == 429:
                    assert answer.headers["retry-after"] == "1"
                    assert answer.json()["error"]["code"] == "rate_limit_exceeded"
                    self.refused += 1
                    time.sleep(int(answer.headers["retry-after"]))
                assert answer.status_code == 200, answer.text
                self.accepted[conversation].append(text)


def test_thousands_of_turns_are_run_once_each_in_their_order(
    busy: Running, capsys: pytest.CaptureFixture[str]
):
    with busy.client() as client:
        asker = Asker(busy, [client.conversations.create().id for _ in range(CONVERSATIONS)])
    pids = {name: busy.pid(name) for name in MEMORY_MAX}
    with ThreadPoolExecutor(CONVERSATIONS) as pool:
        busy.kill("responder", signal.SIGSTOP)
        try:
            busy.on_log(asker.fill)
            assert busy.turns_waiting() == TURNS
            assert busy.on_log(asker.overfill) == NOT_STORED
            over_http = [
                pool.submit(asker.over_http, n) for n in range(min(CONVERSATIONS, OVER_HTTP))
            ]
            until(lambda: asker.refused >= len(over_http))
            assert busy.turns_waiting() == TURNS
        finally:
            busy.kill("responder", signal.SIGCONT)
        begun = time.monotonic()
        for each in over_http:
            each.result()
    until(lambda: busy.turns_waiting() == 0, wait_s=60 + TURNS)
    took_s = time.monotonic() - begun

    peaks = {name: memory(pid, "VmHWM") // MIB for name, pid in pids.items()}
    with capsys.disabled():
        sys.stdout.write(
            f"\n{TURNS + OVER_HTTP} turns: {took_s:.1f} s, {asker.refused} refused, MiB: {peaks}\n"
        )
    assert pids == {name: busy.pid(name) for name in MEMORY_MAX}
    for conversation, accepted in asker.accepted.items():
        commits = busy.commits(conversation)
        folded(commits)
        events = [event for stored in commits for event in envelope.decode(stored.payload).events]
        asked = [text_of(event.data) for event in events if event.type == "turn_requested"]
        assert asked == accepted
        turns = [event.type for event in events if event.type.startswith("turn_")]
        assert turns == ["turn_requested", "turn_completed"] * len(asked)
    assert {name: peak for name, peak in peaks.items() if peak > MEMORY_MAX[name]} == {}


def in_background(http: httpx2.Client, conversation: str, text: str) -> httpx2.Response:
    return http.post(
        "/v1/responses",
        json={"model": MODEL, "input": text, "conversation": conversation, "background": True},
        headers={"Turnlog-Overlap": "queue"},
    )


class Part(msgspec.Struct):
    text: str = ""


class Content(msgspec.Struct):
    content: list[Part]


class Requested(msgspec.Struct):
    items: list[Content]


def text_of(data: msgspec.Raw) -> str:
    (item,) = msgspec.json.decode(data, type=Requested).items
    return item.content[0].text
