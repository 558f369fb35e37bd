"""Who is on one device: the three lists of the driver, put together.

The compute list is read at every tick, graphics and MPS seldom. A list is what all
time is metered by, so what is not known of it is never guessed for long.
"""

from . import binding, calls, errors
from .facts import Facts, UnreadableError
from .junk import Junk
from .rows import BadRowError, Groups, grouped, united_groups

RARE_EVERY_TICKS = 10
RARE_EVERY_NS = 15_000_000_000
"""Graphics and MPS lists change seldom. The time is for slow cadences, where ten ticks are long."""
STALE_READS = 2
"""How often in a row such a list may be what it was, because it could not be read."""


class RareList:
    """One list that is asked for now and then."""

    __slots__ = ("fact", "failures", "known")

    def __init__(self, fact: int) -> None:
        self.fact = fact
        self.known: Groups = {}
        self.failures = 0
        """In a row."""

    def read(self, facts: Facts, lists: "ProcessLists") -> None:
        """Boards without graphics or MPS refuse. Raises UnreadableError."""
        if self.fact in facts.refused:
            return
        code, raw = lists.driver.list_rows(facts.handle, self.fact)
        if code:
            self._fail(facts, code)
        else:
            self.known, self.failures = lists.checked(raw), 0

    def _fail(self, facts: Facts, code: int) -> None:
        facts.learn(self.fact, code)
        if self.fact in facts.refused:
            self.known, self.failures = {}, 0
            return
        self.failures += 1
        if errors.sort(code) == errors.GAP or self.failures > STALE_READS:
            raise UnreadableError(code)


class ProcessLists:
    """The lists of one device. ``stagger`` spreads the rare ones, so that no tick is dear."""

    __slots__ = (
        "_changed", "_compute", "_device_bytes", "_here", "_junk", "_rare_due", "_rare_ns", "_raw", "_seldom",
        "_stagger", "driver",
    )  # fmt: skip

    def __init__(self, driver: calls.Driver, device_bytes: int, stagger: int, junk: Junk) -> None:
        self.driver = driver
        self._device_bytes = device_bytes
        self._stagger = stagger
        self._junk = junk
        self._raw: bytes | None = None
        self._compute: Groups = {}
        self._seldom = (RareList(binding.GRAPHICS), RareList(binding.MPS))
        self._rare_due = True
        self._rare_ns = 0
        self._here: Groups = {}
        self._changed = False
        """Since they were put together: another read may fail in between."""

    def read(self, facts: Facts, at_ns: int, tick: int) -> Groups:
        """Who is here, the same object as the last time if the same are. Raises UnreadableError."""
        self._read_compute(facts)
        staggered = (tick + self._stagger) % RARE_EVERY_TICKS == 0
        if self._rare_due or staggered or at_ns - self._rare_ns >= RARE_EVERY_NS:
            self._read_rare(facts, at_ns)
        if self._changed:
            self._changed = False
            self._here = united_groups([self._compute, *(one.known for one in self._seldom)])
        return self._here

    def checked(self, raw: bytes) -> Groups:
        """Raises UnreadableError if the list cannot be true."""
        try:
            return grouped(raw, self._device_bytes)
        except BadRowError as error:
            self._junk.add(error.reason)
            raise UnreadableError(errors.BAD_ROWS) from error

    def _read_compute(self, facts: Facts) -> None:
        code, raw = facts.refused.get(binding.COMPUTE, 0), b""
        if not code:
            code, raw = self.driver.list_rows(facts.handle, binding.COMPUTE)
        if code:
            facts.learn(binding.COMPUTE, code)
            raise UnreadableError(code)
        if raw != self._raw:  # it mostly is what it was
            self._raw = None  # until it is found to be true
            self._compute = self.checked(raw)
            self._raw, self._changed = raw, True

    def _read_rare(self, facts: Facts, at_ns: int) -> None:
        self._rare_due = True  # until all of them were read
        before = [one.known for one in self._seldom]
        for one in self._seldom:
            one.read(facts, self)
        self._rare_ns, self._rare_due = at_ns, any(one.failures for one in self._seldom)
        self._changed = self._changed or before != [one.known for one in self._seldom]
