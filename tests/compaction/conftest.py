"""The simulator as a process."""

import json
import subprocess
import sys
import warnings

import pytest

from services.model.tokenizer import Tokenizer


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
