"""``turnlog diff``: what has changed in a conversation between two points."""

import json

import click
import msgspec

from schemas.http.history import ConversationDiff, Difference
from services.audit import picture
from services.audit.points import Point
from services.cli import auditing, options
from services.cli.show import text_of


@click.command(
    epilog="""\b
Examples:
  turnlog diff conv_6b048e5ed5b7705826581c23b1323960 1042 1077
  turnlog diff conv_6b048e5ed5b7705826581c23b1323960 2026-11-25T15:00 2026-11-25T16:00
  turnlog diff --json conv_6b048e5ed5b7705826581c23b1323960 0 1077 | jq .items.added
"""
)
@click.argument("conversation")
@click.argument("before", type=auditing.point)
@click.argument("after", type=auditing.point)
@auditing.PROJECT
@click.option("--json", "as_json", is_flag=True, help="All of it, as one object.")
@options.running_nats_url
@options.data_dir
def diff(conversation: str, before: Point, after: Point, *, project: str, as_json: bool) -> None:
    """Print what CONVERSATION has AFTER one point that it had not BEFORE, and the reverse.

    Each point is a sequence of the log or a time (UTC). A line begins with + for what was added,
    - for what was removed, ~ for what changed.
    """
    conversation_id = auditing.conversation_id_of(conversation)
    found = auditing.moments("diff", project, conversation_id, before, after)
    told = picture.difference(conversation_id, *found)
    if as_json:
        click.echo(msgspec.json.encode(told).decode())
    else:
        _write(told)


def _write(told: ConversationDiff) -> None:
    old, new = told.window_before, told.window_after
    click.echo(f"{told.id} from sequence {told.from_sequence} to {told.to_sequence}")
    if told.deleted:
        click.echo("- conversation deleted")
    _write_lines("metadata", told.metadata)
    _write_lines("item", told.items)
    _write_lines("turn", told.turns)
    _write_lines("summary", told.compactions)
    if old != new:
        click.echo(
            f"~ window {old.items} items, {old.tokens} tokens -> "
            f"{new.items} items, {new.tokens} tokens"
        )


def _write_lines(kind: str, found: Difference) -> None:
    for name, value in found.removed.items():
        click.echo(f"- {kind} {name}  {_short(kind, value)}".rstrip())
    for name, value in found.added.items():
        click.echo(f"+ {kind} {name}  {_short(kind, value)}".rstrip())
    for name, change in found.changed.items():
        before, after = _short(kind, change.before), _short(kind, change.after)
        click.echo(f"~ {kind} {name}  {before} -> {after}")


def _short(kind: str, value: msgspec.Raw) -> str:
    match kind:
        case "item":
            return text_of(value)
        case "turn":
            return str(json.loads(bytes(value))["status"])
        case "summary":
            return f"below {json.loads(bytes(value))['covered']}"
        case _:
            return bytes(value).decode()
