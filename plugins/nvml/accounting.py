"""Accounting: what the driver keeps of processes that have ended, where that is switched on.

The driver lists the pids it can tell of, running ones among them, and for each pid the
latest that ended, or the one that runs. So the pids are read at every tick, and only when
there are others, or a process has left the device, is more asked: of each pid that is not
on the device and was not told yet. What is told is an ended process with its start and
time, once.

It is never switched on by us unless the operator says so (``sampling.accounting``).
"""

import time
from collections.abc import Collection
from typing import NamedTuple

from . import binding, errors
from .accounting_calls import AccountingCalls, pids_of
from .facts import Facts
from .junk import Junk
from .rows import MAX_PID, MEMORY_UNKNOWN

MODE_EVERY_TICKS = 10
STATS_A_TICK = 256
"""The rest is asked for at the next tick."""
LOOK_BACK_NS = 3_000_000_000
"""What ended longer ago when a child begins was told by another one, or by nobody."""
SLACK_NS = 50_000_000
"""What two clocks and whole milliseconds may be apart."""

PERCENT_UNKNOWN = (1 << 32) - 1
"""NVML_VALUE_NOT_AVAILABLE, of boards that do not know how busy they are."""

ON, REFUSED = "accounting", "accounting_refused"
"""Notes for the operator: we switched it on, or could not."""


class Clocks(NamedTuple):
    """Both clocks at one instant."""

    boot_ns: int
    wall_ns: int

    @classmethod
    def now(cls) -> "Clocks":
        return cls(time.clock_gettime_ns(time.CLOCK_BOOTTIME), time.time_ns())


class Accounting:
    """Of one device."""

    __slots__ = (
        "_begun_ns", "_calls", "_device_bytes", "_facts", "_here", "_junk", "_known", "_pids", "_waiting", "on",
    )  # fmt: skip

    def __init__(self, asker: AccountingCalls, facts: Facts, device_bytes: int, junk: Junk) -> None:
        self._calls = asker
        self._device_bytes = device_bytes
        self._facts = facts
        self._junk = junk
        self.on = False
        self._pids = b""
        self._known: dict[int, int] = {}
        """Pids that were told, or are not to be, by the start of the process."""
        self._waiting: set[int] = set()
        """Pids that are yet to be asked for."""
        self._here: Collection[int] = ()
        self._begun_ns = 0

    def switch_on(self) -> str:
        """As the operator wants it. A note, or nothing where there is nothing to say."""
        code, on = self._calls.mode(self._facts.handle)
        if code or on:
            return ""
        return REFUSED if self._calls.switch_on(self._facts.handle) else ON

    def read(self, here: Collection[int], tick: int) -> dict[int, list[object]]:
        """Who has ended, by pid what codec.py calls accounted. ``here`` are on the device. Raises UnreadableError."""
        facts = self._facts
        if tick % MODE_EVERY_TICKS == 0:
            self.on = bool(facts.value(binding.ACCOUNTING_MODE, self._calls.mode))
        if not self.on:
            return {}
        code, pids = self._calls.pids(facts.handle)
        if code:
            facts.learn(binding.ACCOUNTING_PIDS, code)
            self.on = binding.ACCOUNTING_PIDS not in facts.refused
            return {}
        self._note(pids, here)
        return self._ask(here) if self._waiting else {}

    def _note(self, pids: bytes, here: Collection[int]) -> None:
        """Whom to ask for: those that are new in the list, and those that were on the device until now."""
        left = [pid for pid in self._here if pid not in here]
        self._here = here
        if pids == self._pids and not left:
            return
        self._pids = pids
        listed = set(pids_of(pids))
        self._known = {pid: start for pid, start in self._known.items() if pid in listed}
        self._waiting.update(listed - self._known.keys())
        self._waiting.update(left)
        self._waiting &= listed

    def _ask(self, here: Collection[int]) -> dict[int, list[object]]:
        clocks = Clocks.now()
        self._begun_ns = self._begun_ns or clocks.boot_ns
        told: dict[int, list[object]] = {}
        for pid in sorted(self._waiting - set(here))[:STATS_A_TICK]:
            one = self._stats(pid, clocks)
            if one is not None:
                told[pid] = one
        return told

    def _stats(self, pid: int, clocks: Clocks) -> list[object] | None:
        """Start and time in ns, per cent of the SMs, bytes; None if there is nothing to tell (yet)."""
        code, stats = self._calls.stats(self._facts.handle, pid)
        if code == errors.SUCCESS and stats.isRunning:
            return None  # it waits until it has ended
        self._waiting.discard(pid)
        if code or self._known.get(pid) == stats.startTime:
            return None
        self._known[pid] = stats.startTime
        start_ns = stats.startTime * 1000 - clocks.wall_ns + clocks.boot_ns
        reason = _fault(pid, start_ns, stats.time, clocks.boot_ns)
        if reason:
            self._junk.add(reason)
            return None
        end_ns = start_ns + stats.time * 1_000_000
        if end_ns < self._begun_ns - LOOK_BACK_NS:
            return None
        return [start_ns, end_ns - start_ns, self._percent(stats.gpuUtilization), self._bytes(stats.maxMemoryUsage)]

    def _percent(self, percent: int) -> int | None:
        if percent == PERCENT_UNKNOWN:
            return None
        if percent > 100:
            self._junk.add("accounting_percent")
            return None
        return percent

    def _bytes(self, most_bytes: int) -> int | None:
        if most_bytes > self._device_bytes > 0 and most_bytes != MEMORY_UNKNOWN:
            self._junk.add("accounting_memory")
            return None
        return None if most_bytes == MEMORY_UNKNOWN else most_bytes


def _fault(pid: int, start_ns: int, time_ms: int, now_ns: int) -> str:
    """Why a record cannot be true; empty if it can."""
    if not 0 < pid <= MAX_PID:
        return "accounting_pid"
    if start_ns > now_ns + SLACK_NS:
        return "accounting_future"
    if start_ns < -SLACK_NS:
        return "accounting_boot"
    return "accounting_time" if time_ms * 1_000_000 > now_ns - start_ns + SLACK_NS else ""
