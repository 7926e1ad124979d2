"""A planned fault strikes at its passing, once, and nobody else is struck."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

from services import faults
from tests.whole.running import ROOT, SESSION, own, until

PASSES = "from services import faults; faults.arm(); [faults.point('taken') for _ in range(9)]"
SENDS = """
import asyncio
from services import faults

faults.arm()
async def sent(): print("sent", flush=True)
asyncio.run(faults.point_behind("acked", sent))
print("unstruck", flush=True)
"""


def passing(program: str, **variables: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", program],
        env=own(SESSION, **variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def status(program: str, **variables: str) -> int:
    process = passing(program, **variables)
    process.communicate(timeout=60)
    return process.returncode


def test_without_the_variable_nothing_happens():
    assert status(PASSES) == 0


def test_a_fault_strikes_once_at_its_passing(tmp_path: Path):
    faults.plan(tmp_path, "taken", "kill", passing=12)
    faults.plan(tmp_path, "told", "kill")
    statuses = [status(PASSES, TURNLOG_FAULTS=str(tmp_path)) for _ in range(3)]
    assert statuses == [0, -signal.SIGKILL, 0]
    assert [file.name for file in tmp_path.iterdir()] == ["told=kill@1"]


def test_a_stopped_process_goes_on(tmp_path: Path):
    faults.plan(tmp_path, "taken", "stop")
    process = passing(PASSES, TURNLOG_FAULTS=str(tmp_path))
    until(lambda: os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOHANG))
    process.send_signal(signal.SIGCONT)
    process.communicate(timeout=60)
    assert process.returncode == 0


def test_what_was_sent_before_has_left_when_a_fault_strikes(tmp_path: Path):
    faults.plan(tmp_path, "acked", "kill")
    said = [
        passing(SENDS, TURNLOG_FAULTS=str(tmp_path)).communicate(timeout=60)[0] for _ in range(2)
    ]
    assert said[0].startswith("sent\n")
    assert "unstruck" not in said[0]
    assert said[1] == "unstruck\n"


def test_a_directory_that_is_none_ends_the_process(tmp_path: Path):
    missing = tmp_path / "missing"
    process = passing(PASSES, TURNLOG_FAULTS=str(missing))
    _, told = process.communicate(timeout=60)
    assert process.returncode == 2
    assert told == f"turnlog: TURNLOG_FAULTS: {missing} is no directory\n"


def test_every_point_is_passed_somewhere():
    sources = "".join(path.read_text() for path in (ROOT / "services").rglob("*.py"))
    passed = re.findall(r"faults\.point(?:_behind)?\(\"(\w+)\"", sources)
    assert sorted(passed) == sorted((*faults.POINTS, *faults.ERASURE_POINTS))
