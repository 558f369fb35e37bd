"""Within what the energy counter of a device may be compared: its epochs.

A counter may begin anew when the driver is loaded, when the device is reset, and when it
falls off the bus and returns. An epoch's number is what the kernel's evidence gives
(evidence.py), which is the same after a restart of the daemon or of a child, plus how often
this daemon saw the device return or its counter begin anew. After a restart of the daemon
those counts are forgotten: if there were any, the number is another once, and what was
spent meanwhile belongs to nobody. That is the safe side: no energy is ever made up.
"""

from collections.abc import Callable
from dataclasses import dataclass

from ...model.energy import SLACK_MJ, Growth, judge

MOST_MJ = 1 << 62
"""A thousand years of 100 kW: some drivers say all ones for what they do not know."""

Reject = Callable[[str], None]
"""Counts what was not believed, by its reason (junk.py)."""


@dataclass(slots=True)
class Value:
    """A value of the counter, and when it was read."""

    mj: int
    at_ns: int

    def goes_on_to(self, mj: int, at_ns: int) -> bool:
        """Whether a counter that counts what a board can draw could be there by then."""
        return judge(self.mj, mj, at_ns - self.at_ns, same_epoch=True) is Growth.ON


@dataclass(slots=True)
class DeviceEpoch:
    """The epoch of one device, as children tell of it one after the other."""

    base: int = 0
    """By the kernel's evidence."""
    number: int = 0
    """``base``, and how often this daemon saw that the counter may have begun anew."""
    reader: int = 0
    """The youngest child that read the device well."""
    away: bool = False
    """It was lost, or its driver was gone, since it was last read well."""
    last: Value | None = None
    doubted: Value | None = None

    def introduced(self, base: int) -> None:
        """A child has initialised, and this is the evidence then."""
        if base != self.base:
            self.base, self.number = base, self.number - self.base + base
            self.last = self.doubted = None

    def gone(self, child: int) -> None:
        """A child cannot reach it. One that is older than who reads it well is none to tell."""
        if child >= self.reader:
            self.away = True

    def read(self, child: int) -> None:
        """A child read it well."""
        self.reader = max(child, self.reader)
        if self.away:
            self.away = False
            self._begin_anew()

    def energy_mj(self, mj: int | None, at_ns: int, reject: Reject) -> int | None:
        """The value, if it goes on from the last one, or if a second one bears it out.

        A value that does not is held back, counted, and forgotten if the next one goes on
        as before: drivers in trouble tell nonsense once. If the next one goes on from it
        instead, the counter has begun anew.
        """
        if mj is None:
            return None
        if mj > MOST_MJ:
            reject("energy_jump")
            return None
        last = self.last
        if last is not None and 0 <= mj - last.mj <= SLACK_MJ and self.doubted is None:
            last.mj, last.at_ns = mj, at_ns  # as at almost every tick
            return mj
        if last is not None and not last.goes_on_to(mj, at_ns):
            if self.doubted is None or not self.doubted.goes_on_to(mj, at_ns):
                reject("energy_backwards" if mj < last.mj else "energy_jump")
                self.doubted = Value(mj, at_ns)
                return None
            self._begin_anew()
        self.last, self.doubted = Value(mj, at_ns), None
        return mj

    def _begin_anew(self) -> None:
        self.number += 1
        self.last = self.doubted = None
