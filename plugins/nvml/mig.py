"""A GPU in MIG mode: which instances it is cut into.

Layouts change while the daemon runs: instances are destroyed, created, and created again
under the same ids. That is noticed, at little cost,

- by a handle that fails: what it stood for was destroyed. It is left out of that reading,
  whatever is under its index by then, so that everybody sees that it was gone;
- by processes in instances that are not known: all free indices are looked at, at once;
- by looking at the free indices at every second tick, and at every tick at one that is not
  free, for a handle may come to stand for another instance.
"""

from collections import Counter

from . import binding, calls, errors
from .facts import Facts, UnreadableError
from .gpm import Gpm
from .instance import GONE, GoneError, Instance
from .junk import Junk
from .mig_calls import MigCalls, Whole
from .rows import NO_INSTANCE, Groups

FREE_EVERY_TICKS = 2
MOST_INSTANCES = 64
"""Far more than any board can be cut into."""


class MigWatch:
    """The instances of one GPU."""

    __slots__ = (
        "_calls",
        "_driver",
        "_gpm",
        "_gpu",
        "_instances",
        "_junk",
        "_most",
        "_unsettled",
        "_whole",
        "on",
    )

    def __init__(self, driver: calls.Driver, gpu: Facts, junk: Junk) -> None:
        self.on = False
        self._driver = driver
        self._calls = MigCalls(driver.asker)
        self._gpu = gpu
        self._junk = junk
        self._gpm = Gpm(driver.asker, gpu.handle)
        self._whole: Whole | None = None
        self._most = 0
        self._instances: dict[int, Instance] = {}
        """By index."""
        self._unsettled = True
        """All free indices are to be looked at."""

    def look(self) -> bool:
        """Whether the mode is another than the last time. Raises UnreadableError."""
        self._gpu.learned = False
        on = self._gpu.value(binding.MIG_MODE, self._calls.mode)
        if on is None:  # never, on this board; or not now: then it is what it was
            on = self.on and binding.MIG_MODE not in self._gpu.refused
        if bool(on) == self.on:
            return False
        for index in list(self._instances):
            self._drop(index)
        self._whole, self.on = None, bool(on)
        return True

    def read(self, groups: Groups | None, at_ns: int, tick: int) -> list[object]:
        """What codec.py calls ``mig``. ``groups`` None: the GPU does not tell who is in its instances.

        Raises UnreadableError.
        """
        whole = self._measure()
        gone = self._verify(tick)
        rows = self._read_all(list(self._instances), groups, at_ns, tick, gone)
        known = groups or {}
        if self._unsettled or self._strangers(known) or tick % FREE_EVERY_TICKS == 0:
            rows += self._read_all(self._find(whole, gone), groups, at_ns, tick, gone)
        self._unsettled = bool(gone)
        if strangers := self._strangers(known):
            self._junk.add("row_instance", strangers)
        return [whole.compute, whole.memory, rows]

    def _measure(self) -> Whole:
        """How much there is in all. Without that nothing can be shared out: UnreadableError."""
        if self._whole is None:
            try:
                self._most = min(self._calls.most(self._gpu.handle), MOST_INSTANCES)
                self._whole = self._calls.whole(self._gpu.handle)
            except binding.NVMLError as error:
                raise UnreadableError(error.value) from error
            if self._whole is None:
                raise UnreadableError(errors.NOT_SUPPORTED)
            self._unsettled = True
        return self._whole

    def _verify(self, tick: int) -> set[int]:
        """Looks whether one of them still is who it was. The index of one that is not."""
        index = tick % max(self._most, 1)
        instance = self._instances.get(index)
        if instance is None:
            return set()
        try:
            same = self._calls.uuid(instance.part.handle) == instance.part.uuid
        except binding.NVMLError as error:
            same = error.value not in GONE
        if same:
            return set()
        self._drop(index)
        return {index}

    def _read_all(
        self, indices: list[int], groups: Groups | None, at_ns: int, tick: int, gone: set[int]
    ) -> list[list[object]]:
        """Those that are destroyed are dropped, and their indices added to ``gone``."""
        rows: list[list[object]] = []
        shared = Counter(instance.part.ids[0] for instance in self._instances.values())
        for index in indices:
            instance = self._instances[index]
            try:
                rows.append(instance.read(groups, shared[instance.part.ids[0]] == 1, at_ns, tick))
            except GoneError:
                self._drop(index)
                gone.add(index)
        return rows

    def _find(self, whole: Whole, gone: set[int]) -> list[int]:
        """Looks at the free indices, but not at those that are only just free."""
        free = [index for index in range(self._most) if index not in self._instances and index not in gone]
        return [index for index in free if self._open(index, whole)]

    def _open(self, index: int, whole: Whole) -> bool:
        code, handle = self._calls.at(self._gpu.handle, index)
        if code:
            if code not in GONE and errors.sort(code) != errors.PASSING:
                raise UnreadableError(code)
            return False
        try:
            part = self._calls.part(self._gpu.handle, handle, whole)
        except binding.NVMLError as error:
            if error.value in GONE:
                return False  # no sooner found than gone
            raise UnreadableError(error.value) from error
        self._instances[index] = Instance(part, self._driver, self._gpm.activity(part.ids[0]), index, self._junk)
        return True

    def _drop(self, index: int) -> None:
        self._instances.pop(index).close()

    def _strangers(self, groups: Groups) -> int:
        """How many instances that we do not know have processes."""
        known = {instance.part.ids for instance in self._instances.values()}
        gpu_instances = {gpu_instance for gpu_instance, _ in known}
        return sum(
            ids not in known and not (ids[1] == NO_INSTANCE and (ids[0] == NO_INSTANCE or ids[0] in gpu_instances))
            for ids in groups
        )
