"""Twenty crossings while one summary is being made: one compaction comes of them."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest

from schemas import envelope
from schemas.events import ConversationCompacted
from services.compaction.prompts import OPENING
from tests.upstream import HOLD, Said, ScriptedUpstream, body, serving
from tests.whole.running import Running, listed, message, names, standing, until

CROSSINGS = 20
BUDGET = 40


def answer(text: str) -> Said:
    part = {"type": "output_text", "annotations": [], "logprobs": [], "text": text}
    item = {"id": "msg_1", "type": "message", "role": "assistant", "content": [part]}
    output = [{**item, "status": "completed"}]
    return body({"status": "completed", "model": "m", "output": output})


@pytest.fixture(scope="module")
def upstream() -> Iterator[ScriptedUpstream]:
    """A model that answers turns, and with summaries waits until it is let go on."""
    with serving() as scripted:
        told = answer("They said that it is large.")
        scripted.plan(OPENING, msgspec.structs.replace(told, chunks=(HOLD, *told.chunks)))
        scripted.plan("Are you there?", answer("I am here."))
        yield scripted
        scripted.release()


@pytest.fixture(scope="module")
def held(
    tmp_path_factory: pytest.TempPathFactory, _nothing_is_left: None, upstream: ScriptedUpstream
) -> Iterator[Running]:
    """An instance whose summaries are held."""
    running = Running(
        tmp_path_factory.mktemp("held"),
        tokens_budget=str(BUDGET),
        model_url=upstream.url,
        compaction_model="m",
    )
    try:
        yield running.start()
    finally:
        running.end()


@pytest.mark.parametrize("compactors", [1, 3])
def test_of_twenty_crossings_at_once_one_compaction_comes(
    held: Running, upstream: ScriptedUpstream, compactors: int
):
    for _ in range(compactors - 1):
        held.beside(
            "compactor",
            tokens_budget=str(BUDGET),
            model_url=upstream.url,
            compaction_model="m",
        ).said("compactor.started")
    upstream.hold()
    mark = f"crossing-{compactors}"
    with held.client() as client, ThreadPoolExecutor(1) as pool:
        made = client.conversations.create()
        size, turn = 100, None
        for number in range(CROSSINGS):
            # Each outgrows the window as it was when a crossing was told last.
            text = f"{mark} {number}. " + "It is large. " * (size // 4)
            client.conversations.items.create(made.id, items=[message(text)])
            size = int(size * 1.52)
            if number == CROSSINGS // 2:
                turn = pool.submit(
                    client.responses.create,
                    model="m",
                    input="Are you there?",
                    conversation=made.id,
                )
        assert turn is not None
        assert turn.result().output_text == "I am here."
    crossed = held.events(made.id)
    assert crossed.count("budget_crossed") >= CROSSINGS
    assert "conversation_compacted" not in crossed
    until(lambda: _asked(upstream, mark))

    upstream.release()
    until(lambda: "conversation_compacted" in held.events(made.id))
    until(lambda: _answered(held, made.id) >= crossed.count("budget_crossed"))

    commits = held.commits(made.id)
    (compacted,) = [
        event
        for commit in commits
        for event in map(envelope.unpack, envelope.decode(commit.payload).events)
        if isinstance(event, ConversationCompacted)
    ]
    assert (compacted.method, compacted.fallback) == ("summary", "")
    assert _asked(upstream, mark) <= compactors
    # What came meanwhile is behind the summary, the turn among it.
    raws = standing(held.fold(made.id))
    window = [bytes(item.raw) for item in held.fold(made.id).state.window()]
    assert window[-(len(raws) - 1 - compacted.covered) :] == raws[compacted.covered : -1]
    assert any(b"I am here." in raw for raw in window)
    assert names(commits[-1]) == ["conversation_compacted"]
    with held.http() as http:
        assert listed(http, made.id) == raws


def _asked(upstream: ScriptedUpstream, mark: str) -> int:
    """How often a summary was asked for."""
    return sum(f"{mark} 0" in json.dumps(sent) for sent in upstream.asked(OPENING))


def _answered(running: Running, conversation_id: str) -> int:
    """Crossings of a conversation that a compactor has done with."""
    assert running.up is not None
    children = (running.up, *running._others)
    return sum(
        len(child.lines(event, conversation_id=conversation_id))
        for child in children
        for event in ("compaction.stored", "compaction.left")
    )
