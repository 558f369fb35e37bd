"""What each workload has taken of the host so far: read by path, once for each workload, nothing kept between."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeVar

from ...model.consumption import Consumed, Unknown, Where
from ...model.workload import Workload
from ..attribution.shapes.fallback import CGROUP
from .counters import DiskBytes, read_cpu_us, read_disk_bytes, read_memory_bytes
from .disks import Disks
from .files import CannotKnow
from .groups import Group, Hierarchies
from .networks import NetworkBytes, Networks

T = TypeVar("T")


class CgroupConsumption:
    """Implements the port ``Consumption``. Holds no descriptor and remembers no reading.

    ``cgroup``: where cgroup file systems are mounted, looked at once; ``sys``: sysfs,
    asked which disks stand on others.
    """

    def __init__(self, proc: str, cgroup: str, sys: str = "/sys") -> None:
        self._mounts = Hierarchies.find(cgroup)
        self._networks = Networks(proc)
        self._sys = sys

    def read(self, workloads: Mapping[Workload, Where]) -> dict[Workload, Consumed]:
        """Everybody's counters now. Never raises: what cannot be known is None, with its reason.

        All carry the same instant, taken before the first of them was read.
        """
        at_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        networks = self._networks.read(workloads)
        disks, crowded = Disks(self._sys), crowded_boundaries(where.boundary for where in workloads.values())
        return {
            workload: self._read_one(at_ns, workload, where.boundary, networks[workload], disks, crowded)
            for workload, where in workloads.items()
        }

    def _read_one(
        self,
        at_ns: int,
        workload: Workload,
        boundary: str,
        network: NetworkBytes | Unknown,
        disks: Disks,
        crowded: set[str],
    ) -> Consumed:
        why = _no_group_of_its_own(workload, boundary, crowded)
        if why is not None:
            return _consumed(at_ns, None, why, why, why, network)
        group, mounts = Group(boundary), self._mounts
        try:
            cpu = _try(lambda: read_cpu_us(group, mounts))
            memory = _try(lambda: read_memory_bytes(group, mounts))
            disk = _try(lambda: read_disk_bytes(group, mounts, disks))
        finally:
            group.close()
        if group.has_children and _may_hold_strangers(workload, boundary):
            cpu = memory = disk = Unknown.NOT_ALONE
        return _consumed(at_ns, group.inode, cpu, memory, disk, network)


def crowded_boundaries(boundaries: Iterable[str]) -> set[str]:
    """Those that have another inside, or are two workloads': their counters would be of both."""
    count = Counter(boundaries)
    above = {outer for boundary in count for outer in _above(boundary)}
    return {boundary for boundary, times in count.items() if times > 1 or boundary in above}


def _above(boundary: str) -> Iterator[str]:
    end = boundary.rfind("/")
    while end > 0:
        yield boundary[:end]
        end = boundary.rfind("/", 0, end)


def _no_group_of_its_own(workload: Workload, boundary: str, crowded: set[str]) -> Unknown | None:
    if workload.is_host:
        return Unknown.HOST
    if not boundary.startswith("/") or boundary == "/" or "/../" in boundary + "/":
        return Unknown.NO_GROUP
    return Unknown.NOT_ALONE if boundary in crowded else None


def _may_hold_strangers(workload: Workload, boundary: str) -> bool:
    """A process right in ``/a``, where groups ``/a/b`` would be other workloads whether or not they hold a device."""
    return workload.kind == CGROUP and boundary.count("/") == 1


def _try(read: Callable[[], T]) -> T | Unknown:
    try:
        return read()
    except CannotKnow as error:
        return error.why


def _consumed(
    at_ns: int,
    inode: int | None,
    cpu_us: int | Unknown,
    memory_bytes: int | Unknown,
    disk: DiskBytes | Unknown,
    network: NetworkBytes | Unknown,
) -> Consumed:
    parts = {"cpu": cpu_us, "memory": memory_bytes, "io": disk, "network": network}
    moved = None if isinstance(disk, Unknown) else disk
    carried = None if isinstance(network, Unknown) else network
    return Consumed(
        at_ns,
        cpu_us=_number(cpu_us),
        memory_bytes=_number(memory_bytes),
        io_read_bytes=None if moved is None else moved.read,
        io_write_bytes=None if moved is None else moved.written,
        net_rx_bytes=None if carried is None else carried.received,
        net_tx_bytes=None if carried is None else carried.sent,
        group_inode=inode,
        network_id=None if carried is None else carried.id,
        unknown=tuple((part, value) for part, value in parts.items() if isinstance(value, Unknown)),
    )


def _number(value: int | Unknown) -> int | None:
    return None if isinstance(value, Unknown) else value
