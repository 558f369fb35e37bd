"""What workloads take of their host apart from devices, window by window: one row for each, however many GPUs it has.

Counters are read seldom: when a workload is met, once after each window's end, and when it
leaves while its group is still there. What was counted between two readings is spread evenly
over that time, in integers, so that rows end where their windows do. What nobody could
read is None in the row of that time, never 0.
"""

from collections.abc import Container, Mapping
from dataclasses import dataclass, field, fields, replace

from .consumption import Consumed, Increment, Where, increment, join, places_of
from .interval import NS_PER_S, Interval
from .plain import DERIVED
from .replicas import Life, count_replicas, extend, group_of
from .usage import WorkloadWindow
from .window import window_start_ns
from .workload import Holder, Owner, Workload

LONGEST_WINDOWS = 2
"""Windows over which memory in use may be taken to be what it was."""
NO_LONGER_READ = Consumed(0)


@dataclass(slots=True)
class Presence:
    """A workload that holds some device. ``start_ns``: of its open row; ``read_ns``: how far it is accounted for."""

    owner: Owner
    where: Where
    start_ns: int
    read_ns: int
    last: Consumed
    sum: Increment | None = None
    carried_byte_ns: int = 0
    lives: list[Life] = field(default_factory=list[Life])


@dataclass(slots=True)
class WorkloadMeter:
    """All workloads of one boot. Times are CLOCK_BOOTTIME; ``offset_ns`` leads to the wall clock."""

    window_length_ns: int = 60 * NS_PER_S
    offset_ns: int = 0
    window_ns: int | None = None
    """The window that is open."""
    present: dict[Workload, Presence] = field(default_factory=dict[Workload, Presence])
    holders: tuple[Holder, ...] | None = field(default=None, compare=False, metadata=DERIVED)
    """As they were last: while they are the same, nothing is worked out anew."""
    closed: list[WorkloadWindow] = field(default_factory=list[WorkloadWindow])

    def due(
        self, holders: tuple[Holder, ...], now_ns: int, offset_ns: int, everybody: bool = False
    ) -> dict[Workload, Where]:
        """Whose counters are to be read now: all of them once a window, otherwise those that came or left.

        ``everybody``: their rows may end here.
        """
        same_window = self.window_ns == window_start_ns(now_ns + offset_ns, self.window_length_ns)
        if same_window and holders == self.holders and not everybody:
            return {}
        here = places_of(holders)
        if everybody or not same_window:
            return {**{workload: known.where for workload, known in self.present.items()}, **here}
        changed = self.present.keys() ^ here.keys()
        return {workload: here.get(workload) or self.present[workload].where for workload in sorted(changed)}

    def fold(self, held: tuple[Holder, ...], now_ns: int, offset_ns: int, read: Mapping[Workload, Consumed]) -> None:
        """Who holds a device at ``now_ns``, and what was read of those that were due."""
        window_ns = window_start_ns(now_ns + offset_ns, self.window_length_ns)
        if not read and held == self.holders and window_ns == self.window_ns:
            return
        here, owners = places_of(held), {holder.workload: holder.owner for holder in held}
        self.offset_ns = offset_ns
        groups = {group_of(holder) for holder in self.holders or ()}
        for workload in list(self.present):
            self._reach(workload, now_ns, read.get(workload), stays=workload in here, groups=groups)
        for workload in sorted(here.keys() - self.present.keys()):
            first = read.get(workload, NO_LONGER_READ)
            self.present[workload] = Presence(owners[workload], here[workload], now_ns, now_ns, first)
        for holder in held:
            extend(self.present[holder.workload].lives, Life(group_of(holder), now_ns, now_ns))
        for workload, known in self.present.items():
            known.where = here.get(workload, known.where)
            if known.owner != owners.get(workload, known.owner):
                self._close(workload, known, now_ns)
                known.owner = owners[workload]
        self.window_ns, self.holders = window_ns, held

    def change_owners(self, owners: Mapping[Workload, Owner], now_ns: int) -> None:
        """From ``now_ns`` on these answer for the workloads that are there."""
        for workload, known in self.present.items():
            owner = owners.get(workload, known.owner)
            if owner != known.owner:
                self._close(workload, known, now_ns)
                known.owner = owner

    def cut(self) -> None:
        """Open rows end where they are accounted for."""
        for workload, known in self.present.items():
            self._close(workload, known, known.read_ns)

    def take_closed(self) -> tuple[WorkloadWindow, ...]:
        taken, self.closed = tuple(self.closed), []
        return taken

    def _reach(
        self, workload: Workload, now_ns: int, read: Consumed | None, stays: bool, groups: Container[str]
    ) -> None:
        known = self.present[workload]
        known.lives = [life._replace(end_ns=now_ns) if life.group in groups else life for life in known.lives]
        if read is not None or not stays:
            self._add(workload, known, now_ns, read or NO_LONGER_READ)
        if not stays:
            self._close(workload, known, now_ns)
            del self.present[workload]

    def _add(self, workload: Workload, known: Presence, now_ns: int, read: Consumed) -> None:
        """What was taken since the last reading, cut at the edges of windows."""
        if now_ns <= known.read_ns:
            return
        longest_ns = LONGEST_WINDOWS * self.window_length_ns
        told = increment(replace(known.last, at_ns=known.read_ns), replace(read, at_ns=now_ns), longest_ns)
        rest = told or Increment(Interval(known.read_ns, now_ns))
        while (edge_ns := self._edge_ns(rest.boot.start_ns)) < now_ns:
            first, rest = halves(rest, edge_ns)
            known.sum = first if known.sum is None else join(known.sum, first)
            self._close(workload, known, edge_ns)
        known.sum = rest if known.sum is None else join(known.sum, rest)
        known.last, known.read_ns = read, now_ns
        if self._edge_ns(rest.boot.start_ns) == now_ns:
            self._close(workload, known, now_ns)

    def _edge_ns(self, start_ns: int) -> int:
        length_ns = self.window_length_ns
        return window_start_ns(start_ns + self.offset_ns, length_ns) + length_ns - self.offset_ns

    def _close(self, workload: Workload, known: Presence, end_ns: int) -> None:
        if end_ns <= known.start_ns:
            return
        boot = Interval(known.start_ns, end_ns)
        told = known.sum if known.sum is not None and known.sum.boot == boot else Increment(boot)
        whole_byte_ns = None if told.memory_byte_ns is None else told.memory_byte_ns + known.carried_byte_ns
        told = replace(told, memory_byte_ns=whole_byte_ns)
        replicas = count_replicas(known.lives, boot)
        wall_ns = known.start_ns + self.offset_ns
        self.closed.append(
            WorkloadWindow(
                workload=workload,
                owner=known.owner,
                boot=boot,
                wall_start_ns=wall_ns,
                window_start_ns=window_start_ns(wall_ns, self.window_length_ns),
                window_length_ns=self.window_length_ns,
                cpu_us=told.cpu_us,
                memory_byte_ms=told.memory_byte_ms,
                io_read_bytes=told.io_read_bytes,
                io_write_bytes=told.io_write_bytes,
                net_rx_bytes=told.net_rx_bytes,
                net_tx_bytes=told.net_tx_bytes,
                replica_ns=replicas.ns,
                replica_max=replicas.most,
            )
        )
        known.carried_byte_ns, known.start_ns, known.sum = told.carried_byte_ns, end_ns, None
        known.lives = [life for life in known.lives if life.end_ns > end_ns]


def halves(whole: Increment, at_ns: int) -> tuple[Increment, Increment]:
    """An increment as two, cut at an instant inside: each amount in proportion to time, floored in the first."""
    first_ns, length_ns = at_ns - whole.boot.start_ns, whole.boot.length_ns
    first: dict[str, int | None] = {}
    second: dict[str, int | None] = {}
    for each in fields(Increment)[1:]:
        amount: int | None = getattr(whole, each.name)
        first[each.name] = None if amount is None else amount * first_ns // length_ns
        second[each.name] = None if amount is None else amount - amount * first_ns // length_ns
    return (
        Increment(Interval(whole.boot.start_ns, at_ns), **first),
        Increment(Interval(at_ns, whole.boot.end_ns), **second),
    )
