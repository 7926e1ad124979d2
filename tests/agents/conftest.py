from collections.abc import AsyncIterator, Iterator

import agents
import pytest
import pytest_asyncio
from openai import AsyncOpenAI

from tests.whole.running import Running


@pytest.fixture(scope="session", autouse=True)
def _nothing_is_traced() -> None:
    agents.set_tracing_disabled(disabled=True)


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """An instance of its own: everything its model receives is compared."""
    running = Running(tmp_path_factory.mktemp("agents"), tokens_budget="0")
    try:
        yield running.start()
    finally:
        running.end()


@pytest.fixture
def running(served: Running) -> Running:
    """The instance; its model has received nothing yet."""
    served.forget_received()
    return served


@pytest_asyncio.fixture
async def client(running: Running) -> AsyncIterator[AsyncOpenAI]:
    """The unmodified SDK. It retries nothing, so that every answer is seen."""
    async with AsyncOpenAI(
        base_url=f"{running.url}/v1", api_key="any", max_retries=0, timeout=30
    ) as sdk:
        yield sdk
