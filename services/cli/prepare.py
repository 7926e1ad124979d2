"""``turnlog prepare``: everything a log consists of, for processes that may not make it."""

import asyncio

import click
import nats.errors

from services import settings
from services.cli import options
from services.cli.connection import connected
from services.journal import JournalUnavailable, streams
from services.journal.connect import without_credentials
from services.journal.keys import ContentKeys
from services.sealing import fresh_key


class LogUnavailable(click.ClickException):
    """The server cannot be reached, or refuses."""


@click.command(
    epilog="""\b
Example:
  turnlog prepare --nats-url nats://operator:secret@queue:4222
"""
)
@options.nats_url
@options.replicas
def prepare() -> None:
    """Make the streams, consumers and buckets of a log, and its first content key.

    Processes do that by themselves where their user of NATS may. Twice is safe, and nothing that
    is kept is lost: do it again after an upgrade, or to change a limit.
    """
    wanted = settings.read(settings.Settings)

    async def run() -> None:
        async with connected(wanted.nats_url, name="turnlog prepare") as client:
            await streams.declare(client, chosen=wanted)
            await ContentKeys(client).make(1, fresh_key())

    try:
        asyncio.run(run())
    except (JournalUnavailable, nats.errors.Error, OSError, TimeoutError) as error:
        where = without_credentials(wanted.nats_url)
        raise LogUnavailable(f"the log at {where}: {error}") from error
    click.echo(f"prepared {without_credentials(wanted.nats_url)}")
