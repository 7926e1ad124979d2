"""``turnlog master-key``: which master key wraps what, and how to change it."""

import click
from nats.aio.client import Client

from services import master_keys, settings
from services.cli import auditing, options
from services.encryption import Altered, MasterKeyUnknown, Masters
from services.journal import rotating
from services.journal.rotating import ProjectKey
from services.settings import SettingsError


class NotRotated(click.ClickException):
    """Keys are wrapped by what was not given."""


@click.group(
    epilog="""\b
Examples:
  turnlog master-key list
  TURNLOG_MASTER_KEY=NEW,OLD turnlog master-key rotate
\b
To change it, with nothing that stands still:
  1. start every process again with TURNLOG_MASTER_KEY=NEW,OLD
  2. TURNLOG_MASTER_KEY=NEW,OLD turnlog master-key rotate
  3. start every process again with TURNLOG_MASTER_KEY=NEW
The log is not written again. Views are built anew under the new key after 1.
"""
)
def master_key() -> None:
    """See by which master key the keys of projects are wrapped, and change over to another."""


@master_key.command("list")
@options.running_nats_url
@options.data_dir
def list_keys() -> None:
    """Print a line for each project: its name, its key's id, and that of its master key."""

    async def work(client: Client) -> list[ProjectKey]:
        return await rotating.project_keys(client)

    for each in auditing.on_log("master-key", work):
        click.echo(f"{each.project:<24}  key {each.id}  under {each.under}")


@master_key.command()
@options.running_nats_url
@options.data_dir
def rotate() -> None:
    """Have the first key of TURNLOG_MASTER_KEY wrap what the others there have wrapped."""
    masters = _given()

    async def work(client: Client) -> list[str]:
        return await rotating.rotate(client, masters)

    try:
        changed = auditing.on_log("master-key", work)
    except (MasterKeyUnknown, Altered) as error:
        raise NotRotated(str(error)) from error
    for project in changed:
        click.echo(f"{project:<24}  under {masters.first.id}")
    click.echo(f"{len(changed)} keys of projects were wrapped anew", err=True)


def _given() -> Masters:
    masters = master_keys.given(settings.read(settings.Settings))
    if masters is None:
        raise SettingsError(f"{settings.PREFIX}MASTER_KEY: required")
    return masters
