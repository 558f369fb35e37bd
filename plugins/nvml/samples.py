"""Process utilization: asynchronous samples, of which some are junk.

The driver keeps a ring of samples with wall-clock stamps and gives those after a
stamp the caller names. Drivers pad the answer with zeros and return samples of
foreign pids, of the future, and above 100 per cent. So each pid on a device has a
cursor: the stamp of the newest sample taken from it, and no sample is taken twice.

A process that no list shows has one as well: it came and went between two looks,
and its samples are the only trace of it.

When the wall clock is set, what was stamped by the old one cannot be placed any
more. So everything begins anew there, and one look gives nothing.
"""

import struct
from collections.abc import Container
from typing import NamedTuple

from .junk import Junk
from .rows import MAX_PID

SAMPLE = struct.Struct("<I4xQIIII")
"""nvmlProcessUtilizationSample_t: pid, stamp in µs since 1970, sm, memory, encoder, decoder."""

FIRST_LOOK_BACK_US = 1_000_000
LATE_US = 2_000_000
"""How much later than the last look a sample may surface and still be taken."""
STEP_US = 100_000
"""A wall clock that moved further than this against the other one was set, not slewed."""
REMEMBER_US = 60_000_000
"""How long samples of before a step are known again: longer than any driver keeps them."""
MAX_CURSORS = 8192
MAX_PASSED = 2048
"""Processes in no list that one look can tell of: more than can start in a second."""


class Taken(NamedTuple):
    """New samples of one look."""

    percent: dict[int, int]
    """Per cent of the SMs, by pid, of each one's newest sample; a pid without a new one is absent."""
    stamps_us: dict[int, list[int]]
    """All new stamps, rising, of those that are in no list."""


NOTHING = Taken({}, {})


class Cursors:
    """The cursors of one device."""

    __slots__ = ("_asked_us", "_floor_us", "_former_us", "_looked_us", "_offset_us", "_oldest_us", "_seen_us")

    def __init__(self) -> None:
        self._seen_us: dict[int, int] = {}
        self._former_us: dict[int, int] = {}
        """The cursors of before the clock was set, to know their samples again."""
        self._looked_us: int = 0
        self._asked_us: int = 0
        self._floor_us: int = 0
        self._offset_us: int = 0
        self._oldest_us: int = 0
        """No cursor is older."""

    def ask_from(self, wall_us: int, boot_us: int) -> int:
        """The stamp after which to ask, so that nothing new is missed. Never 0. Both clocks, read together, are now."""
        offset_us = wall_us - boot_us
        if not self._looked_us:
            self._floor_us, self._looked_us = wall_us - FIRST_LOOK_BACK_US, wall_us
        elif abs(offset_us - self._offset_us) > STEP_US:
            self._former_us, self._seen_us = self._seen_us, {}
            self._floor_us, self._looked_us, self._oldest_us = wall_us, wall_us, 0
        self._offset_us = offset_us
        self._asked_us = max(1, self._floor_us, self._looked_us - LATE_US)
        self._looked_us = wall_us
        self._forget()
        return self._asked_us

    def boot_ns(self, stamp_us: int) -> int:
        """A sample's stamp as CLOCK_BOOTTIME, by what the clocks said when it was asked for."""
        return (stamp_us - self._offset_us) * 1000

    def accept(
        self, rows: memoryview, count: int, now_us: int, listed_us: int, here: Container[int], junk: Junk
    ) -> Taken:
        """The new and true samples among the first ``count``, at ``now_us`` on the wall clock.

        ``here`` are the pids that the device's lists showed at ``listed_us``. Of others,
        what is younger than the lists is left for the next look: it may yet be listed.
        """
        percent: dict[int, int] = {}
        passed: dict[int, list[tuple[int, int]]] = {}
        seen_us, asked_us, former_us = self._seen_us, self._asked_us, self._former_us
        for pid, stamp_us, sm, memory, encoder, decoder in SAMPLE.iter_unpack(rows[: count * SAMPLE.size]):
            new = sm <= 100 and seen_us.get(pid, asked_us) < stamp_us <= now_us
            if new and former_us and former_us.get(pid) == stamp_us:
                continue
            if new and pid in here:
                seen_us[pid], percent[pid] = stamp_us, sm
            elif not (new and _passes(pid, sm, memory, encoder, decoder)):
                self._reject(pid, stamp_us, sm, now_us, junk)
            elif stamp_us <= listed_us:
                passed.setdefault(pid, []).append((stamp_us, sm))
        return Taken(percent, self._note_passed(passed, percent, junk) if passed else {})

    def _note_passed(
        self, passed: dict[int, list[tuple[int, int]]], percent: dict[int, int], junk: Junk
    ) -> dict[int, list[int]]:
        """Rising stamps of the latest that fit."""
        if len(passed) > MAX_PASSED:
            junk.add("sample_crowd", len(passed) - MAX_PASSED)
        for pid, told in passed.items():
            self._seen_us[pid], percent[pid] = max(told)
        kept = sorted(passed, key=lambda pid: self._seen_us[pid])[-MAX_PASSED:]
        return {pid: sorted({stamp_us for stamp_us, _ in passed[pid]}) for pid in kept}

    def _reject(self, pid: int, stamp_us: int, sm: int, now_us: int, junk: Junk) -> None:
        """Counts it, unless it only is one that was taken before."""
        if not 0 < pid <= MAX_PID:
            junk.add("sample_pid" if pid else "sample_zero")
        elif sm > 100:
            junk.add("sample_percent")
        elif stamp_us > now_us:
            junk.add("sample_future")
        elif stamp_us > self._seen_us.get(pid, self._asked_us):
            junk.add("sample_zero")
        elif stamp_us <= self._asked_us and stamp_us != self._seen_us.get(pid):
            junk.add("sample_old")

    def _forget(self) -> None:
        """Cursors before what is asked for guard nothing; of too many the oldest give way, and what they guarded."""
        if self._asked_us > self._oldest_us:
            self._seen_us = {pid: us for pid, us in self._seen_us.items() if us >= self._asked_us}
            self._oldest_us = min(self._seen_us.values(), default=self._asked_us)
        if len(self._seen_us) > MAX_CURSORS:
            floor_us = sorted(self._seen_us.values())[-(MAX_CURSORS // 2)]
            self._floor_us = self._asked_us = floor_us
            self._seen_us = {pid: us for pid, us in self._seen_us.items() if us >= floor_us}
        if self._former_us and self._looked_us > self._floor_us + REMEMBER_US:
            self._former_us = {}


def _passes(pid: int, *percents: int) -> bool:
    """Whether a sample says that a process that no list shows has done something."""
    return 0 < pid <= MAX_PID and any(0 < percent <= 100 for percent in percents)
