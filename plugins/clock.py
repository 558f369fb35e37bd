"""What the kernel says of this host's clocks: whether the wall clock is synchronised, and how long we were suspended.

adjtimex(2) with no mode set reads and needs no privilege; a sandbox may refuse it all the same
(systemd's ProtectClock=yes and containers' seccomp profiles do), and then nothing is known.
"""

import ctypes
import time
from collections.abc import Callable

from ..model.interval import NS_PER_S
from ..model.usage import ClockState

TIME_ERROR = 5
STA_UNSYNC = 0x0040
"""Both of <sys/timex.h>. The kernel sets STA_UNSYNC at boot, when the clock is set, and when nobody has
disciplined it for so long that it may be off by 16 s (NTP_PHASE_LIMIT); chronyd, ntpd and timesyncd clear it."""

LOOK_EVERY_NS = NS_PER_S
TRIES = 5
TOGETHER_NS = 10_000
"""Readings of two clocks that lie further apart were torn by a preemption: they are taken again."""


class Timex(ctypes.Structure):
    """``struct timex`` of <linux/timex.h> where long has 64 bits, padding included (adjtimex(2))."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        *((name, ctypes.c_long) for name in ("offset", "freq", "maxerror", "esterror")),
        ("status", ctypes.c_int),
        *((name, ctypes.c_long) for name in ("constant", "precision", "tolerance", "sec", "usec")),
        *((name, ctypes.c_long) for name in ("tick", "ppsfreq", "jitter")),
        ("shift", ctypes.c_int),
        *((name, ctypes.c_long) for name in ("stabil", "jitcnt", "calcnt", "errcnt", "stbcnt")),
        ("tai", ctypes.c_int),
        ("reserved", ctypes.c_int * 11),
    )
    status: int


def clock_state() -> ClockState:
    """SYNCED or UNSYNCED as the kernel has it; UNKNOWN where it does not say."""
    told = _TIMEX
    told.modes = 0
    state = -1 if _adjtimex is None else _adjtimex(ctypes.byref(told))
    if state < 0:
        return ClockState.UNKNOWN
    return ClockState.UNSYNCED if state == TIME_ERROR or told.status & STA_UNSYNC else ClockState.SYNCED


def _find_adjtimex() -> Callable[..., int] | None:
    # On a 32-bit system the structure is another one.
    if ctypes.sizeof(ctypes.c_long) != 8:
        return None
    try:
        return ctypes.CDLL(None).adjtimex
    except (OSError, AttributeError):
        return None


_adjtimex = _find_adjtimex()
_TIMEX = Timex()


class HostClock:
    """Both facts, cheap enough for every tick."""

    def __init__(self) -> None:
        self._state = ClockState.UNKNOWN
        self._looked_ns: int | None = None
        self._suspended_ns = 0

    def look(self) -> tuple[ClockState, int]:
        """(state of the wall clock, ns that this boot was suspended). The state is at most a second old."""
        begin_ns, between_ns, end_ns = _three_clocks()
        if self._looked_ns is None or end_ns - self._looked_ns >= LOOK_EVERY_NS:
            self._state, self._looked_ns = clock_state(), end_ns
        # CLOCK_BOOTTIME and CLOCK_MONOTONIC tick alike but for suspends, so that their distance is constant between
        # two of these to the nanosecond; what was known is kept as long as it is possible.
        if not begin_ns - between_ns <= self._suspended_ns <= end_ns - between_ns:
            self._suspended_ns = (begin_ns + end_ns) // 2 - between_ns
        return self._state, self._suspended_ns


def _three_clocks() -> tuple[int, int, int]:
    """CLOCK_BOOTTIME, CLOCK_MONOTONIC and CLOCK_BOOTTIME again, with as little between them as can be had."""
    best = _once()
    for _ in range(TRIES - 1):
        if best[2] - best[0] <= TOGETHER_NS:
            break
        best = min(best, _once(), key=lambda one: one[2] - one[0])
    return best


def _once() -> tuple[int, int, int]:
    begin_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    between_ns = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    return begin_ns, between_ns, time.clock_gettime_ns(time.CLOCK_BOOTTIME)
