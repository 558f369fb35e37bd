"""One device as the child sees it: what it refused, what it said last, and the row of a reply."""

import time
from collections.abc import Callable

from . import calls, errors, marker
from .rows import Holders, holders, united
from .samples import Cursors

RARE_EVERY_TICKS = 10
RARE_EVERY_NS = 15_000_000_000
"""Graphics and MPS lists change seldom. The time is for slow cadences, where ten ticks are long."""

Row = list[object]
"""As codec.py describes it."""


class UnreadableError(Exception):
    """The device gives no reading this time; ``code`` says why."""

    def __init__(self, code: int) -> None:
        super().__init__(errors.words(code))
        self.code = code


class WatchedDevice:
    """A device under its index, with its handle. Static facts are read once, by ``identify``."""

    __slots__ = (
        "_bytes", "_compute", "_cursors", "_driver", "_handle", "_marker", "_rare", "_rare_ns", "_refused", "index",
    )  # fmt: skip

    def __init__(self, index: int, driver: calls.Driver, where: marker.Marker) -> None:
        self.index = index
        self._driver = driver
        self._marker = where
        self._handle = driver.handle(index)
        self._bytes = 0
        self._cursors = Cursors()
        self._compute: tuple[bytes, Holders] = (b"", {})
        self._rare: Holders = {}
        self._rare_ns = 0
        self._refused: dict[int, int] = {}

    def identify(self) -> list[object]:
        """Index, UUID, name and memory in bytes. Raises NVMLError."""
        uuid, name, self._bytes = self._driver.identity(self._handle)
        return [self.index, uuid, name, self._bytes]

    def read(self, tick: int) -> Row:
        at_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        self._marker.enter(marker.READ, self.index, at_ns)
        try:
            return self._row(at_ns, tick)
        except UnreadableError as error:
            return [self.index, at_ns, error.code, None, None, None, []]

    def _row(self, at_ns: int, tick: int) -> Row:
        compute = self._compute_holders()
        energy_mj = self._value(calls.ENERGY, self._driver.energy_mj)
        utilization = self._value(calls.UTILIZATION, self._driver.utilization_percent)
        memory_bytes = self._memory_bytes()
        if self._rare_is_due(at_ns, tick):
            self._rare = united((self._rare_list(calls.GRAPHICS), self._rare_list(calls.MPS)))
            self._rare_ns = at_ns
        here = united((compute, self._rare)) if self._rare else compute
        percent = self._sm_percent(here) if len(here) > 1 else {}
        processes: list[int | None] = []
        for pid, used_bytes in here.items():
            processes += (pid, used_bytes, percent.get(pid))
        if utilization is not None and utilization > 100:
            utilization = None
        return [self.index, at_ns, 0, utilization, memory_bytes, energy_mj, processes]

    def _rare_is_due(self, at_ns: int, tick: int) -> bool:
        """At first and then every tenth tick, each device at another, so that no tick is dear."""
        staggered = (tick + self.index) % RARE_EVERY_TICKS == 0
        return staggered or at_ns - self._rare_ns >= RARE_EVERY_NS

    def _compute_holders(self) -> Holders:
        """Raises UnreadableError: without the list of processes there is no reading."""
        code, raw = self._refused.get(calls.COMPUTE, 0), b""
        if not code:
            code, raw = self._driver.list_rows(self._handle, calls.COMPUTE)
        if code:
            self._note(calls.COMPUTE, code)
            raise UnreadableError(code)
        if raw != self._compute[0]:  # it mostly is what it was
            self._compute = raw, self._checked(raw)
        return self._compute[1]

    def _checked(self, raw: bytes) -> Holders:
        found = holders(raw, self._bytes)
        if found is None:
            raise UnreadableError(errors.BAD_ROWS)
        return found

    def _rare_list(self, fact: int) -> Holders:
        """Boards without graphics or MPS refuse; a passing failure leaves what was there."""
        if fact in self._refused:
            return {}
        code, raw = self._driver.list_rows(self._handle, fact)
        if errors.condemns_device(code):
            raise UnreadableError(code)
        self._note(fact, code)
        return self._rare if code and fact not in self._refused else self._checked(raw)

    def _value(self, fact: int, ask: Callable[[calls.Handle], tuple[int, int]]) -> int | None:
        """None where the driver does not say: that alone is no gap, unless the device is lost."""
        if fact in self._refused:
            return None
        code, value = ask(self._handle)
        self._note(fact, code)
        if errors.condemns_device(code):
            raise UnreadableError(code)
        return None if code else value

    def _memory_bytes(self) -> int | None:
        used_bytes = self._value(calls.MEMORY, self._driver.memory_used_bytes)
        if used_bytes is None and calls.MEMORY in self._refused:
            used_bytes = self._value(calls.MEMORY_V1, self._driver.memory_used_bytes_v1)
        return None if used_bytes is not None and used_bytes > self._bytes > 0 else used_bytes

    def _sm_percent(self, here: Holders) -> dict[int, int]:
        if calls.SAMPLES in self._refused:
            return {}
        code, percent = self._driver.sm_percent(self._handle, self._cursors, here)
        self._note(calls.SAMPLES, code)
        if errors.condemns_device(code):
            raise UnreadableError(code)
        return percent

    def _note(self, fact: int, code: int) -> None:
        if code in errors.PERMANENT:
            self._refused[fact] = code
