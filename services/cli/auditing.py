"""What the commands have in common that read the log itself."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import click
import msgspec
import nats.errors
import nats.js.errors
from nats.aio.client import Client

from schemas.ids import conversation_of
from schemas.subjects import DEFAULT_PROJECT
from schemas.upcasters import EventUnknown
from services import settings
from services.audit import points
from services.audit.history import Histories, Moment
from services.audit.points import Point
from services.cli import address
from services.cli.connection import connected
from services.journal import JournalUnavailable
from services.journal import vault as vaults
from services.journal.following import LogMissing
from services.journal.jetstream import JetStreamJournal
from services.journal.vault import Vault

T = TypeVar("T")

PROJECT = click.option("--project", default=DEFAULT_PROJECT, show_default=True, help="Whose it is.")


class NothingFound(click.ClickException):
    """The log has no such conversation, or had none then."""


class LogUnavailable(click.ClickException):
    """The log cannot be read."""

    exit_code = 2


def point(text: str) -> Point:
    """A sequence or a time of the command line."""
    try:
        return points.read(text)
    except points.PointUnreadable as error:
        raise click.BadParameter(str(error)) from error


AT = click.option(
    "--at", "point", type=point, help="A sequence of the log, or a time (UTC); without it: now."
)


def conversation_id_of(text: str) -> str:
    """The conversation ``text`` names, by its own id or by that of a response in it."""
    return conversation_of(text) or text


def on_log(name: str, work: Callable[[Client], Awaitable[T]]) -> T:
    """What ``work`` returns on a connection of the command ``name``; faults become one line."""

    async def run() -> T:
        async with connected(address.nats_url(), name=f"turnlog {name}") as client:
            return await work(client)

    try:
        return asyncio.run(run())
    except EventUnknown as error:
        raise LogUnavailable(str(error)) from error
    except (msgspec.MsgspecError, ValueError) as error:
        raise LogUnavailable(f"the log is damaged: {error}; see `turnlog verify`") from error
    except (LogMissing, nats.js.errors.NotFoundError) as error:
        raise LogUnavailable("the server has no log of Turnlog's") from error
    except (JournalUnavailable, nats.errors.Error, OSError, TimeoutError) as error:
        raise LogUnavailable(f"the log cannot be read: {error}") from error


async def vault(client: Client, *, demanded: bool = True) -> Vault | None:
    """The keys of the log; raises `SettingsError` if they are ``demanded``, and not to be had."""
    given = settings.read(settings.Settings)
    if not (demanded or given.encrypts):
        return None
    return await vaults.opened(client, given)


async def journal(client: Client) -> JetStreamJournal:
    """The log, with its keys."""
    return JetStreamJournal(client, await vault(client))


def moments(
    name: str, project: str, conversation_id: str, *wanted: Point | None
) -> list[Moment | None]:
    """A conversation at several points; ends the command if the log knows it at none of them."""

    async def work(client: Client) -> list[Moment | None]:
        histories = Histories(await journal(client))
        return await histories.moments(project, conversation_id, *wanted)

    found = on_log(name, work)
    if not any(found):
        then = "" if wanted == (None,) else " at that point"
        raise NothingFound(f"the log has no conversation {conversation_id}{then}")
    return found
