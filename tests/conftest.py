"""What holds for the whole run."""

import atexit
import os


@atexit.register
def end_with_the_summary() -> None:
    """Keep DuckDB's binding from listing, behind the summary, what hypothesis still refers to."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
