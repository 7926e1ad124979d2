import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from services.cli import data_directory


def test_one_holder_at_a_time(tmp_path: Path):
    held = data_directory.lock(tmp_path / "new" / "directory")
    with pytest.raises(data_directory.DirectoryInUse) as refused:
        data_directory.lock(tmp_path / "new" / "directory")
    os.close(held)

    assert refused.value.message == (
        f"data directory {tmp_path}/new/directory is in use by process {os.getpid()}"
        " or a child of it"
    )
    os.close(data_directory.lock(tmp_path / "new" / "directory"))


def test_a_child_that_outlives_us_keeps_the_directory(tmp_path: Path):
    held = data_directory.lock(tmp_path)
    code = "import signal; signal.pause()"
    with subprocess.Popen([sys.executable, "-c", code], pass_fds=(held,)) as child:
        os.close(held)
        with pytest.raises(data_directory.DirectoryInUse):
            data_directory.lock(tmp_path)
        child.send_signal(signal.SIGKILL)
    os.close(data_directory.lock(tmp_path))


def test_a_child_that_is_just_dying_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(data_directory, "LOCK_WAIT_S", 30.0)
    held = data_directory.lock(tmp_path)
    code = "import time; time.sleep(0.3)"
    with subprocess.Popen([sys.executable, "-c", code], pass_fds=(held,)):
        os.close(held)
        os.close(data_directory.lock(tmp_path))


def test_the_directory_is_ours_alone(tmp_path: Path):
    os.close(data_directory.lock(tmp_path / "new"))

    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(data_directory.DirectoryUnusable, match="file/new cannot be used: Not a"):
        data_directory.lock(tmp_path / "file" / "new")


def test_a_private_file_is_replaced_in_one_step(tmp_path: Path):
    path = tmp_path / "secret"
    data_directory.write_private(path, "first")
    with path.open() as reader:
        data_directory.write_private(path, "second")

        assert reader.read() == "first"
    assert path.read_text() == "second"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["secret"]
