"""LXC, and what is built on it: Incus, LXD, Proxmox. The container is the workload.

``/lxc.payload.NAME`` (Incus and LXD write PROJECT_NAME unless the project is
the default one), ``/lxc.payload/NAME``, or ``/lxc/NAME``. The container's monitor counts with it.
"""

from .shape import Found, Parts, Shape

_PREFIXES = ("lxc.payload.", "lxc.monitor.")
_FOLDERS = ("lxc", "lxc.payload", "lxc.monitor")


def find(parts: Parts) -> Found | None:
    if not parts:
        return None
    for prefix in _PREFIXES:
        if parts[0].startswith(prefix) and len(parts[0]) > len(prefix):
            return _found(parts[0].removeprefix(prefix), 1)
    return _found(parts[1], 2) if parts[0] in _FOLDERS and len(parts) > 1 else None


def _found(name: str, boundary: int) -> Found:
    return Found(name, boundary, name=name)


SHAPE = Shape("lxc", find)
