"""Who reads slowly, or not at all, costs bounded memory, and slows nobody else."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.whole.running import MODEL, WAIT_S, Child, Running, begin_gateway, together, until
from tests.whole.slow import Raw, memory, raw, warmed
from tests.whole.test_streaming import FRAME, events_of
from tests.whole.wire import said, wired

MIB = 1024 * 1024
WORDS = 100_000
SLOW = 3
PATIENT = {"client_wait_s": "600"}
"""It cuts nobody off who reads only once all has been said."""
GROWTH_MAX = 48 * MIB
"""Bytes the gateway may grow by for all slow readers: one of their answers has about 22 MiB."""


@pytest.fixture
def gateway(shared: Running, request: pytest.FixtureRequest) -> Iterator[tuple[str, Child]]:
    """A gateway of its own on the shared instance's log."""
    url, child = begin_gateway(shared, **getattr(request, "param", {}))
    yield url, child
    assert child.end() == 0


def unstored(running: Running) -> list[dict[str, Any]]:
    """The ends of turns that are kept nowhere."""
    assert running.up is not None
    return running.up.lines("turn.ended", conversation_id=None)


def answered(slow: Raw) -> list[dict[str, Any]]:
    status, _, body = slow.answer()
    assert status == 200
    return events_of(body)


@pytest.mark.parametrize("gateway", [PATIENT | {"unread_bytes_max": "262144"}], indirect=True)
def test_slow_readers_cost_little_and_miss_nothing(shared: Running, gateway: tuple[str, Child]):
    url, child = gateway
    with shared.client(url) as client:
        warmed(url)
        conversations = [client.conversations.create().id for _ in range(SLOW)]
        before = memory(child.process.pid)
        with ExitStack() as opened:
            slow = [opened.enter_context(raw(url)) for _ in conversations]
            for one, conversation in zip(slow, conversations, strict=True):
                one.ask(f"[[words {WORDS}]]", conversation=conversation)
            wire = opened.enter_context(wired(url, max_queue=1, ping_interval=None))
            wire.ask(f"[[words {WORDS}]]")
            until(
                lambda: all(shared.events(each)[-1] == "turn_completed" for each in conversations),
                wait_s=120,
            )
            quick = client.responses.create(model=MODEL, input="x", timeout=WAIT_S)
            assert quick.status == "completed"
            grown = memory(child.process.pid) - before
            heard = together(answered, slow, workers=SLOW)
            frames = wire.answer()
        grown = max(grown, memory(child.process.pid) - before)

        for events, conversation in zip(heard, conversations, strict=True):
            numbers = [event["sequence_number"] for event in events]
            assert numbers == list(range(len(events)))
            assert events[-1]["type"] == "response.completed"
            kept = client.responses.retrieve(events[-1]["response"]["id"])
            deltas = (e["delta"] for e in events if e["type"] == "response.output_text.delta")
            assert "".join(deltas) == kept.output_text
            assert kept.conversation is not None
            assert kept.conversation.id == conversation
            assert len(json.dumps(events)) > 20 * MIB
        assert [frame["sequence_number"] for frame in frames] == list(range(len(frames)))
        assert len(said(frames[-1]["response"]).split()) == WORDS
    assert grown < GROWTH_MAX, f"{grown / MIB:.1f} MiB"


@pytest.mark.parametrize("gateway", [{"client_wait_s": "1"}], indirect=True)
def test_who_reads_nothing_is_cut_off_and_the_turn_is_stored(
    shared: Running, gateway: tuple[str, Child]
):
    url, child = gateway
    with shared.client(url) as client:
        conversation = client.conversations.create().id
    with raw(url) as slow:
        slow.ask(f"[[words {WORDS}]]", conversation=conversation)
        child.said("client.cut")
        until(lambda: shared.events(conversation)[-1] == "turn_completed", wait_s=120)
        # What was on its way comes, and then nothing: no end of the answer.
        assert not slow.rest().endswith(b"0\r\n\r\n")


@pytest.mark.parametrize("gateway", [PATIENT | {"unread_bytes_max": "65536"}], indirect=True)
def test_of_a_turn_that_is_kept_nowhere_a_slow_reader_is_told_why_it_ends(
    shared: Running, gateway: tuple[str, Child]
):
    url, child = gateway
    warmed(url)
    before, ended = memory(child.process.pid), len(unstored(shared))
    with raw(url) as slow:
        slow.ask(f"[[words {WORDS}]]", store=False)
        until(lambda: len(unstored(shared)) > ended, wait_s=120)
        grown = memory(child.process.pid) - before
        status, _, body = slow.answer()

    events = [json.loads(data) for _, data in FRAME.findall(body)]
    assert (status, FRAME.sub(b"", body)) == (200, b"")
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert events[-1] == {
        "type": "error",
        "code": "server_error",
        "message": "The answer was not read in time. Please retry.",
        "param": None,
        "sequence_number": len(events) - 1,
    }
    assert grown < GROWTH_MAX, f"{grown / MIB:.1f} MiB"
