"""Process utilization: asynchronous samples, of which some are junk.

The driver keeps a ring of samples with wall-clock stamps and gives those after a
stamp the caller names. Drivers pad the answer with zeros and return samples of
foreign pids, of the future, and above 100 per cent. So each pid on a device has a
cursor: the stamp of the newest sample taken from it.
"""

import struct
from collections.abc import Collection

SAMPLE = struct.Struct("<I4xQIIII")
"""nvmlProcessUtilizationSample_t: pid, stamp in µs since 1970, sm, memory, encoder, decoder."""

FIRST_LOOK_BACK_US = 1_000_000
LATE_US = 2_000_000
"""How much later than the last look a sample may surface and still be taken."""


class Cursors:
    """The cursors of one device."""

    __slots__ = ("_looked_us", "_seen_us")

    def __init__(self) -> None:
        self._seen_us: dict[int, int] = {}
        self._looked_us = 0

    def ask_from(self, pids: Collection[int], now_us: int) -> int:
        """The stamp after which to ask, so that nothing new of these pids is missed. Never 0.

        Pids that are not among ``pids`` are forgotten. A cursor that the wall clock
        left in the future (it was set back) begins anew.
        """
        looked_us = self._looked_us if 0 < self._looked_us <= now_us else now_us - FIRST_LOOK_BACK_US
        oldest_us = max(1, looked_us - LATE_US)
        cursors: dict[int, int] = {}
        for pid in pids:
            seen_us = self._seen_us.get(pid, looked_us)
            cursors[pid] = max(oldest_us, seen_us if seen_us <= now_us else looked_us)
        self._seen_us = cursors
        self._looked_us = now_us
        return max(1, min(cursors.values(), default=now_us))

    def accept(self, samples: memoryview, count: int, now_us: int) -> dict[int, int]:
        """Per cent of the SMs by pid, from the newest good sample of each among the first ``count``."""
        accepted: dict[int, int] = {}
        cursors = self._seen_us
        for pid, stamp_us, sm_percent, _, _, _ in SAMPLE.iter_unpack(samples[: count * SAMPLE.size]):
            if pid not in cursors or not cursors[pid] < stamp_us <= now_us or sm_percent > 100:
                continue
            cursors[pid] = stamp_us
            accepted[pid] = sm_percent
        return accepted
