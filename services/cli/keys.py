"""``turnlog keys``: who may come in over HTTP, to which project, and to do what."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeVar

import click
import msgspec
import nats.errors

from schemas import api_keys
from schemas import ids as id_forms
from schemas.api_keys import ADMIN, SCOPES, WRITE, ApiKey, Scope
from schemas.subjects import DEFAULT_PROJECT
from services import clock, ids, key_secrets
from services.cli import address, options, tables
from services.cli.connection import connected
from services.journal import JournalUnavailable, streams
from services.journal.api_keys import ApiKeys, KeyUnknown

T = TypeVar("T")

_DURATION = re.compile(r"([1-9][0-9]{0,5})([smhdw])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


class LogUnavailable(click.ClickException):
    """The log cannot be reached."""


class NoSuchKey(click.ClickException):
    """There is no key of that id."""

    def __init__(self, key_id: str) -> None:
        super().__init__(f"there is no key with the id '{key_id}': see `turnlog keys list`")


class Duration(click.ParamType[timedelta]):
    """A time from now: ``90m``, ``12h``, ``30d``."""

    name = "duration"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> timedelta:
        """Read it."""
        match = _DURATION.fullmatch(str(value))
        if match is None:
            self.fail(f"'{value}' is not a number of s, m, h, d or w: 12h, 30d", param, ctx)
        return timedelta(**{_UNITS[match[2]]: int(match[1])})


def _project(_context: click.Context, _option: click.Parameter, value: str | None) -> str | None:
    if value is not None and not id_forms.acceptable(value):
        raise click.BadParameter("1 to 64 letters, digits, '-' and '_'")
    return value


JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group(
    epilog="""\b
Examples:
  turnlog keys create --project acme --name 'web shop'
  turnlog keys create --project acme --scope read --expires 30d
  turnlog keys list
  turnlog keys revoke 6f1c0a92d37b
"""
)
def keys() -> None:
    """Make, list and revoke API keys, of which only hashes are kept.

    As long as there never was one, everybody on this machine may come in without. What is made and
    revoked counts everywhere within a second; what the holder of a revoked key still has open is
    cut off.
    """


@keys.command()
@click.option(
    "--project", default=DEFAULT_PROJECT, show_default=True, callback=_project, help="Whose it is."
)
@click.option(
    "--scope",
    type=click.Choice(SCOPES),
    default=WRITE,
    show_default=True,
    help="What it may do: read; change as well; ask in SQL as well.",
)
@click.option("--name", default="", help="What it is for, to be told in lists.")
@click.option("--expires", type=Duration(), help="How long it is good for: 12h, 30d. [for ever]")
@click.option(
    "--rpm",
    type=click.IntRange(1, 1_000_000),
    help="Requests a minute, of each gateway; more are told 429. [no limit]",
)
@click.option("--all-projects", is_flag=True, help="Let SQL show every project. For admin.")
@JSON
@options.running_nats_url
@options.data_dir
def create(
    *,
    project: str,
    scope: Scope,
    name: str,
    expires: timedelta | None,
    rpm: int | None,
    all_projects: bool,
    as_json: bool,
) -> None:
    """Make a key and print it: this once, since nobody keeps it."""
    if all_projects and scope != ADMIN:
        raise click.UsageError("--all-projects is for --scope admin")
    now, secret = clock.now(), key_secrets.fresh_secret()
    key = ApiKey(
        id=ids.api_key_id(),
        project=project,
        scope=scope,
        created_at=now,
        all_projects=all_projects,
        name=name,
        secret_hash=key_secrets.hashed(secret),
        expires_at=None if expires is None else now + expires,
        requests_per_minute=rpm,
    )

    async def work(kept: ApiKeys) -> None:
        await kept.create(key)

    _on_log(work)
    written = api_keys.written(project, key.id, secret)
    click.echo(_json({"key": written, **_told(key)}) if as_json else written)


@keys.command("list")
@click.option("--project", callback=_project, help="Those of one project.")
@click.option("--all", "everything", is_flag=True, help="Revoked and expired ones, too.")
@JSON
@options.running_nats_url
@options.data_dir
def list_keys(*, project: str | None, everything: bool, as_json: bool) -> None:
    """Print what they are, except for the keys themselves."""
    found = [
        _told(each)
        for each in _on_log(ApiKeys.all)
        if project in {None, each.project} and (everything or each.stands(clock.now()))
    ]
    if as_json:
        click.echo(_json(found))
        return
    rows = [
        (
            each["id"],
            each["project"],
            each["scope"] + (", all projects" if each["all_projects"] else ""),
            str(each["requests_per_minute"] or ""),
            _minute(each["created_at"]),
            _minute(each["expires_at"]) if each["expires_at"] else "",
            each["state"],
            each["name"],
        )
        for each in found
    ]
    tables.write(("id", "project", "scope", "rpm", "created", "expires", "state", "name"), rows)


@keys.command()
@click.argument("key_ids", nargs=-1, required=True, metavar="ID...")
@options.running_nats_url
@options.data_dir
def revoke(key_ids: tuple[str, ...]) -> None:
    """Let nobody in any more with the keys of these ids; the whole key names itself as well."""
    for given in key_ids:
        read = api_keys.parts(given)
        key_id = read[0] if read else given
        try:
            key = _on_log(partial(ApiKeys.revoke, key_id=key_id, at=clock.now()))
        except KeyUnknown as error:
            # Whatever was given may be a key that was not copied whole.
            raise NoSuchKey(key_id if len(key_id) <= api_keys.ID_LENGTH else "...") from error
        click.echo(f"{key.id}  revoked")


def state_of(key: ApiKey, at: datetime) -> str:
    """What a key is good for."""
    if key.stands(at):
        return "stands"
    return "expired" if key.revoked_at is None else "revoked"


def _told(key: ApiKey) -> dict[str, Any]:
    """A key as it may be shown."""
    told = msgspec.structs.asdict(key)
    del told["secret_hash"]
    return {**told, "state": state_of(key, clock.now())}


def _json(told: object) -> str:
    return msgspec.json.format(msgspec.json.encode(told)).decode()


def _minute(at: datetime) -> str:
    return at.strftime("%Y-%m-%d %H:%M")


def _on_log(work: Callable[[ApiKeys], Awaitable[T]]) -> T:
    async def run() -> T:
        async with connected(address.nats_url(), name="turnlog keys") as client:
            await streams.declare_api_keys(client)
            return await work(ApiKeys(client))

    try:
        return asyncio.run(run())
    except (JournalUnavailable, nats.errors.Error, OSError, TimeoutError) as error:
        raise LogUnavailable(f"the log cannot be reached: {error}") from error
