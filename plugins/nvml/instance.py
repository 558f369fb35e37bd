"""One MIG instance as the child sees it: its part of a row."""

from . import calls, errors
from .facts import Facts, UnreadableError
from .gpm import Activity
from .junk import Junk
from .mig_calls import Part
from .processes import ProcessLists
from .rows import NO_INSTANCE, Groups, Holders, united

GONE = frozenset({errors.NOT_FOUND, errors.INVALID_ARGUMENT})
"""What the handle of an instance that was destroyed gives: the header leaves it open."""


class GoneError(Exception):
    """The instance was destroyed."""


class Instance:
    """``number`` spreads what is seldom asked for."""

    __slots__ = ("_activity", "_driver", "_facts", "_junk", "_lists", "part")

    def __init__(self, part: Part, driver: calls.Driver, activity: Activity | None, number: int, junk: Junk) -> None:
        self.part = part
        self._driver = driver
        self._activity = activity
        self._junk = junk
        self._facts = Facts(part.handle)
        self._lists = ProcessLists(driver, part.memory_bytes, number, junk)

    def read(self, groups: Groups | None, alone: bool, at_ns: int, tick: int) -> list[object]:
        """What codec.py calls an instance. ``groups`` None: the GPU does not tell who is in it.

        ``alone``: it has its GPU instance to itself. Raises GoneError; UnreadableError if the GPU itself is lost.
        """
        used_bytes = self._used_bytes()
        code, here = self._holders(groups, alone, at_ns, tick)
        processes: list[int | None] = []
        for pid, memory_bytes in here.items():
            processes += (pid, memory_bytes, None)
        part, percent = self.part, self._percent() if alone else None
        known = [part.uuid, part.name, part.memory_bytes, part.compute, part.memory]
        return [*known, code, percent, used_bytes, processes]

    def close(self) -> None:
        if self._activity is not None:
            self._activity.close()

    def _used_bytes(self) -> int | None:
        code, used_bytes = self._driver.instance_bytes(self.part.handle)
        self._check(code)
        if not code and used_bytes > self.part.memory_bytes > 0:
            self._junk.add("memory_total")
            return None
        return None if code else used_bytes

    def _holders(self, groups: Groups | None, alone: bool, at_ns: int, tick: int) -> tuple[int, Holders]:
        """With the code that says why nobody can tell."""
        if groups is not None:
            return 0, groups.get(self.part.ids) or (
                groups.get((self.part.ids[0], NO_INSTANCE)) if alone else None
            ) or {}
        try:
            return 0, united(self._lists.read(self._facts, at_ns, tick).values())
        except UnreadableError as error:
            self._check(error.code)
            return error.code, {}

    def _check(self, code: int) -> None:
        if code in GONE:
            raise GoneError
        if errors.condemns_device(code):
            raise UnreadableError(code)

    def _percent(self) -> int | None:
        percent = None if self._activity is None else self._activity.percent()
        if percent is not None and percent < 0:
            self._junk.add("rate_percent")
            return None
        return percent
