"""Each turn sends the model what the turn before it did, to the byte, and then what is new.

A model's server that keeps what it has read finds it again only so. ``TURNLOG_TEST_CONVERSATIONS``
names recorded conversations to lead instead of the ones made up here.
"""

import json
import sys
from collections.abc import Iterator
from itertools import pairwise

import msgspec
import pytest

from services.cli.window import shown
from services.journal.keys import ContentKeys
from tests.whole.conversing import Recorded, lead, recorded
from tests.whole.running import Running

FORMS = {"responses": "input", "chat": "messages"}
"""APIs of the model, and what each calls the window."""
SEEDS = range(1, 6)
"""None of the long ones."""


@pytest.fixture(scope="module")
def chatting(tmp_path_factory: pytest.TempPathFactory, _nothing_is_left: None) -> Iterator[Running]:
    running = Running(tmp_path_factory.mktemp("prefix"), model_api="chat", tokens_budget="0")
    try:
        yield running.start()
    finally:
        running.end()


@pytest.fixture
def running(request: pytest.FixtureRequest, api: str) -> Running:
    """An instance whose model is called through ``api``; only one of them is begun at a time."""
    found: Running = request.getfixturevalue("chatting" if api == "chat" else "shared")
    return found


def sent(running: Running, api: str) -> list[tuple[bytes, bytes]]:
    """What the model was sent lately: the window without its end, and all else there is."""
    found = []
    for each in running.received():
        fields = msgspec.json.decode(each.body, type=dict[str, msgspec.Raw])
        window = bytes(fields.pop(FORMS[api]))
        found.append((window.removesuffix(b"]"), msgspec.json.encode(fields)))
    return found


@pytest.mark.parametrize("chain", [False, True], ids=["conversation", "chain"])
@pytest.mark.parametrize("api", sorted(FORMS))
def test_what_was_sent_before_is_sent_again_to_the_byte(running: Running, api: str, chain: bool):
    told = {"conversations": 0, "turns": 0, "bytes": 0, "bytes_sent_before": 0}
    with running.client(timeout=300) as client:
        for given in recorded(SEEDS):
            running.forget_received()
            led = lead(client, given, chain=chain)
            windows = sent(running, api)
            assert len(windows) == led.turns
            assert len({beside for _, beside in windows}) <= 1, given.id
            for (before, _), (after, _) in pairwise(windows):
                assert after.startswith(before + b","), given.id
                told["bytes_sent_before"] += len(before)
            told["conversations"] += 1
            told["turns"] += led.turns
            told["bytes"] += sum(len(window) for window, _ in windows)
    sys.stdout.write(json.dumps({"api": api, "chain": chain, **told}) + "\n")


@pytest.mark.parametrize("api", sorted(FORMS))
def test_the_window_that_is_told_is_what_is_sent(running: Running, api: str):
    given = next(each for each in recorded(SEEDS) if each.items)
    with running.client(timeout=300) as client:
        led = lead(client, Recorded(given.id, given.items, given.tools))
        conversation = running.fold(led.id)

        async def ask(log):
            sealer = await ContentKeys(log).opener()
            return await shown(conversation, led.id, sealer, model_api=api)

        told = running.on_log(ask)
        running.forget_received()
        client.responses.create(
            model="simulator", input="And now?", conversation=led.id, tools=given.tools
        )
    ((window, _),) = sent(running, api)
    assert window.startswith(told.array.removesuffix(b"]") + b",")
