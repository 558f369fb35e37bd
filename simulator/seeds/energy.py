"""A GPU's energy counter, as its power over time makes it: exact integers, in millijoules."""

from bisect import bisect_right
from collections.abc import Iterator

from .script import Gpu, Script

_PJ_PER_MJ = 1_000_000_000


class Counter:
    """Of one device. It begins at 0 with the device's first power, long before the script, and at each restart."""

    def __init__(self, gpu: Gpu, script: Script) -> None:
        self._power = gpu.power
        mine = sorted((each.at_ns, each.evident) for each in script.restarts if each.device_id == gpu.device_id)
        self._restarts = [gpu.power[0].at_ns, *(at_ns for at_ns, _ in mine)]
        self._evident = [at_ns for at_ns, evident in mine if evident]
        self._glitches = [each for each in script.glitches if each.device_id == gpu.device_id]
        self._sums = list(_running_sums(gpu))
        self._starts = [power.at_ns for power in gpu.power]

    def read_mj(self, true_ns: int) -> int:
        """What the driver says at this instant."""
        for glitch in self._glitches:
            if glitch.from_ns <= true_ns < glitch.until_ns:
                return glitch.mj
        restart_ns = self._restarts[bisect_right(self._restarts, true_ns) - 1]
        return (self._spent_pj(true_ns) - self._spent_pj(restart_ns)) // _PJ_PER_MJ

    def epoch(self, true_ns: int) -> int:
        """How often the driver has said that it begins anew."""
        return bisect_right(self._evident, true_ns)

    def spent_mj(self, start_ns: int, end_ns: int) -> int:
        """What was truly used, whatever the counter did meanwhile."""
        return (self._spent_pj(end_ns) - self._spent_pj(start_ns)) // _PJ_PER_MJ

    def _spent_pj(self, true_ns: int) -> int:
        """Picojoules (mW times ns) since the first power was set."""
        index = bisect_right(self._starts, true_ns) - 1
        return self._sums[index] + self._power[index].mw * (true_ns - self._starts[index])


def _running_sums(gpu: Gpu) -> Iterator[int]:
    total_pj, last = 0, gpu.power[0]
    for power in gpu.power:
        total_pj += last.mw * (power.at_ns - last.at_ns)
        last = power
        yield total_pj
