"""Who is on one device: the three lists of the driver, put together.

The compute list is read at every tick, graphics and MPS seldom. A list is what all
time is metered by, so what is not known of it is never guessed for long.
"""

from . import calls, errors
from .facts import Facts, UnreadableError
from .junk import Junk
from .rows import BadRowError, Holders, holders, united

RARE_EVERY_TICKS = 10
RARE_EVERY_NS = 15_000_000_000
"""Graphics and MPS lists change seldom. The time is for slow cadences, where ten ticks are long."""
STALE_READS = 2
"""How often in a row such a list may be what it was, because it could not be read."""


class RareList:
    """One list that is asked for now and then."""

    __slots__ = ("_known", "fact", "failures")

    def __init__(self, fact: int) -> None:
        self.fact = fact
        self._known: Holders = {}
        self.failures = 0
        """In a row."""

    def read(self, facts: Facts, lists: "ProcessLists") -> Holders:
        """Boards without graphics or MPS refuse. Raises UnreadableError."""
        if facts.refused(self.fact):
            return {}
        code, raw = lists.driver.list_rows(facts.handle, self.fact)
        if code:
            self._fail(facts, code)
        else:
            self._known, self.failures = lists.checked(raw), 0
        return self._known

    def _fail(self, facts: Facts, code: int) -> None:
        facts.learn(self.fact, code)
        self.failures += 1
        if facts.refused(self.fact):
            self._known = {}
        elif errors.sort(code) == errors.GAP or self.failures > STALE_READS:
            raise UnreadableError(code)


class ProcessLists:
    """The lists of one device. ``stagger`` spreads the rare ones, so that no tick is dear."""

    __slots__ = ("_compute", "_device_bytes", "_due", "_junk", "_rare", "_rare_ns", "_seldom", "_stagger", "driver")

    def __init__(self, driver: calls.Driver, device_bytes: int, stagger: int, junk: Junk) -> None:
        self.driver = driver
        self._device_bytes = device_bytes
        self._stagger = stagger
        self._junk = junk
        self._compute: tuple[bytes, Holders] = (b"", {})
        self._seldom = (RareList(calls.GRAPHICS), RareList(calls.MPS))
        self._rare: Holders = {}
        self._rare_ns = 0
        self._due = True

    def compute(self, facts: Facts) -> Holders:
        """Raises UnreadableError: without this list there is no reading."""
        code, raw = facts.refused(calls.COMPUTE), b""
        if not code:
            code, raw = self.driver.list_rows(facts.handle, calls.COMPUTE)
        if code:
            facts.learn(calls.COMPUTE, code)
            raise UnreadableError(code)
        if raw != self._compute[0]:  # it mostly is what it was
            self._compute = raw, self.checked(raw)
        return self._compute[1]

    def rare(self, facts: Facts, at_ns: int, tick: int) -> Holders:
        """Graphics and MPS, as they are or were lately. Raises UnreadableError."""
        staggered = (tick + self._stagger) % RARE_EVERY_TICKS == 0
        if self._due or staggered or at_ns - self._rare_ns >= RARE_EVERY_NS:
            self._due = True  # until all of them were read
            self._rare = united([one.read(facts, self) for one in self._seldom])
            self._rare_ns, self._due = at_ns, any(one.failures for one in self._seldom)
        return self._rare

    def checked(self, raw: bytes) -> Holders:
        """Raises UnreadableError if the list cannot be true."""
        try:
            return holders(raw, self._device_bytes)
        except BadRowError as error:
            self._junk.add(error.reason)
            raise UnreadableError(errors.BAD_ROWS) from error
