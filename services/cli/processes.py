"""The commands that run one process each against a server elsewhere: ``turnlog gateway`` and so on.

They are the processes ``turnlog up`` starts, with the same settings.
"""

import importlib

import click

from services.cli import options


def _run(process: str) -> None:
    importlib.import_module(f"services.{process}.__main__").main()


@click.command(
    epilog="""\b
Example:
  turnlog gateway --nats-url nats://token@queue:4222 --port 8080
"""
)
@options.nats_url
@options.replicas
@options.host
@options.port
@options.insecure
@options.model
@options.tokens_budget
@options.strict
@options.log_level
def gateway() -> None:
    """Run the HTTP door: OpenAI-compatible in, turn requests out. Any number may run."""
    _run("gateway")


@click.command(
    epilog="""\b
Example:
  TURNLOG_MODEL_KEY=... turnlog responder --nats-url nats://token@queue:4222
"""
)
@options.nats_url
@options.replicas
@options.model
@options.tokens_budget
@options.log_level
def responder() -> None:
    """Take turn requests, call the model, write turns to the log. Any number may run."""
    _run("responder")


@click.command(
    epilog="""\b
Example:
  turnlog projector --nats-url nats://token@queue:4222 --data-dir /var/lib/turnlog
"""
)
@options.nats_url
@options.replicas
@options.data_dir
@options.log_level
def projector() -> None:
    """Follow the log into DuckDB and answer questions about it. One per data directory."""
    _run("projector")


@click.command(
    epilog="""\b
Example:
  TURNLOG_MODEL_KEY=... turnlog compactor --nats-url nats://token@queue:4222
"""
)
@options.nats_url
@options.replicas
@options.model
@options.tokens_budget
@options.log_level
def compactor() -> None:
    """Summarise what a conversation can no longer send whole. Any number may run."""
    _run("compactor")
