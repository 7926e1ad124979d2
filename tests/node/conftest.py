"""Node's client in a folder of its own, or a loud word that there is none."""

import hashlib
import shutil
import subprocess
from collections.abc import Generator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
TAKEN = ("package.json", "package-lock.json", ".npmrc")
ABSENT = next((name for name in ("node", "npm") if shutil.which(name) is None), None)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter,
) -> Generator[None, None, None]:
    """Say what was not tested where it is read: behind everything else, above the counts."""
    yield
    if ABSENT:
        told = f"NODE CLIENT NOT TESTED: {ABSENT} is not installed"
        terminalreporter.section(told, sep="!", red=True, bold=True)


@pytest.fixture(scope="session")
def installed(pytestconfig: pytest.Config) -> Path:
    """A folder with the pinned client in it; it is kept for as long as the pins are the same."""
    if ABSENT:
        pytest.skip(f"{ABSENT} is not installed")
    pins = b"".join((HERE / name).read_bytes() for name in TAKEN)
    assert pytestconfig.cache is not None
    folder = pytestconfig.cache.mkdir(f"node-{hashlib.sha256(pins).hexdigest()[:16]}")
    done = folder / "installed"
    if not done.exists():
        for name in TAKEN:
            shutil.copy(HERE / name, folder)
        ran = subprocess.run(
            ["npm", "ci", "--prefer-offline", "--ignore-scripts", "--no-audit", "--no-fund"],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert ran.returncode == 0, f"npm ci failed:\n{ran.stdout}{ran.stderr}"
        done.touch()
    return folder
