"""``turnlog asyncapi``: what is said on NATS and WebSockets, described for whoever speaks there."""

from importlib.metadata import version

import click
import msgspec.json
import msgspec.yaml

from schemas import asyncapi as described


@click.command(
    epilog="""\b
Examples:
  turnlog asyncapi > asyncapi.yaml
  turnlog asyncapi --format json | jq '.channels | keys'
"""
)
@click.option(
    "--format",
    "form",
    type=click.Choice(("yaml", "json")),
    default="yaml",
    show_default=True,
    help="How it is written.",
)
def asyncapi(*, form: str) -> None:
    """Print the AsyncAPI 3.0 document of this release, with every shape it refers to.

    Streams, subjects and messages: turn requests, what running turns say, outcomes, events of the
    log, questions to the views. A running gateway serves the same at /docs/asyncapi.
    """
    document = described.whole(version=version("turnlog"))
    if form == "yaml":
        click.echo(msgspec.yaml.encode(document).decode(), nl=False)
        return
    click.echo(msgspec.json.format(msgspec.json.encode(document)).decode())
