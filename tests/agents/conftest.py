from collections.abc import AsyncIterator

import agents
import pytest
import pytest_asyncio
from openai import AsyncOpenAI

from tests.whole.running import Running


@pytest.fixture(scope="session", autouse=True)
def _nothing_is_traced() -> None:
    agents.set_tracing_disabled(disabled=True)


@pytest.fixture
def running(shared: Running) -> Running:
    """The shared instance; its model has received nothing yet."""
    shared.forget_received()
    return shared


@pytest_asyncio.fixture
async def client(running: Running) -> AsyncIterator[AsyncOpenAI]:
    """The unmodified SDK. It retries nothing, so that every answer is seen."""
    async with AsyncOpenAI(
        base_url=f"{running.url}/v1", api_key="any", max_retries=0, timeout=30
    ) as sdk:
        yield sdk
