"""One device as the child sees it: the row of a reply."""

import time

from . import binding, calls, marker
from .accounting import MODE_EVERY_TICKS, Accounting
from .binding import Handle
from .facts import Facts, UnreadableError
from .junk import Junk
from .mig import MigWatch
from .processes import RARE_EVERY_TICKS, ProcessLists
from .rows import NO_INSTANCE, Groups, Holders, united
from .samples import NOTHING, Cursors, Taken

MOST_POWER_MW = 10_000_000
"""10 kW: several times what any board draws."""

OLD_MEMORY = "old_memory"
"""A note for the operator: memory in use is with what the driver reserves for itself."""

Row = list[object]
"""As codec.py describes it."""

_OUTSIDE = (NO_INSTANCE, NO_INSTANCE)
"""Of processes in no MIG instance."""


class WatchedDevice:
    """A device under its index, with its handle. Static facts are read once, by ``identify``."""

    __slots__ = (
        "_accounting", "_bytes", "_cursors", "_driver", "_facts", "_here", "_junk", "_lists", "_marker", "_mig",
        "index",
    )  # fmt: skip

    def __init__(self, index: int, driver: calls.Driver, where: marker.Marker, junk: Junk) -> None:
        self.index = index
        self._driver = driver
        self._marker = where
        self._junk = junk
        self._facts = Facts(driver.handle(index))
        self._bytes = 0
        self._lists = ProcessLists(driver, 0, index, junk)
        self._here: tuple[Groups, Holders] = ({}, {})
        self._cursors = Cursors()
        self._mig = MigWatch(driver, self._facts, junk)
        self._accounting = Accounting(driver.accounting, self._facts, 0, junk)

    @property
    def handle(self) -> Handle:
        return self._facts.handle

    def identify(self, accounting: bool) -> list[object]:
        """What codec.py calls a device. ``accounting``: it is to be switched on. Raises NVMLError."""
        handle = self._facts.handle
        uuid, name, self._bytes = self._driver.identity(handle)
        self._lists = ProcessLists(self._driver, self._bytes, self.index, self._junk)
        self._accounting = Accounting(self._driver.accounting, self._facts, self._bytes, self._junk)
        notes = [] if self._driver.knows_used_memory(handle) else [OLD_MEMORY]
        if accounting and (note := self._accounting.switch_on()):
            notes.append(note)
        return [self.index, uuid, name, self._bytes, self._driver.bus_id(handle), notes]

    def read(self, tick: int) -> Row:
        at_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        self._marker.enter(marker.READ, self.index, at_ns)
        try:
            return self._row(at_ns, tick)
        except UnreadableError as error:
            return [self.index, at_ns, error.code, None, None, None, None, [], [], None]

    def _row(self, at_ns: int, tick: int) -> Row:
        facts, driver = self._facts, self._driver
        here, mig = self._holders(at_ns, tick)
        energy_mj = facts.value(binding.ENERGY, driver.energy_mj)
        power_mw = self._power_mw() if energy_mj is None and binding.ENERGY in facts.refused else None
        utilization = facts.value(binding.UTILIZATION, driver.utilization_percent)
        if utilization is not None and utilization > 100:
            self._junk.add("rate_percent")
            utilization = None
        memory_bytes = self._memory_bytes()
        percent, passed = self._asides(here, at_ns, tick) if mig is None else ({}, [])
        processes: list[int | None] = []
        for pid, used_bytes in here.items():
            processes += (pid, used_bytes, percent.get(pid))
        return [self.index, at_ns, 0, utilization, memory_bytes, energy_mj, power_mw, processes, passed, mig]

    def _holders(self, at_ns: int, tick: int) -> tuple[Holders, list[object] | None]:
        """Who is on it, outside of its MIG instances where it is cut; and what codec.py calls mig.

        That a GPU was cut is seen by what it refuses from then on, by processes in instances, and now and then.
        """
        if self._mig.on or self._facts.learned or (tick + self.index) % RARE_EVERY_TICKS == 0:
            self._look()
        if not self._mig.on:
            groups = self._lists.read(self._facts, at_ns, tick)
            if groups is self._here[0]:
                return self._here[1], None
            self._here = groups, united(groups.values())
            if all(ids == _OUTSIDE for ids in groups):
                return self._here[1], None
            self._look()  # it was cut since
        return self._partitioned(at_ns, tick) if self._mig.on else (self._here[1], None)

    def _look(self) -> None:
        """Whether it is cut. If that is another than before, what was refused may be asked for again."""
        if self._mig.look():
            self._facts.forget()

    def _partitioned(self, at_ns: int, tick: int) -> tuple[Holders, list[object]]:
        """Where the GPU does not tell who is in its instances, they are asked themselves."""
        groups: Groups | None = None
        try:
            groups = self._lists.read(self._facts, at_ns, tick)
        except UnreadableError:
            if binding.COMPUTE not in self._facts.refused:
                raise
        return groups.get(_OUTSIDE, {}) if groups else {}, self._mig.read(groups, at_ns, tick)

    def _power_mw(self) -> int | None:
        """Only of boards without an energy counter."""
        power_mw = self._facts.value(binding.POWER, self._driver.power_mw)
        if power_mw is not None and power_mw > MOST_POWER_MW:
            self._junk.add("power_most")
            return None
        return power_mw

    def _memory_bytes(self) -> int | None:
        facts, driver = self._facts, self._driver
        used_bytes = facts.value(binding.MEMORY, driver.memory_used_bytes)
        if used_bytes is None and binding.MEMORY in facts.refused:
            used_bytes = facts.value(binding.MEMORY_V1, driver.memory_used_bytes_v1)
        if used_bytes is not None and used_bytes > self._bytes > 0:
            self._junk.add("memory_total")
            return None
        return used_bytes

    def _asides(self, here: Holders, at_ns: int, tick: int) -> tuple[dict[int, int], list[list[object]]]:
        """Per cent by pid, and the processes that are in no list, as codec.py describes them."""
        taken, boot_ns = self._samples(here, at_ns), self._cursors.boot_ns
        accounting = self._accounting
        accounted = accounting.read(here, tick) if accounting.on or tick % MODE_EVERY_TICKS == 0 else {}
        if not (taken.stamps_us or accounted):
            return taken.percent, []
        passed: list[list[object]] = []
        for pid, stamps_us in taken.stamps_us.items():
            stamps_ns = [boot_ns(stamp_us) for stamp_us in stamps_us]
            passed.append([pid, stamps_ns, taken.percent[pid], accounted.pop(pid, None)])
        for pid, told in accounted.items():
            passed.append([pid, [], None, told])
        return taken.percent, passed

    def _samples(self, here: Holders, at_ns: int) -> Taken:
        if binding.SAMPLES in self._facts.refused:
            return NOTHING
        code, taken = self._driver.samples(self._facts.handle, self._cursors, at_ns, here, self._junk)
        if taken is None:
            self._facts.learn(binding.SAMPLES, code)
            return NOTHING
        return taken
