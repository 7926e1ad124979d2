"""``turnlog content-keys``: the keys that seal ``encrypted_content``, by their ids alone."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import click
import nats.errors

from services.cli import address, options
from services.cli.connection import connected
from services.journal import JournalUnavailable
from services.journal.keys import ContentKey, ContentKeys
from services.sealing import fresh_key, key_id

T = TypeVar("T")


class LogUnavailable(click.ClickException):
    """The log cannot be reached."""


@click.group(
    epilog="""\b
Examples:
  turnlog content-keys list
  turnlog content-keys rotate
"""
)
def content_keys() -> None:
    """See the keys that compactions are sealed with, and change over to a new one.

    The newest seals; all older ones still open what they have sealed. The keys themselves are
    never shown.
    """


@content_keys.command("list")
@options.running_nats_url
@options.data_dir
def list_keys() -> None:
    """Print a line for each: number, id, when it was made, and which one seals."""

    async def work(keys: ContentKeys) -> tuple[ContentKey, ...]:
        return await keys.above(0)

    found = _on_log(work)
    for each in found:
        click.echo(told(each, newest=each is found[-1]))


@content_keys.command()
@options.running_nats_url
@options.data_dir
def rotate() -> None:
    """Make a new key, which all running processes seal with from now on.

    Nothing has to be restarted, and nothing that was sealed before is lost.
    """

    async def work(keys: ContentKeys) -> ContentKey:
        found = await keys.above(0)
        return await keys.make(len(found) + 1, fresh_key())

    click.echo(told(_on_log(work), newest=True))


def told(key: ContentKey, *, newest: bool) -> str:
    """A key without what it is."""
    at = key.at.strftime("%Y-%m-%d %H:%M:%S")
    use = "seals and opens" if newest else "opens"
    return f"{key.number:>6}  {key_id(key.key).hex()}  {at}  {use}"


def _on_log(work: Callable[[ContentKeys], Awaitable[T]]) -> T:
    async def run() -> T:
        async with connected(address.nats_url(), name="turnlog content-keys") as client:
            return await work(ContentKeys(client))

    try:
        return asyncio.run(run())
    except (JournalUnavailable, nats.errors.Error, OSError, TimeoutError) as error:
        raise LogUnavailable(f"the log cannot be reached: {error}") from error
