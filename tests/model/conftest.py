"""The simulator as a process, and an upstream that answers as it is told to."""

import json
import secrets
import subprocess
import sys
import warnings

import pytest

from services.model.tokenizer import Tokenizer
from tests.upstream import serving


@pytest.fixture(scope="session", autouse=True)
def vocabulary():
    """Load it once, outside the rule that warnings are errors: its package uses an old API."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        Tokenizer().count_text("")


@pytest.fixture(scope="session")
def simulator_url():
    command = [sys.executable, "-m", "services.simulator", "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
        try:
            yield json.loads(process.stderr.readline())["url"]
        finally:
            process.terminate()


@pytest.fixture(scope="session")
def scripted():
    """One upstream that answers what each test plans for its own mark."""
    with serving() as upstream:
        yield upstream


@pytest.fixture(params=["responses", "chat"])
def api(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def mark() -> str:
    return f"mark-{secrets.token_hex(8)}"
