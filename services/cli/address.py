"""Where the commands that ask a running Turnlog find it."""

from pathlib import Path

import click

from services import settings

NATS_URL_FILE = "nats-url"
"""File of the data directory with the URL of the log, token included, while `turnlog up` runs."""
HTTP_URL_FILE = "http-url"
"""File of the data directory with the URL of the gateway, while `turnlog up` runs."""
DATA_DIRECTORY = "turnlog-data"


class NotRunning(click.ClickException):
    """No server was named and none runs on the data directory."""

    def __init__(self, directory: Path) -> None:
        super().__init__(
            f"no Turnlog runs on {directory}: start `turnlog up`, or name a server with --nats-url"
            " or a data directory with --data-dir"
        )


class Address(settings.Settings, frozen=True, kw_only=True):
    """What names a running Turnlog."""

    nats_url: str = ""
    data_dir: str = DATA_DIRECTORY


def nats_url(address: Address | None = None) -> str:
    """URL of the log: the one that was named, else that of `turnlog up` on the data directory."""
    given = address or settings.read(Address)
    return given.nats_url or _published(given, NATS_URL_FILE)


def http_url(address: Address | None = None) -> str:
    """URL of the gateway `turnlog up` runs on the data directory."""
    return _published(address or settings.read(Address), HTTP_URL_FILE)


def _published(address: Address, name: str) -> str:
    directory = Path(address.data_dir)
    try:
        return (directory / name).read_text()
    except OSError as error:
        raise NotRunning(directory) from error
