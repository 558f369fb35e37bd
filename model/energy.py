"""What a device's energy is on one scale, whatever the driver tells of it: a counter, or only its power.

A counter counts from the driver's load on. It may begin anew (a load, a reset, a device that fell
off the bus), and a driver in trouble may tell nonsense for a moment: what no board could have spent
is never booked.
"""

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from .interval import NS_PER_S
from .usage import EnergySource

MOST_POWER_MW = 10_000_000
"""10 kW: several times what any board draws. Faster growth is no energy but a counter that jumped."""
SLACK_MJ = 10_000_000
"""A second of that. Counters are updated every 20 to 100 ms, not when we look."""


class Epoch(NamedTuple):
    """Two values of a counter may be compared only within one."""

    source: EnergySource = EnergySource.NONE
    number: int = 0


class Growth(Enum):
    """How a counter that is read again goes with what it was."""

    ON = "on"
    FROM_ZERO = "from zero"
    """It fell, so all that it shows is new."""
    ANEW = "anew"
    """The two values say nothing about the time between: nothing of it is booked."""


def judge(before_mj: int | None, now_mj: int, elapsed_ns: int, same_epoch: bool) -> Growth:
    """What happened to a counter in ``elapsed_ns``."""
    if before_mj is None:
        return Growth.ANEW
    most_mj = MOST_POWER_MW * elapsed_ns // NS_PER_S + SLACK_MJ
    if same_epoch and 0 <= now_mj - before_mj <= most_mj:
        return Growth.ON
    return Growth.FROM_ZERO if now_mj < before_mj and now_mj <= most_mj else Growth.ANEW


@dataclass(slots=True)
class PowerIntegral:
    """Energy of a board without a counter: each power holds until the next reading. ``rest``: mW ns not yet a mJ."""

    total_mj: int = 0
    rest: int = 0

    def add(self, power_mw: int, length_ns: int) -> int:
        """The total after ``length_ns`` more at ``power_mw``."""
        grown, self.rest = divmod(power_mw * length_ns + self.rest, NS_PER_S)
        self.total_mj += grown
        return self.total_mj
