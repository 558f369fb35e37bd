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


def holders(rows: bytes, device_bytes: int) -> Holders | None:
    """Who is in a list, or None if one of its rows cannot be true. ``device_bytes`` 0: unknown.

    A pid in several rows (a process in several MIG instances) counts once, with its
    largest memory.
    """
    found: Holders = {}
    for pid, used_bytes, gpu_instance, compute_instance in ROW.iter_unpack(rows):
        if not 0 < pid <= MAX_PID:
            return None
        if gpu_instance > MAX_INSTANCE and gpu_instance != NO_INSTANCE:
            return None
        if compute_instance > MAX_INSTANCE and compute_instance != NO_INSTANCE:
            return None
        if used_bytes > device_bytes > 0 and used_bytes != MEMORY_UNKNOWN:
            return None
        _count_once(found, pid, None if used_bytes == MEMORY_UNKNOWN else used_bytes)
    return found


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
