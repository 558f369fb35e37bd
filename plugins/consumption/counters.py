"""CPU, memory and disk of one group. A controller that v1 has is not in v2: v1 is asked first."""

from collections.abc import Iterable
from typing import Final, NamedTuple, TypeVar

from ...model.consumption import Unknown
from .disks import Disks
from .files import CannotKnow, read_file
from .groups import Group, Hierarchies
from .text import MOST, DeviceBytes, find_value, parse_blkio, parse_io_stat, parse_number

_NS_PER_US: Final = 1000
_RECURSIVE: Final = "blkio.throttle.io_service_bytes_recursive"
_OF_ONE_GROUP: Final = "blkio.throttle.io_service_bytes"

T = TypeVar("T")


class DiskBytes(NamedTuple):
    read: int
    written: int


def read_cpu_us(group: Group, mounts: Hierarchies) -> int:
    """CPU time of the group and all below it since it was made. Raises CannotKnow, as all here do."""
    folder = group.folder(mounts.cpuacct)
    if folder is not None:
        return _known(parse_number(read_file("cpuacct.usage", folder))) // _NS_PER_US
    return _known(find_value(read_file("cpu.stat", _unified(group, mounts)), b"usage_usec"))


def read_memory_bytes(group: Group, mounts: Hierarchies) -> int:
    """The working set, as the kubelet counts it: usage less file pages that could be dropped at once."""
    folder = group.folder(mounts.memory)
    if folder is not None:
        return _working_set(folder, "memory.usage_in_bytes", b"total_inactive_file")
    return _working_set(_unified(group, mounts), "memory.current", b"inactive_file")


def _working_set(folder: int, usage_file: str, inactive_key: bytes) -> int:
    usage = _known(parse_number(read_file(usage_file, folder)))
    inactive = _known(find_value(read_file("memory.stat", folder), inactive_key))
    # Two files at two instants: pages may have come between.
    return max(usage - inactive, 0)


def read_disk_bytes(group: Group, mounts: Hierarchies, disks: Disks) -> DiskBytes:
    """Bytes that reached devices, each counted once. On v1 writes that are not flushed are the root's."""
    folder = group.folder(mounts.blkio)
    if folder is None:
        return _sum(_known(parse_io_stat(read_file("io.stat", _unified(group, mounts)))), disks)
    name, raw = _read_blkio(group, folder)
    if not disks.does_v1_count(f"{mounts.blkio}/{name}"):
        raise CannotKnow(Unknown.CONTROLLER_OFF)
    return _sum(_known(parse_blkio(raw)), disks)


def _read_blkio(group: Group, folder: int) -> tuple[str, bytes]:
    """Before Linux 5.1 there is only the group's own count: all there is, if it has no groups below it."""
    try:
        return _RECURSIVE, read_file(_RECURSIVE, folder)
    except CannotKnow as error:
        if error.why is not Unknown.CONTROLLER_OFF or group.has_children:
            raise
        return _OF_ONE_GROUP, read_file(_OF_ONE_GROUP, folder)


def _sum(moved: Iterable[DeviceBytes], disks: Disks) -> DiskBytes:
    counted = [each for each in moved if disks.is_counted(each[0])]
    total = DiskBytes(sum(each[1] for each in counted), sum(each[2] for each in counted))
    if max(total) > MOST:
        raise CannotKnow(Unknown.UNREADABLE)
    return total


def _unified(group: Group, mounts: Hierarchies) -> int:
    folder = group.folder(mounts.unified)
    if folder is None:
        raise CannotKnow(Unknown.NO_GROUP)
    return folder


def _known(value: T | None) -> T:
    """What was parsed; None means that the text was not what the kernel documents."""
    if value is None:
        raise CannotKnow(Unknown.UNREADABLE)
    return value
