"""One simulator process for all tests of this folder, and real clients for it."""

import json
import subprocess
import sys

import pytest
from openai import AsyncOpenAI


@pytest.fixture(scope="session")
def simulator_url():
    command = [sys.executable, "-m", "services.simulator"]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
        try:
            yield json.loads(process.stderr.readline())["url"]
        finally:
            process.terminate()


@pytest.fixture
async def client(simulator_url):
    async with AsyncOpenAI(base_url=simulator_url, api_key="none", max_retries=0) as connected:
        yield connected
