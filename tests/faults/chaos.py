"""A seeded schedule of what dies, stops and starts again, while others work."""

import os
import random
import signal
import threading
import time
from collections import Counter
from contextlib import suppress

from services import faults
from tests.faults.system import System

LEASE_S = 10.0
"""Seconds after which the queue takes a responder that gives no sign for dead."""
ACTIONS = {
    ("kill", "responder"): 4,
    ("kill", "responder-2"): 4,
    ("kill", "gateway"): 3,
    ("kill", "gateway-2"): 3,
    ("kill", "projector"): 2,
    ("kill", "compactor"): 1,
    ("kill", "nats-server"): 3,
    ("kill", "everything"): 1,
    ("stop", "responder"): 2,
    ("stop", "responder-2"): 2,
    ("stop", "gateway"): 1,
    ("stop", "gateway-2"): 1,
    ("stop", "projector"): 1,
    ("stop", "nats-server"): 1,
    ("restart", "responder"): 2,
    ("restart", "responder-2"): 2,
    ("restart", "gateway"): 1,
    ("restart", "gateway-2"): 1,
    ("fault", "kill"): 9,
    ("fault", "stop"): 3,
}
"""What may happen, and how often beside the rest."""
SIGNALS = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP, "restart": signal.SIGTERM}


class Chaos(threading.Thread):
    """Happens until it is told to cease; then everything is started and goes on again."""

    def __init__(self, system: System, seed: int, *, pause_s: float = 4.0) -> None:
        """``pause_s``: the most time between two events."""
        super().__init__(name="chaos")
        self._system = system
        self._dice = random.Random(f"chaos/{seed}")
        self._pause_s = pause_s
        self._ceasing = threading.Event()
        self._halted: dict[int, float] = {}
        self.happened: Counter[str] = Counter()
        self.lines: list[str] = []
        self.forgetful: list[float] = []
        self.fault: Exception | None = None

    def cease(self) -> None:
        """Let nothing happen any more, and wait until all of it can serve again."""
        self._ceasing.set()
        self.join()
        if self.fault is not None:
            raise self.fault
        self._system.spare()
        self._system.healthy()

    def run(self) -> None:
        """Let things happen."""
        try:
            while not self._ceasing.is_set():
                self._wait(self._dice.uniform(0.3, self._pause_s))
                if not self._ceasing.is_set():
                    self._happen()
        except Exception as error:
            self.fault = error
            raise

    def _wait(self, wait_s: float) -> None:
        until = time.monotonic() + wait_s
        while not self._ceasing.wait(0.25) and time.monotonic() < until:
            self._resume(time.monotonic())
            if started := self._system.keep():
                self.happened["started beside"] += started

    def _resume(self, now: float) -> None:
        """Let go on what was stopped for long enough; half of it for longer than its lease."""
        for pid in self._system.halted():
            longest = self._dice.choice((LEASE_S * 0.4, LEASE_S + 3))
            if now >= self._halted.setdefault(pid, now + self._dice.uniform(longest / 2, longest)):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)
                del self._halted[pid]

    def _happen(self) -> None:
        (action, name) = self._dice.choices(list(ACTIONS), list(ACTIONS.values()))[0]
        happened = f"{action} {name}"
        if action == "fault":
            point = self._dice.choice(faults.POINTS)
            passing = self._dice.randint(1, 12)
            if faults.planned(self._system.faults, point):
                return
            faults.plan(self._system.faults, point, name, passing=passing)
            happened = f"{action} {name} {point}"
        elif name == "everything":
            self.forgetful.append(time.monotonic())
            self._system.everything()
            self.forgetful.append(time.monotonic())
        else:
            pid = self._system.pid(name)
            if pid is None:
                return
            if name == "nats-server":
                self.forgetful.append(time.monotonic())
            with suppress(ProcessLookupError):
                os.kill(pid, SIGNALS[action])
        self.happened[happened] += 1
        self.lines.append(f"{time.monotonic():.1f} {happened}")
