import os
import signal
import time
from pathlib import Path

from services.cli.supervisor import restart_wait_s
from tests.cli.supervised import STOP_WAIT_S, Child, alive, deaf, polite, supervised, until


def test_programs_stop_in_order_and_the_log_last(tmp_path: Path):
    children = (polite("last", stop_order=2), polite("first"), polite("second", stop_order=1))
    with supervised(tmp_path, *children) as up:
        until(lambda: all((tmp_path / f"{child.name}.ready").exists() for child in children))
        up.process.send_signal(signal.SIGTERM)

        assert up.ended() == 0
    assert (tmp_path / "stopped").read_text() == "first second last "
    ends = [(line["name"], line["status"]) for line in up.lines("process.exited")]
    assert ends == [("first", 0), ("second", 0), ("last", 0), ("nats-server", 0)]


def test_a_program_that_does_not_stop_is_killed(tmp_path: Path):
    with supervised(tmp_path, deaf("deaf")) as up:
        until((tmp_path / "deaf.ready").exists)
        up.process.send_signal(signal.SIGINT)

        assert up.ended() == 0
    assert up.lines("process.exited", name="deaf", status=-signal.SIGKILL)
    assert up.lines("process.exited", name="nats-server", status=0)


def test_a_second_signal_kills_at_once(tmp_path: Path):
    with supervised(tmp_path, deaf("deaf")) as up:
        until((tmp_path / "deaf.ready").exists)
        up.process.send_signal(signal.SIGINT)
        until(lambda: up.lines("stop.requested"))
        begun = time.monotonic()
        up.process.send_signal(signal.SIGINT)

        assert up.ended() == 1
        assert time.monotonic() - begun < STOP_WAIT_S
    assert up.lines("process.exited", name="deaf", status=-signal.SIGKILL)


def test_a_killed_supervisor_leaves_no_process(tmp_path: Path):
    with supervised(tmp_path, polite("polite"), deaf("deaf")) as up:
        pids = up.pids()
        assert len(pids) == 3
        assert all(alive(pid) for pid in pids)
        up.process.kill()
        up.ended()

        until(lambda: not any(alive(pid) for pid in pids))


def test_a_crashed_program_is_started_again(tmp_path: Path):
    with supervised(tmp_path, polite("polite")) as up:
        first = up.pid("polite")
        os.kill(first, signal.SIGKILL)
        until(lambda: up.lines("process.restarted", name="polite", restarts=1))

        assert up.lines("process.exited", name="polite", status=-signal.SIGKILL)
        assert up.pid("polite") != first
        assert alive(up.pid("polite"))
        assert len(up.lines("process.started", name="nats-server")) == 1


def test_a_program_that_cannot_use_its_settings_ends_everything_with_status_2(tmp_path: Path):
    unusable = Child(name="unusable", code="raise SystemExit(2)", checks_settings=True)
    with supervised(tmp_path, polite("polite"), unusable) as up:
        assert up.ended() == 2
    assert "Error: unusable cannot use its settings" in up.words
    assert not up.lines("process.restarted")
    assert not any(alive(pid) for pid in up.pids())


def test_the_same_status_of_another_program_is_a_crash(tmp_path: Path):
    with supervised(tmp_path, Child(name="panic", code="raise SystemExit(2)")) as up:
        until(lambda: up.lines("process.restarted", name="panic", restarts=2))


def test_a_terminal_cannot_interrupt_a_child(tmp_path: Path):
    with supervised(tmp_path, polite("polite")) as up:
        assert [os.getsid(pid) for pid in up.pids()] == up.pids()


def test_restarts_are_ever_further_apart():
    waits = [restart_wait_s(restarts) for restarts in (0, 1, 2, 3, 5, 6, 1000)]

    assert waits == [0.1, 0.2, 0.4, 0.8, 3.2, 5.0, 5.0]
