"""Which block devices count: where bytes end, not where they pass.

The kernel counts a request once at every layer it goes through, so the plain sum over
devices doubles or trebles on LVM, dm-crypt and md (docker's own figures do). A
device that stands on others has them in ``/sys/dev/block/MAJ:MIN/slaves``; a loop
device stands on a file, and since Linux 5.14 the file's disk is charged to the same group.
"""

import os
from typing import Final

from .files import CannotKnow, read_path
from .text import parse_blkio

_LOOP: Final = b"7:"
"""Major number of loop devices (Documentation/admin-guide/devices.txt)."""
MOST_DEVICES: Final = 4096


class Disks:
    """Remembers within one round of readings what it has looked up: make a new one for the next."""

    def __init__(self, sys: str) -> None:
        self._sys = sys
        self._known: dict[bytes, bool] = {}
        self._counting: dict[str, bool] = {}

    def is_counted(self, device: bytes) -> bool:
        """Whether it stands on no other device. One that sysfs does not know is counted."""
        counted = self._known.get(device)
        if counted is None:
            counted = not device.startswith(_LOOP) and not self._stands_on_others(device)
            if len(self._known) < MOST_DEVICES:
                self._known[device] = counted
        return counted

    def does_v1_count(self, root_list: str) -> bool:
        """Whether the kernel counts at all: only then does the root's own list name a disk.

        Since Linux 6.10 a disk is counted on v1 from the first limit that anybody sets on it
        (blk-throttle is made when first configured); until then every group says ``Total 0``.
        """
        counting = self._counting.get(root_list)
        if counting is None:
            try:
                counting = bool(parse_blkio(read_path(root_list)))
            except CannotKnow:
                counting = False
            self._counting[root_list] = counting
        return counting

    def _stands_on_others(self, device: bytes) -> bool:
        try:
            return bool(os.listdir(f"{self._sys}/dev/block/{device.decode()}/slaves"))  # noqa: PTH208 - names suffice
        except (OSError, ValueError):
            return False
