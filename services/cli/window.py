"""``turnlog window``: what the model would be sent next, item by item, or as its very bytes."""

import asyncio
import hashlib
from collections.abc import Iterable

import click
import msgspec
import nats.errors
from nats.aio.client import Client

from schemas.http.errors import ApiError
from schemas.ids import RESPONSE_PREFIX, conversation_of
from schemas.subjects import DEFAULT_PROJECT
from services import settings
from services.cli import address, auditing, options
from services.cli.connection import connected
from services.conversation.decide import next_window
from services.conversation.history import Item
from services.conversation.parts import PARTS, parts
from services.conversation.state import Conversation
from services.journal import JournalUnavailable, Stored
from services.journal.conversations import Loaded, advanced
from services.journal.keys import ContentKeys
from services.model import ModelRefused, rendering
from services.sealing import Sealer

TEXT_LENGTH_MAX = 60
"""Characters of an item that are shown."""


class NothingFound(click.ClickException):
    """The log has nothing that a turn could follow."""


class LogUnavailable(click.ClickException):
    """The log cannot be read."""


class Unrenderable(click.ClickException):
    """The model's API has no form for what the window holds."""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """An item as the model is sent it."""

    part: str
    item: Item


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """What the model would be sent before new input, as of a sequence of the log.

    ``array`` are its bytes: the ``input`` of the Responses API, or the ``messages`` of the other.
    ``counted`` is its size by whoever counted it last, the provider or the bundled tokenizer.
    """

    rows: tuple[Row, ...]
    array: bytes
    sequence: int
    counted: int | None

    @property
    def digest(self) -> str:
        """SHA-256 of the bytes."""
        return hashlib.sha256(self.array).hexdigest()


@click.command(
    epilog="""\b
Examples:
  turnlog window conv_6b048e5ed5b7705826581c23b1323960
  turnlog window conv_6b048e5ed5b7705826581c23b1323960 --at 1207
  turnlog window resp_6b048e5ed5b7705826581c23b13239606e9e60259a35adfd46
  turnlog window --json conv_6b048e5ed5b7705826581c23b1323960 | jq .[0]
"""
)
@click.argument("followed", metavar="ID")
@click.option(
    "--at",
    "sequence",
    type=click.IntRange(min=1),
    help="As of this sequence of the log, instead of now.",
)
@click.option("--project", default=DEFAULT_PROJECT, show_default=True, help="Whose it is.")
@click.option("--json", "as_json", is_flag=True, help="The very array that is sent, nothing else.")
@options.model_api
@options.running_nats_url
@options.data_dir
def window(followed: str, sequence: int | None, project: str, *, as_json: bool) -> None:
    """Print what the model would be sent for the next turn of ID, a conversation or a response.

    Before the turn's own input, that is: what it asks for itself (instructions, tools) is not known
    yet, and it may still be made smaller within the turn, for the model's sake or the client's.
    Tokens are the bundled tokenizer's.
    """
    found = asyncio.run(_read(address.nats_url(), project, followed, at=sequence))
    if as_json:
        click.echo(found.array)
    else:
        click.echo("\n".join(told(found)))


async def _read(nats_url: str, project: str, followed: str, *, at: int | None) -> Window:
    try:
        async with connected(nats_url, name="turnlog window") as client:
            return await read(client, project, followed, at=at)
    except (JournalUnavailable, nats.errors.Error, OSError) as error:
        raise LogUnavailable(f"the log cannot be read: {error}") from error
    except ModelRefused as refused:
        raise Unrenderable(str(refused)) from refused


async def read(client: Client, project: str, followed: str, *, at: int | None = None) -> Window:
    """The window of the turn that follows a conversation or a response; raises `NothingFound`."""
    conversation_id = conversation_of(followed) or followed
    stored = await (await auditing.journal(client)).read(project, conversation_id, after=0)
    loaded = _as_of(stored, at)
    if not loaded.sequence:
        until = f" up to sequence {at}" if stored else ""
        raise NothingFound(f"the log has no conversation {conversation_id}{until}")
    sealer = await ContentKeys(client).opener()
    return await shown(
        loaded, followed, sealer, model_api=settings.read(settings.ModelSettings).model_api
    )


async def shown(loaded: Loaded, followed: str, sealer: Sealer, *, model_api: str) -> Window:
    """The window of a state, rendered as the responder would; raises `NothingFound`."""
    items = _items(loaded.state, followed)
    sent = await rendering.as_sent(items, sealer)
    known = {item.id: part for item, part in zip(items, parts(loaded.state, items), strict=True)}
    render = rendering.as_messages if model_api == "chat" else rendering.as_input
    return Window(
        rows=tuple(Row(part=known[item.id], item=item) for item in sent),
        array=bytes(await render(items, sealer)),
        sequence=loaded.sequence,
        counted=None if followed.startswith(RESPONSE_PREFIX) else loaded.state.tokens,
    )


def told(found: Window) -> Iterable[str]:
    """Sequence and digest, each item, tokens of the parts and of all."""
    yield f"as of sequence {found.sequence}"
    yield f"sha256 {found.digest}, {len(found.array)} bytes"
    for position, row in enumerate(found.rows):
        item, kind = row.item, row.item.role or row.item.type
        yield (
            f"{position:>5}  {row.part:<8}{item.tokens:>8}  {kind:<22}  {item.id}  "
            f"{beginning(item.raw)}"
        )
    for part in PARTS:
        sizes = [row.item.tokens for row in found.rows if row.part == part]
        if sizes:
            yield f"{part:<15}{sum(sizes):>8}  {_items_said(len(sizes))}"
    total = sum(row.item.tokens for row in found.rows)
    counted = "" if found.counted in {None, total} else f"; {found.counted} as counted last"
    yield f"{'total':<15}{total:>8}  {_items_said(len(found.rows))}{counted}"


def beginning(raw: msgspec.Raw) -> str:
    """The start of what an item says, in one line that a terminal can show."""
    said = " ".join(_texts(msgspec.json.decode(raw)))
    clean = "".join(each if each.isprintable() else " " for each in said[: 8 * TEXT_LENGTH_MAX])
    words = " ".join(clean.split())
    return words if len(words) <= TEXT_LENGTH_MAX else words[: TEXT_LENGTH_MAX - 1] + "…"


_SAID = ("name", "arguments", "input", "output", "content", "summary", "text", "refusal")
"""Fields an item speaks by, in this order."""


def _texts(value: object) -> Iterable[str]:
    match value:
        case str():
            yield value
        case list():
            for each in value:
                yield from _texts(each)
        case dict():
            for name in _SAID:
                yield from _texts(value.get(name))
        case _:
            return


def _items(state: Conversation, followed: str) -> tuple[Item, ...]:
    on_line = not followed.startswith(RESPONSE_PREFIX)
    if on_line and state.hidden:
        raise NothingFound(f"{followed} only carries a chain: name the response to follow")
    parent = None if on_line else followed
    try:
        return next_window(state, conversation_id=followed, on_line=on_line, parent=parent)
    except ApiError as refused:
        raise NothingFound(str(refused)) from refused


def _as_of(stored: Iterable[Stored], at: int | None) -> Loaded:
    loaded = Loaded()
    for commit in stored:
        if at is not None and commit.sequence > at:
            break
        loaded = advanced(loaded, commit)
    return loaded


def _items_said(count: int) -> str:
    return "1 item" if count == 1 else f"{count} items"
