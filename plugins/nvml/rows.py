"""The driver's process lists, checked row by row before anybody is billed for them.

Drivers 535.43 to 535.86 made the rows longer without a new version, so that every
row but the first was read from the wrong place: what cannot be true condemns the
whole list.
"""

import struct
from collections.abc import Iterable

ROW = struct.Struct("<I4xQII")
"""nvmlProcessInfo_v2_t, the row of the _v2 and _v3 symbols: pid, bytes, GPU instance, compute instance."""

MAX_PID = 1 << 22
"""The kernel's PID_MAX_LIMIT (include/linux/threads.h)."""

MEMORY_UNKNOWN = (1 << 64) - 1
NO_INSTANCE = (1 << 32) - 1
MAX_INSTANCE = 255

Holders = dict[int, int | None]
"""Memory in bytes by pid; None where the driver does not say."""

Groups = dict[tuple[int, int], Holders]
"""By GPU instance and compute instance; NO_INSTANCE where there are none."""


class BadRowError(Exception):
    """A row cannot be true. ``reason`` is one of those in junk.py."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def grouped(rows: bytes, device_bytes: int) -> Groups:
    """Who is in a list, by instance. ``device_bytes`` 0: unknown. Raises BadRowError if one of its rows cannot be true.

    A pid in several rows of one instance counts once, with its largest memory.
    """
    found: Groups = {}
    for pid, used_bytes, gpu_instance, compute_instance in ROW.iter_unpack(rows):
        check(pid, used_bytes, gpu_instance, compute_instance, device_bytes)
        group = found.setdefault((gpu_instance, compute_instance), {})
        _count_once(group, pid, None if used_bytes == MEMORY_UNKNOWN else used_bytes)
    return found


def check(pid: int, used_bytes: int, gpu_instance: int, compute_instance: int, device_bytes: int) -> None:
    """Raises BadRowError for a row that cannot be true."""
    if not 0 < pid <= MAX_PID:
        raise BadRowError("row_pid")
    if gpu_instance > MAX_INSTANCE and gpu_instance != NO_INSTANCE:
        raise BadRowError("row_instance")
    if compute_instance > MAX_INSTANCE and compute_instance != NO_INSTANCE:
        raise BadRowError("row_instance")
    if used_bytes > device_bytes > 0 and used_bytes != MEMORY_UNKNOWN:
        raise BadRowError("row_memory")


def _count_once(found: Holders, pid: int, used_bytes: int | None) -> None:
    known = found.get(pid)
    if known is None or (used_bytes is not None and used_bytes > known):
        found[pid] = used_bytes


def united(lists: Iterable[Holders]) -> Holders:
    """A process in more than one list counts once, with its largest memory."""
    together: Holders = {}
    for one in lists:
        for pid, used_bytes in one.items():
            _count_once(together, pid, used_bytes)
    return together


def united_groups(lists: Iterable[Groups]) -> Groups:
    """The same, instance by instance."""
    together: Groups = {}
    for one in lists:
        for ids, group in one.items():
            together[ids] = united((together[ids], group)) if ids in together else group
    return together
