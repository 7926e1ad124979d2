"""``turnlog events``: the story of one conversation, commit by commit, straight from the log."""

import asyncio
from typing import assert_never

import click
import msgspec
import nats.errors

from schemas import envelope
from schemas import events as e
from schemas.events import CLASSES
from schemas.ids import conversation_of
from schemas.subjects import DEFAULT_PROJECT
from schemas.upcasters import EventSealed
from services.audit.history import between
from services.audit.points import Point
from services.cli import address, auditing, options
from services.cli.connection import connected
from services.journal import JournalUnavailable, Stored


class NothingFound(click.ClickException):
    """The log has no such conversation."""


class LogUnavailable(click.ClickException):
    """The log cannot be read."""


@click.command(
    epilog="""\b
Examples:
  turnlog events conv_6b048e5ed5b7705826581c23b1323960
  turnlog events resp_6b048e5ed5b7705826581c23b13239606e9e60259a35adfd46
  turnlog events --since 2026-11-25T15:00 --type turn_failed conv_6b048e5ed5b7705826581c23b1323960
  turnlog events --json conv_6b048e5ed5b7705826581c23b1323960 | jq .events
"""
)
@click.argument("conversation")
@click.option("--project", default=DEFAULT_PROJECT, show_default=True, help="Whose it is.")
@click.option("--json", "as_json", is_flag=True, help="Commits as they are stored, one a line.")
@click.option("--since", type=auditing.point, help="From this sequence of the log, or time, on.")
@click.option("--until", type=auditing.point, help="Up to this sequence of the log, or time.")
@click.option(
    "--type",
    "types",
    multiple=True,
    metavar="EVENT",
    type=click.Choice(tuple(CLASSES)),
    help="Only events of this type, or commits with one; may be given several times.",
)
@options.running_nats_url
@options.data_dir
def events(
    conversation: str,
    project: str,
    *,
    as_json: bool,
    since: Point | None,
    until: Point | None,
    types: tuple[str, ...],
) -> None:
    """Print the events of CONVERSATION, or of the one a response belongs to."""
    conversation_id = conversation_of(conversation) or conversation
    try:
        stored = asyncio.run(history(address.nats_url(), project, conversation_id))
    except (JournalUnavailable, nats.errors.Error, OSError) as error:
        raise LogUnavailable(f"the log cannot be read: {error}") from error
    if not stored:
        raise NothingFound(f"the log has no conversation {conversation_id}")
    for commit in between(stored, since, until):
        lines = told(commit, frozenset(types))
        if lines:
            click.echo(commit.payload.decode() if as_json else "\n".join(lines))


async def history(nats_url: str, project: str, conversation_id: str) -> list[Stored]:
    """Every commit of a conversation, oldest first."""
    async with connected(nats_url, name="turnlog events") as client:
        return await (await auditing.journal(client)).read(project, conversation_id, after=0)


def told(stored: Stored, types: frozenset[str] = frozenset()) -> list[str]:
    """A line for each event of a commit, of ``types`` if there are any.

    It has sequence, time, name, and what the event says.
    """
    commit = envelope.decode(stored.payload)
    at = commit.at.strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
    return [
        f"{stored.sequence:>6}  {at}  {event.type:<22}  {_said(event)}"
        for event in commit.events
        if not types or event.type in types
    ]


def _said(event: envelope.StoredEvent) -> str:
    try:
        return summary(envelope.unpack(event))
    except EventSealed:
        return "sealed, and its key is not here any more"


def summary(event: e.Event) -> str:
    """What an event says, in a few words and without content."""
    match event:
        case e.ConversationCreated():
            return "hidden" if event.hidden else _map(event.metadata)
        case e.ConversationUpdated():
            return _map(event.metadata)
        case e.ConversationDeleted():
            return ""
        case e.ItemsAdded():
            return _items(event.items, event.tokens)
        case e.ItemDeleted() | e.CompactionReverted():
            return event.item_id
        case e.TurnRequested():
            after = f" after {event.parent}" if event.parent else ""
            return f"{event.response_id}{after}: {_items(event.items, event.tokens)}"
        case e.TurnStarted():
            return f"{event.response_id} attempt {event.attempt} by {event.responder}"
        case e.TurnCompleted():
            used = msgspec.json.decode(event.usage)
            counted = f"; {used['total_tokens']} tokens in all" if used else ""
            told = (
                f"{event.response_id} {event.status}: {_items(event.items, event.tokens)}{counted}"
            )
            return f"{told}; {_summarised(event.compaction)}" if event.compaction else told
        case e.TurnFailed():
            return f"{event.response_id} {event.code}"
        case e.TurnCancelled():
            after = f" for {event.interrupted_by}" if event.interrupted_by else ""
            return f"{event.response_id}{after}"
        case e.ResponseDeleted():
            return event.response_id
        case e.BudgetCrossed():
            return f"{event.tokens} tokens, budget {event.budget}"
        case e.ConversationErased():
            how = "destroyed their key" if event.key else "removed them"
            return f"{event.commits} commits before it: {how}"
        case e.ConversationForked():
            of = f"{event.origin} at {event.sequence}: {_items(event.items, event.tokens)}"
            return f"{of}, more follow" if event.more else of
        case e.ConversationCompacted():
            anew = f" from {event.covered_from} on" if event.covered_from else ""
            return f"positions below {event.covered}{anew} by {_shrunk(event)}"
        case _:
            assert_never(event)


def _summarised(done: e.TurnCompaction) -> str:
    return f"compacted by {_shrunk(done)}"


def _shrunk(done: e.ConversationCompacted | e.TurnCompaction) -> str:
    how = f"{done.method} ({done.fallback})" if done.fallback else done.method
    anchors = f", {done.anchors_kept} of {done.anchors_found} anchors" if done.anchors_found else ""
    return f"{how}{anchors}, window {done.tokens_before} -> {done.tokens_after} tokens"


def _map(metadata: dict[str, str]) -> str:
    return " ".join(f"{key}={value}" for key, value in metadata.items())


def _items(items: tuple[msgspec.Raw, ...], tokens: tuple[int, ...]) -> str:
    noun = "item" if len(items) == 1 else "items"
    return f"{len(items)} {noun}, {sum(tokens)} tokens"
