"""Conversations as they were at any point of a run, held against what was kept while it ran.

``TURNLOG_TEST_CONVERSATIONS`` names recorded conversations to lead instead of made up ones,
``TURNLOG_TEST_FORKS`` how many turns are asked again of forks.
"""

import os
import random
import sys
from bisect import bisect_right
from typing import Any

import httpx2
import msgspec
import pytest

from tests.whole.conversing import Led, Step, lead, recorded
from tests.whole.running import Running, listed, together

SEQUENCES = 200
FORKS = int(os.environ.get("TURNLOG_TEST_FORKS", "8"))


class Then(msgspec.Struct, frozen=True, kw_only=True):
    """A conversation as a client saw it once a step was done, at the sequence it was told."""

    sequence: int
    items: list[bytes]
    step: Step


class Told(msgspec.Struct, frozen=True):
    """An item of a conversation as it was."""

    item: msgspec.Raw


class Shown(msgspec.Struct, frozen=True):
    """A conversation as it was."""

    items: list[Told]


@pytest.fixture(scope="module")
def run(shared: Running) -> dict[str, list[Then]]:
    """What was kept of each conversation while it was led."""
    kept: dict[str, list[Then]] = {}

    def one(number: int) -> None:
        with shared.client() as client, shared.http() as http:

            def seen(led: Led, step: Step) -> None:
                answer = http.get(f"/v1/conversations/{led.id}")
                then = Then(
                    sequence=int(answer.headers["Turnlog-Sequence"]),
                    items=listed(http, led.id),
                    step=step,
                )
                kept.setdefault(led.id, []).append(then)

            lead(client, given[number], seen=seen)

    given = recorded(range(6))
    together(one, range(len(given)), workers=4)
    return kept


def shown(http: httpx2.Client, conversation_id: str, at: int) -> list[bytes]:
    answer = http.get(f"/v1/turnlog/conversations/{conversation_id}", params={"at": at})
    assert answer.status_code == 200, answer.text
    return [bytes(each.item) for each in msgspec.json.decode(answer.content, type=Shown).items]


def test_the_state_at_any_sequence_is_the_one_that_was_kept(shared: Running, run):
    dice = random.Random(6)
    names = sorted(run)
    differing = []
    with shared.http() as http:
        for _ in range(SEQUENCES):
            name = dice.choice(names)
            steps = run[name]
            at = dice.randint(steps[0].sequence, steps[-1].sequence)
            newest = bisect_right(steps, at, key=lambda then: then.sequence) - 1
            if shown(http, name, at) != steps[newest].items:
                differing.append((name, at))
    assert differing == []
    steps_done = sum(map(len, run.values()))
    sys.stderr.write(
        f"{SEQUENCES} sequences of {len(names)} conversations, {steps_done} steps: all as kept\n"
    )


def words(response: Any) -> list[object]:
    """What a model said, but for the ids of it."""
    return [
        (item.name, item.arguments)
        if item.type == "function_call"
        else "".join(part.text for part in item.content)
        for item in response.output
    ]


def test_a_fork_answers_as_the_original_did(shared: Running, run):
    dice = random.Random(7)
    turns = [
        (name, before, then)
        for name in sorted(run)
        for before, then in zip(run[name], run[name][1:], strict=False)
        if then.step.response is not None
    ]
    chosen = dice.sample(turns, min(FORKS, len(turns)))
    with shared.http() as http, shared.client() as client:
        for name, before, then in chosen:
            answer = http.post(
                f"/v1/turnlog/conversations/{name}/fork", params={"at": before.sequence}
            )
            assert answer.status_code == 200, answer.text
            forked = str(answer.json()["id"])
            assert len(listed(http, forked)) == len(before.items)
            again = client.responses.create(**{**then.step.asked, "conversation": forked})
            assert words(again) == words(then.step.response)
    sys.stderr.write(f"{len(chosen)} turns asked again of forks: all answered as before\n")
