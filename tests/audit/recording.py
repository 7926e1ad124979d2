"""Logs to check: recorded in memory or on a server, and copies of them that were tampered with."""

import asyncio
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import nats
import nats.js.api
from nats.aio.client import Client

from schemas import envelope, subjects
from services import clock
from services.audit.chain import diagnose, link_of
from services.audit.checker import Checker
from services.audit.findings import Finding, settled
from services.conversation.budget import Policy
from services.conversation.refusals import Refused
from services.conversation.state import Conversation
from services.journal import Journal, following
from services.journal.conversations import Conversations
from services.journal.following import Logged
from services.journal.jetstream import EXPECTED
from services.journal.memory import MemoryJournal
from services.journal.publishing import MESSAGE_ID
from tests.storytelling import STEPS, Teller

PROJECT = subjects.DEFAULT_PROJECT

Kept = dict[tuple[str, int], Conversation]
"""The state of each conversation after each of its commits, as whoever wrote it had it."""


async def record(
    journal: Journal, *, seed: int, conversations: int, steps: int, project: str = PROJECT
) -> Kept:
    """A run of many commands in several conversations at once."""
    luck, kept = Random(seed), Kept()
    every = Conversations(journal, actor="test", policy=Policy(tokens_budget=60))
    tellers = {f"conv_{seed:x}{number:08x}": Teller() for number in range(conversations)}
    for number in range(steps):
        name = luck.choice(list(tellers))
        state = (await every.load(project, name)).state
        command = tellers[name].command(state, luck.choice(STEPS), luck.randrange(2**16))
        if command is None:
            continue
        try:
            done = await every.grant(
                project, name, command, command_id=f"{project}-{seed}-{number}"
            )
        except Refused:
            continue
        if done.events:
            kept[name, done.sequence] = done.state
    return kept


def remembered(*, seed: int, conversations: int, steps: int) -> list[Logged]:
    """A recorded log as it would come from a server."""
    journal = MemoryJournal()
    asyncio.run(record(journal, seed=seed, conversations=conversations, steps=steps))
    return sorted(
        Logged(
            sequence=stored.sequence,
            at=clock.now(),
            subject=subjects.conversation(project, name),
            headers={
                **journal.headers[stored.sequence],
                EXPECTED: str(stored.previous),
                MESSAGE_ID: stored.message_id,
            },
            payload=stored.payload,
        )
        for (project, name), commits in journal._commits.items()
        for stored in commits
    )


def checked(log: Sequence[Logged], **limits: int) -> list[Finding]:
    """What is found in a log that is held in memory."""
    checker = Checker(**limits)
    found = [finding for logged in log for finding in checker.check(logged)]
    seen, explained = checker.seen(), list[Finding]()
    for subject in seen.broken:
        explained += diagnose(subject, [link_of(each) for each in log if each.subject == subject])
    for subject in seen.forgotten:
        alone = Checker()
        found += [f for each in log if each.subject == subject for f in alone.check(each)]
    return settled(found, explained)


def flipped(logged: Logged, place: int) -> Logged:
    """A commit with one bit of one byte turned over."""
    payload = bytearray(logged.payload)
    payload[place % len(payload)] ^= 1
    return logged._replace(payload=bytes(payload))


def exchanged(log: Sequence[Logged], one: int, other: int) -> list[Logged]:
    """A log in which two commits have each other's content, under their own sequences."""
    changed = list(log)
    changed[one] = log[one]._replace(payload=log[other].payload)
    changed[other] = log[other]._replace(payload=log[one].payload)
    return changed


def forged(logged: Logged, **fields: Any) -> Logged:
    """A commit with other fields; what it says of the one before is left as it is."""
    commit = envelope.decode(logged.payload)
    values = {name: getattr(commit, name) for name in commit.__struct_fields__}
    return logged._replace(payload=envelope.encode(envelope.Commit(**{**values, **fields})))


def on(url: str, work: Callable[[Client], Any]) -> Any:
    """What ``work`` returns on a connection."""

    async def run() -> Any:
        async with await nats.connect(url) as client:
            return await work(client)

    return asyncio.run(run())


async def whole(client: Client) -> list[Logged]:
    """All of a server's log."""
    last = (await following.state(client)).last_seq
    found: list[Logged] = []
    async for batch in following.follow(
        client, [subjects.ALL_CONVERSATIONS], after=0, through=last
    ):
        found += batch
    return found


async def copy(client: Client, log: Sequence[Logged]) -> None:
    """Write a log to an empty server, headers and all, as one who may write there could."""
    js = client.jetstream()
    with_nothing = nats.js.api.StreamConfig(
        name=subjects.CONVERSATIONS, subjects=[subjects.ALL_CONVERSATIONS], allow_direct=True
    )
    await js.add_stream(with_nothing)
    for logged in log:
        ack = await js.publish(logged.subject, logged.payload, headers=dict(logged.headers))
        assert ack.seq == logged.sequence
