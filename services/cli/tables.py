"""Rows for people: a table on a terminal, aligned columns elsewhere."""

import sys
from collections.abc import Sequence
from typing import TextIO

import click

GAP = "  "


def write(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    caption: str = "",
    to: TextIO | None = None,
) -> None:
    """Rows to ``to``, or standard output; ``caption`` stands below a table only."""
    to = to or sys.stdout
    if to.isatty():
        _write_table(columns, rows, caption)
    else:
        _write_aligned(columns, rows, to)


def _write_table(columns: Sequence[str], rows: Sequence[Sequence[str]], caption: str) -> None:
    from rich import box, console, table, text  # noqa: PLC0415 - only a terminal needs it

    shown = table.Table(box=box.SIMPLE_HEAD)
    for name in columns:
        shown.add_column(text.Text(name), overflow="fold")
    for row in rows:
        shown.add_row(*map(text.Text, row))
    terminal = console.Console()
    terminal.print(shown)
    if caption:
        # Not the table's own, which would be as narrow as it.
        terminal.print(text.Text(caption, style="dim"))


def _write_aligned(columns: Sequence[str], rows: Sequence[Sequence[str]], to: TextIO) -> None:
    widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]
    for row in (columns, ["-" * width for width in widths], *rows):
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        click.echo(GAP.join(cells).rstrip(), file=to)
