import shutil
import subprocess
from pathlib import Path

import pytest

from tests.whole.running import Running, own

HERE = Path(__file__).parent
PROGRAMS = sorted(path.name for path in HERE.glob("*.mjs"))


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_on_node_runs_to_its_end(installed: Path, shared: Running, program: str):
    # A program finds its packages from where it lies.
    shutil.copy(HERE / program, installed)

    done = subprocess.run(
        ["node", "--throw-deprecation", program],
        env=own(shared.mark, OPENAI_BASE_URL=f"{shared.url}/v1", OPENAI_API_KEY="any"),
        cwd=installed,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""


def test_the_pins_of_the_client_name_no_registry():
    pins = (HERE / "package-lock.json").read_text()

    assert '"integrity": "sha512-' in pins
    assert "://" not in pins
    assert '"resolved"' not in pins
