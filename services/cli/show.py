"""``turnlog show``: a conversation as it was at any point of its history."""

import json
from datetime import datetime

import click
import msgspec

from schemas import items
from schemas.http.history import ConversationThen, ItemThen
from services.audit import picture
from services.audit.points import Point
from services.cli import auditing, options, tables

TEXT_WIDTH = 60


@click.command(
    epilog="""\b
Examples:
  turnlog show conv_6b048e5ed5b7705826581c23b1323960
  turnlog show --at 1042 conv_6b048e5ed5b7705826581c23b1323960
  turnlog show --at 2026-11-25T15:04:05Z conv_6b048e5ed5b7705826581c23b1323960
  turnlog show --json conv_6b048e5ed5b7705826581c23b1323960 | jq '.items[].item'
"""
)
@click.argument("conversation")
@auditing.AT
@auditing.PROJECT
@click.option("--json", "as_json", is_flag=True, help="All of it, as one object.")
@options.running_nats_url
@options.data_dir
def show(conversation: str, *, point: Point | None, project: str, as_json: bool) -> None:
    """Print CONVERSATION, or the one a response belongs to, as it was.

    A point between two of its commits stands for the earlier one.
    """
    conversation_id = auditing.conversation_id_of(conversation)
    (moment,) = auditing.moments("show", project, conversation_id, point)
    assert moment is not None
    told = picture.then(conversation_id, moment)
    if as_json:
        click.echo(msgspec.json.encode(told).decode())
    else:
        _write(told)


def _write(told: ConversationThen) -> None:
    state = "".join(f", {word}" for word in ("hidden", "deleted") if getattr(told, word))
    click.echo(f"{told.id} at sequence {told.sequence}, {shown_time(told.at)}{state}")
    if told.created_at:
        click.echo(f"created   {shown_time(told.created_at)}")
    if told.metadata:
        click.echo(f"metadata  {json.dumps(told.metadata, ensure_ascii=False)}")
    click.echo(f"window    {told.window.items} items, {told.window.tokens} tokens")
    for done in told.compactions:
        click.echo(f"summary   {done.item_id} stands for positions below {done.covered}")
    if told.items:
        click.echo()
        columns = ("position", "item", "type", "tokens", "window", "text")
        tables.write(columns, [_item_row(item) for item in told.items])
    if told.turns:
        click.echo()
        columns = ("response", "status", "model", "requested", "input", "output")
        rows = [
            (
                *(turn.response_id, turn.status, turn.model, shown_time(turn.requested_at)),
                *(str(turn.input), str(turn.output)),
            )
            for turn in told.turns
        ]
        tables.write(columns, rows)


def _item_row(item: ItemThen) -> tuple[str, ...]:
    head = items.head(item.item)
    kind = f"{head.role} {head.type}" if head.role else head.type
    sent = "yes" if item.in_window else "no"
    return (str(item.position), head.id, kind, str(item.tokens), sent, text_of(item.item))


def text_of(raw: msgspec.Raw) -> str:
    """What an item says, as far as it fits on a line."""
    item = json.loads(bytes(raw))
    content = item.get("content")
    parts = content if isinstance(content, list) else []
    said = " ".join(part.get("text") or "" for part in parts if isinstance(part, dict))
    said = said or str(item.get("output") or item.get("arguments") or "")
    line = " ".join(said.split())
    return line if len(line) <= TEXT_WIDTH else line[: TEXT_WIDTH - 1] + "…"


def shown_time(at: datetime) -> str:
    """A time for people, UTC."""
    return at.strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
