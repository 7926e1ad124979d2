"""``python -m tests.faults``, which is ``make faults``."""

import secrets
import sys
import tempfile
from pathlib import Path

import click

from tests.faults.harness import run


@click.command(
    epilog="""\b
Examples:
  make faults                        three minutes, another seed each time
  make faults SEED=7 MINUTES=20
  python -m tests.faults --seed 7 --minutes 20 --directory /tmp/seven
"""
)
@click.option("--seed", type=int, help="Plans who does what and what dies; default: any.")
@click.option(
    "--minutes", type=click.FloatRange(min=0), default=3.0, show_default=True, help="Of chaos."
)
@click.option("--directory", type=click.Path(path_type=Path), help="A new one; default: any.")
def main(seed: int | None, minutes: float, directory: Path | None) -> None:
    """Kill, stop and start again everything there is, at random and at every step of a turn.

    Clients of all kinds work meanwhile and note what they are told. At the end the log is read
    and audited: every accepted turn has ended once, nothing acked is missing, the model was
    called for admitted turns only, every conversation is still usable. A violation is told with
    its ids, the directory is kept, and the exit status is 1.
    """
    directory = directory or Path(tempfile.mkdtemp(prefix="turnlog-faults-"))
    if seed is None:
        seed = secrets.randbelow(1_000_000)
    click.echo(f"seed {seed}, {minutes:g} minutes, {directory}")
    report = run(directory, seed=seed, seconds=minutes * 60, say=_say)
    for line in report.lines():
        click.echo(line)
    sys.exit(1 if report.violations else 0)


def _say(line: str) -> None:
    click.echo(line)
    sys.stdout.flush()


if __name__ == "__main__":
    main(prog_name="python -m tests.faults")
