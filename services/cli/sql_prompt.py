"""``turnlog sql`` without a statement: one after the other, typed at a terminal."""

import readline
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import click

HISTORY = Path.home() / ".local" / "state" / "turnlog" / "sql_history"
HISTORY_LINES = 1_000
PROMPT, MORE = "turnlog> ", "    ...> "
LEAVE = frozenset({"exit", "quit", "\\q", ".exit", ".quit"})
SCHEMA = frozenset({".schema", "\\d"})
HELP = "end a statement with ; · .schema: tables and columns · ctrl-c: give up · ctrl-d: leave"


def converse(answer: Callable[[str], None], schema: Callable[[], None], *, history: Path) -> None:
    """Answer statements until the end of input; what was typed is kept in ``history``."""
    _load(history)
    click.echo(HELP)
    for statement in statements():
        readline.add_history(" ".join(statement.split()))
        _save(history)
        try:
            if statement.lower() in SCHEMA:
                schema()
            else:
                answer(statement)
        except click.ClickException as error:
            error.show()
        except KeyboardInterrupt:
            click.echo("given up", err=True)


def statements() -> Iterator[str]:
    """What is typed, up to a semicolon at the end of a line; an empty line ends nothing."""
    lines: list[str] = []
    while True:
        try:
            line = input(MORE if lines else PROMPT)
        except EOFError:
            click.echo()
            return
        except KeyboardInterrupt:
            click.echo()
            lines.clear()
            continue
        word = line.strip()
        if not lines and word.lower().rstrip(";") in LEAVE:
            return
        if not lines and word.lower() in SCHEMA:
            yield word
            continue
        if word or lines:
            lines.append(line)
        if word.endswith(";"):
            yield "\n".join(lines)
            lines.clear()


def _load(history: Path) -> None:
    readline.set_auto_history(False)
    readline.set_history_length(HISTORY_LINES)
    with suppress(OSError):
        readline.read_history_file(history)


def _save(history: Path) -> None:
    # Without a place to keep it, there is no history.
    with suppress(OSError):
        history.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        history.touch(mode=0o600)
        readline.write_history_file(history)
