"""SIGKILL of hosts and of their collector, at any moment of their lives: starts, commits, acknowledgements, replays.

It proves that cursor, chain and data change together, and that what is said twice
counts once. It proves nothing about flushes, since the page cache outlives a
process: that is for powercut.py and crash_states.py.
"""

import random
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from . import forks
from .lives import KEPT, TOLD, Host, free_port, serve
from .metered import Found, found_in_ledger
from .outcome import Outcome

_LONGEST_LIFE_S: Final = 0.25
_LONGEST_PAUSE_S: Final = 0.02
_DRAIN_S: Final = 90.0


def run(count: int, seed: int, *, hasty: bool = False) -> Outcome:
    """``count`` kills, two in three of the host. ``hasty``: the control, a host that promises before it has kept."""
    with TemporaryDirectory(prefix="gputally-sigkill-") as folder:
        return _Play(Path(folder), seed, hasty).run(count)


class _Play:
    """One host and one collector, which are never both left alone for long."""

    def __init__(self, folder: Path, seed: int, hasty: bool) -> None:
        self._chance = random.Random(seed)
        self._ledger = folder / "ledger"
        self._endpoint = f"127.0.0.1:{free_port()}"
        self._host = Host(folder / "log", "gpu-01", self._endpoint, forks.Promises(), pause_s=0.002, hasty=hasty)
        self._outcome = Outcome("SIGKILL")
        self._died = [0, 0]

    def run(self, count: int) -> Outcome:
        lives = {"host": self._start("host"), "collector": self._start("collector")}
        try:
            for _ in range(count):
                time.sleep(self._chance.uniform(0, _LONGEST_LIFE_S))
                self._strike(lives, self._chance.choice(("host", "host", "collector")))
        finally:
            self._end(lives["host"])
        try:
            self._judge()
        finally:
            forks.kill(lives["collector"])
        return self._outcome

    def _start(self, what: str) -> int:
        if what == "host":
            return forks.spawn(self._host.live)
        return forks.spawn(lambda: serve(self._ledger, self._endpoint))

    def _strike(self, lives: dict[str, int], what: str) -> None:
        before = self._host.promises[KEPT]
        self._end(lives[what])
        time.sleep(self._chance.uniform(0, _LONGEST_PAUSE_S))
        lives[what] = self._start(what)
        self._outcome.count()
        self._died[what == "collector"] += 1
        assert self._host.promises[KEPT] >= before

    def _end(self, pid: int) -> None:
        """A process that has ended by itself was not killed by us: whatever it was, it was not survived."""
        status = forks.ended(pid)
        if status is None:
            forks.kill(pid)
        else:
            self._outcome.blame(undeclared=1, why=f"a process ended by itself: {forks.words_of(status)}")

    def _judge(self) -> None:
        promised, told = self._host.promises[KEPT], self._host.promises[TOLD]
        drained = forks.spawn(self._host.drain)
        deadline_s = time.monotonic() + _DRAIN_S
        while (status := forks.ended(drained)) is None and time.monotonic() < deadline_s:
            time.sleep(0.02)
        if status is None:
            forks.kill(drained)
        if status != 0:
            self._outcome.blame(undeclared=1, why="what was left could not be brought out")
        found = found_in_ledger(self._ledger).get(self._host.host_id, Found())
        missing = found.missing(max(promised, max(found.present, default=-1) + 1))
        self._outcome.blame(lost=missing, why=f"{missing} of {promised} seconds are not in the ledger")
        self._outcome.blame(doubled=found.doubled, why=f"{found.doubled} seconds are in the ledger twice")
        self._outcome.blame(undeclared=found.tombstones, why=f"{found.tombstones} frames were refused")
        # Nobody knows which kill it was, so each harm is counted as one.
        self._outcome.survived = max(self._outcome.tried - self._outcome.harmed, 0)
        self._outcome.note = (
            f"{self._died[0]} of hosts, {self._died[1]} of collectors; {promised} seconds kept, {told} acknowledged"
        )
