r"""libvirt: the guest is the workload, by its name, which stays when it is started anew.

``machine-qemu\x2d1\x2dNAME.scope`` in machine.slice or a partition's slice;
without systemd ``/machine/[P.partition/]qemu-1-NAME.libvirt-qemu``; before
1.0.5 ``/libvirt/qemu/NAME``. See https://libvirt.org/cgroups.html
"""

import re

from .shape import Found, Parts, Shape, match_first, unescape, unit_after_slices

_DRIVERS = "qemu|lxc|xen|ch"
_SCOPE = re.compile(rf"machine-(?:{_DRIVERS})-(?:[0-9]{{1,10}}-)?(.+)\.scope", re.ASCII)
_FOLDER = re.compile(rf"(?:(?:{_DRIVERS})-[0-9]{{1,10}}-)?(.+)\.libvirt-(?:{_DRIVERS})", re.ASCII)
_DEEPEST_PARTITION = 4


def find(parts: Parts) -> Found | None:
    if not parts:
        return None
    if parts[0] == "machine.slice":
        return _find_scope(parts)
    if parts[0] == "libvirt" and len(parts) > 2 and parts[1] in _DRIVERS.split("|"):
        return Found(parts[2], 3, name=parts[2])
    return _find_folder(parts)


def _find_scope(parts: Parts) -> Found | None:
    unit, depth = unit_after_slices(parts)
    guest = _SCOPE.fullmatch(unescape(unit))
    return Found(guest[1], depth, unit=unit, name=guest[1]) if guest else None


def _find_folder(parts: Parts) -> Found | None:
    if parts[0] != "machine" and not parts[0].endswith(".partition"):
        return None
    guest = match_first(parts, _FOLDER, first=1, last=_DEEPEST_PARTITION)
    return Found(guest[0][1], guest[1], name=guest[0][1]) if guest else None


SHAPE = Shape("libvirt", find)
