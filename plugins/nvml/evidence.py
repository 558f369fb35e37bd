"""Whether the driver was loaded anew, as far as a process can know that has just begun.

A daemon that restarts has seen nothing of what happened meanwhile. The kernel has:

- the boot (``boot_id``);
- the inode of ``/sys/module/nvidia``: sysfs gives each directory it makes a number that
  was not used before in this boot (``kernfs_id_ino``, include/linux/kernfs.h), so a module
  that was unloaded and loaded has another;
- the inode of ``/sys/bus/pci/drivers/nvidia/BUS_ID``, the link that is made when the driver
  takes the device: another after an unbind and bind, or a removal and rescan, of one GPU;
- the driver's version, which NVML tells.

What it has not kept is a reset in place (``nvidia-smi --gpu-reset``) while nobody looked:
then only the counter itself can tell, by having fallen.
"""

import hashlib
import os
from pathlib import Path


class Evidence:
    """Reads what the kernel tells below ``sys`` (mostly /sys)."""

    def __init__(self, boot_id: str = "", sys: Path = Path("/sys")) -> None:
        self._boot_id = boot_id
        self._sys = sys

    def module(self) -> int | None:
        """None where there is no such module, as with a simulated driver, or sysfs is not to be seen."""
        return _inode(self._sys / "module" / "nvidia")

    def number(self, bus_id: str, version: str) -> int:
        """The same as long as nothing was loaded anew. ``bus_id`` and ``version`` are as NVML tells them."""
        bound = _inode(self._sys / "bus" / "pci" / "drivers" / "nvidia" / _in_sysfs(bus_id)) if bus_id else None
        told = repr((self._boot_id, version, self.module(), bound))
        return int.from_bytes(hashlib.blake2b(told.encode(), digest_size=6).digest(), "big")


def _inode(path: Path) -> int | None:
    try:
        return os.lstat(path).st_ino
    except OSError:
        return None


def _in_sysfs(bus_id: str) -> str:
    """NVML writes domains with eight digits, sysfs with four, and more only where there are more."""
    domain, _, rest = bus_id.lower().partition(":")
    return f"{domain.lstrip('0').zfill(4)}:{rest}"
