"""``turnlog fork``: a new conversation from any point of another one's history."""

import click
import msgspec
from nats.aio.client import Client

from schemas.http.history import ForkedFrom
from services import ids
from services.audit.fork import Forks
from services.audit.history import Histories
from services.audit.points import Point
from services.cli import auditing, options
from services.conversation.budget import Policy
from services.conversation.refusals import Refused
from services.journal.conversations import Conversations
from services.journal.jetstream import JetStreamJournal
from services.journal.vault import room


class NotForked(click.ClickException):
    """There is nothing to copy."""


class _Forked(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    sequence: int
    items: int
    forked_from: ForkedFrom


@click.command(
    epilog="""\b
Examples:
  turnlog fork conv_6b048e5ed5b7705826581c23b1323960
  turnlog fork --at 1042 conv_6b048e5ed5b7705826581c23b1323960
  turnlog fork --at 2026-11-25T15:04:05Z --json conv_6b048e5ed5b7705826581c23b1323960 | jq -r .id
"""
)
@click.argument("conversation")
@auditing.AT
@auditing.PROJECT
@click.option("--json", "as_json", is_flag=True, help="The new conversation as an object.")
@options.running_nats_url
@options.data_dir
def fork(conversation: str, *, point: Point | None, project: str, as_json: bool) -> None:
    """Begin a conversation as a copy of CONVERSATION at a point, and print its id.

    The model is sent the same window there as it would have been in CONVERSATION: items keep their
    ids, and a summary that was in force stays in force. Turns that ran then are left out, and
    responses are still found where they were. The copy needs its origin no more.
    """
    conversation_id = auditing.conversation_id_of(conversation)

    async def work(client: Client) -> _Forked:
        vault = await auditing.vault(client)
        journal = JetStreamJournal(client, vault)
        conversations = Conversations(journal, actor=f"cli-{ids.unique()}", policy=Policy())
        forks = Forks(Histories(journal), conversations, bytes_max=room(client, vault))
        forked_id, granted, origin = await forks.fork(project, conversation_id, point)
        return _Forked(
            id=forked_id,
            sequence=granted.sequence,
            items=len(granted.state.line),
            forked_from=ForkedFrom(
                conversation_id=conversation_id, sequence=origin.sequence, digest=origin.digest
            ),
        )

    try:
        forked = auditing.on_log("fork", work)
    except Refused as refused:
        raise NotForked(refused.message) from refused
    click.echo(msgspec.json.encode(forked).decode() if as_json else forked.id)
