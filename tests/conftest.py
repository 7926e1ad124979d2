"""What holds for the whole run."""

import atexit
import os
from collections.abc import Iterator

import pytest

from tests.whole.running import SESSION, Running, marked


@atexit.register
def end_with_the_summary() -> None:
    """Keep DuckDB's binding from listing, behind the summary, what hypothesis still refers to."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


@pytest.fixture(scope="session", autouse=True)
def _nothing_is_left() -> Iterator[None]:
    yield
    assert marked(SESSION) == {}


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory, _nothing_is_left: None) -> Iterator[Running]:
    """One instance for every test that kills nothing; it never compacts by itself."""
    running = Running(tmp_path_factory.mktemp("shared"), tokens_budget="0")
    try:
        yield running.start()
    finally:
        running.end()
