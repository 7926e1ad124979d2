from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.whole.running import SESSION, Running, another_gateway, marked

Start = Callable[..., Running]


@pytest.fixture(scope="session", autouse=True)
def _nothing_is_left() -> Iterator[None]:
    yield
    assert not {pid: words for pid, words in marked(SESSION).items()}


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory, _nothing_is_left: None) -> Iterator[Running]:
    """One instance for every test that kills nothing; it never compacts."""
    running = Running(tmp_path_factory.mktemp("shared"), tokens_budget="0")
    try:
        yield running.start()
    finally:
        running.end()


@pytest.fixture
def instance(tmp_path: Path, _nothing_is_left: None) -> Iterator[Start]:
    """Makes instances of a test's own; settings as keywords. They are started by it."""
    made: list[Running] = []

    def make(**variables: str) -> Running:
        running = Running(tmp_path / f"instance-{len(made)}", **variables)
        made.append(running)
        return running.start()

    try:
        yield make
    finally:
        for running in made:
            running.end()


@pytest.fixture(scope="session")
def second_gateway(shared: Running) -> str:
    """URL of another gateway on the shared instance's log."""
    return another_gateway(shared)
