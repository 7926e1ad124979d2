"""The command ``turnlog``: names of subcommands, each imported only when it is chosen."""

import importlib

import click

COMMANDS = {
    "up": ("services.cli.up:up", "Start everything on this machine and stay up."),
    "demo": ("services.cli.demo:demo", "Run the quickstart on real parts: no key, no network."),
    "bench": (
        "services.bench.command:bench",
        "Measure turns, items and replay, or what compactions keep.",
    ),
    "events": ("services.cli.events:events", "Print the story of one conversation."),
    "window": ("services.cli.window:window", "Print what the model would be sent next."),
    "prepare": ("services.cli.prepare:prepare", "Make the streams of a log on a server."),
    "keys": ("services.cli.keys:keys", "Make, list and revoke API keys."),
    "content-keys": ("services.cli.content_keys:content_keys", "See and change the seal."),
    "master-key": ("services.cli.master_key:master_key", "See and change the master key."),
    "tail": ("services.cli.tail:tail", "Print events of all conversations as they come."),
    "show": ("services.cli.show:show", "Print a conversation as it was at any point."),
    "diff": ("services.cli.diff:diff", "Print what changed between two points."),
    "fork": ("services.cli.fork:fork", "Begin a new conversation from any point."),
    "verify": ("services.cli.verify:verify", "Check the log for damage and forgery."),
    "erase": ("services.cli.erase:erase", "Erase conversations for good."),
    "export": ("services.cli.export:export", "Write Parquet, or a conversation to check."),
    "parked": ("services.cli.parked:parked", "See what failed for good; try it again."),
    "sql": ("services.cli.sql:sql", "Ask the views a read-only question."),
    "replay": ("services.cli.replay:replay", "Build the views again from the log, and compare."),
    "asyncapi": ("services.cli.asyncapi:asyncapi", "Print what is said on NATS and WebSockets."),
    "gateway": ("services.cli.processes:gateway", "Run the HTTP door."),
    "responder": ("services.cli.processes:responder", "Run turns: admission, model, answer."),
    "projector": ("services.cli.processes:projector", "Build the views and answer questions."),
    "compactor": ("services.cli.processes:compactor", "Compact conversations over budget."),
    "simulator": ("services.simulator.__main__:main", "Run a model that needs no network."),
}
"""Name to ``module:attribute`` of a click command, and its line in the help."""

EXAMPLES = """\b
Examples:
  turnlog up                                 everything, with a simulated model
  turnlog up --model-url http://gpu:8000/v1  everything, with your own model
  turnlog sql 'SELECT count(*) FROM turns'   a question to the views
  turnlog COMMAND --help                     options and examples of one command
"""


class SettingsUnusable(click.ClickException):
    """What the environment or an option asks for cannot be used."""

    exit_code = 2


class Commands(click.Group):
    """The subcommands of `COMMANDS`; listing them imports none."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of the table."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command behind ``cmd_name``, imported now; none if the table has no such name."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module, attribute = COMMANDS[cmd_name][0].split(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table's own lines: click would import every command for its docstring."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> object:
        """Run the chosen command; settings it cannot use end it with one line and status 2."""
        try:
            return super().invoke(ctx)
        except Exception as error:
            from services.settings import SettingsError  # noqa: PLC0415 - 40 ms a start can do without

            if isinstance(error, SettingsError):
                raise SettingsUnusable(str(error)) from error
            raise


@click.group(
    cls=Commands,
    epilog=EXAMPLES,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(package_name="turnlog", message="%(prog)s %(version)s")
def main() -> None:
    """Conversation state for OpenAI-compatible clients, kept as events."""
