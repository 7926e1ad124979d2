from collections.abc import Iterator

import httpx2
import pytest

from tests.upstream import ScriptedUpstream, serving
from tests.whole.keyed import make
from tests.whole.running import Running, another_gateway, until


@pytest.fixture(scope="session")
def scripted() -> Iterator[ScriptedUpstream]:
    """An upstream that answers what each test plans for a mark of its own."""
    with serving() as upstream:
        yield upstream


@pytest.fixture(scope="session")
def before_scripted(
    tmp_path_factory: pytest.TempPathFactory, _nothing_is_left: None, scripted: ScriptedUpstream
) -> Iterator[Running]:
    """One instance with that upstream."""
    directory = tmp_path_factory.mktemp("scripted")
    running = Running(directory, model_url=scripted.url, tokens_budget="0", log_level="debug")
    try:
        yield running.start()
    finally:
        running.end()


@pytest.fixture(scope="session")
def impatient(
    tmp_path_factory: pytest.TempPathFactory, _nothing_is_left: None, scripted: ScriptedUpstream
) -> Iterator[Running]:
    """Another one, which soon loses its patience with an upstream that says nothing."""
    directory = tmp_path_factory.mktemp("impatient")
    running = Running(directory, model_url=scripted.url, model_wait_s="1", tokens_budget="0")
    try:
        yield running.start()
    finally:
        running.end()


@pytest.fixture(scope="session")
def second_gateway(shared: Running) -> Iterator[str]:
    """URL of another gateway on the shared instance's log."""
    with another_gateway(shared) as url:
        yield url


@pytest.fixture(scope="session")
def _wounded(tmp_path_factory: pytest.TempPathFactory, _nothing_is_left: None) -> Iterator[Running]:
    running = Running(tmp_path_factory.mktemp("wounded"), tokens_budget="0")
    try:
        yield running
    finally:
        running.end()


@pytest.fixture
def wounded(_wounded: Running) -> Running:
    """One instance for every test that kills or stops; whole again at the start of each."""
    running = _wounded if _wounded.up else _wounded.start()
    # A test that failed may have left some.
    running.end_others()
    # Some of it may be too deep to be read back.
    running.forget_received()
    return running


@pytest.fixture(scope="session")
def keyed(tmp_path_factory: pytest.TempPathFactory, _nothing_is_left: None) -> Iterator[Running]:
    """One instance that nobody comes into without a key, for every test that kills nothing."""
    running = Running(tmp_path_factory.mktemp("keyed"), tokens_budget="0", log_level="debug")
    try:
        running.start()
        make(running)
        until(lambda: httpx2.get(f"{running.url}/v1/models").status_code == 401)
        yield running
    finally:
        running.end()
