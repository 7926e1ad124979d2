"""Options several commands share. An option is a spelling of its ``TURNLOG_`` variable.

Given on the command line it is put into the environment and nowhere else, so that a process, its
children and ``services.settings`` all read one and the same thing.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from services import settings

Decorated = TypeVar("Decorated", bound=Callable[..., Any])

Kind = click.Choice[str] | click.IntRange

PORT = click.IntRange(0, 65535)


def setting(
    field: str, text: str, *, kind: Kind | None = None, default: str | None = None
) -> Callable[[Decorated], Decorated]:
    """The option of the settings field ``field``; ``default`` is only what the help says."""
    variable = settings.PREFIX + field.upper()

    def record(_context: click.Context, _option: click.Parameter, value: object) -> None:
        if value is not None:
            settings.override({variable: str(value)})

    return click.option(
        "--" + field.replace("_", "-"),
        help=text,
        type=kind,
        envvar=variable,
        show_envvar=True,
        show_default=default or False,
        expose_value=False,
        callback=record,
    )


def switch(field: str, text: str) -> Callable[[Decorated], Decorated]:
    """The option of a settings field that is true or false: there or not."""
    variable = settings.PREFIX + field.upper()

    def record(_context: click.Context, _option: click.Parameter, value: object) -> None:
        if value is not None:
            settings.override({variable: str(value).lower()})

    return click.option(
        "--" + field.replace("_", "-"),
        help=text,
        is_flag=True,
        default=None,
        envvar=variable,
        show_envvar=True,
        expose_value=False,
        callback=record,
    )


def together(
    *options: Callable[[Decorated], Decorated],
) -> Callable[[Decorated], Decorated]:
    """One decorator of several, in the order the help shows them."""

    def decorate(command: Decorated) -> Decorated:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


nats_tls = together(
    setting("nats_ca", "File of the authorities that servers of the log are trusted by, with TLS."),
    setting("nats_cert", "File of the certificate that is shown to them."),
    setting("nats_key", "File of its key, unless that is in the same."),
)
nats_url = together(
    setting(
        "nats_url",
        "Server of the log, commas between those of a cluster.",
        default="nats://127.0.0.1:4222",
    ),
    nats_tls,
)
replicas = setting(
    "replicas",
    "Servers of the cluster that keep each message.",
    kind=click.IntRange(1, 5),
    default="1",
)
running_nats_url = together(
    setting(
        "nats_url", "Server of the log.", default="the one `turnlog up` runs on the data directory"
    ),
    nats_tls,
)
log_level = setting(
    "log_level",
    "Least level that is logged.",
    kind=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
)
host = setting("host", "Address to listen on.", default="127.0.0.1")
port = setting("port", "Port to listen on; 0 takes a free one.", kind=PORT, default="8080")
insecure = switch(
    "insecure", "Let other machines in without a key, as long as there are no API keys."
)
data_dir = setting("data_dir", "Directory of everything kept.", default="turnlog-data")
tokens_budget = setting(
    "tokens_budget",
    "Tokens of a conversation above which it is compacted; 0 for never.",
    kind=click.IntRange(min=0),
)
strict = switch("strict", "Refuse parameters nobody knows, which are tolerated otherwise.")
model_api = setting(
    "model_api",
    "Which API of the model is used.",
    kind=click.Choice(["responses", "chat"]),
    default="responses",
)
model = together(
    setting("model_url", "OpenAI-compatible server, with its /v1.", default="OpenAI's own"),
    setting("model_key", "Key for the model; the variable keeps it out of process lists."),
    model_api,
)
