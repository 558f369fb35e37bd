"""Machines of systemd-nspawn, and what else registers with systemd-machined, by name."""

import re

from .shape import Found, Parts, Shape, unescape, unit_after_slices

_SERVICE = re.compile(r"systemd-nspawn@(.+)\.service", re.ASCII)
_SCOPE = re.compile(r"machine-(.+)\.scope", re.ASCII)


def find(parts: Parts) -> Found | None:
    unit, depth = unit_after_slices(parts)
    match = _SERVICE.fullmatch(unit) if depth > 1 else None
    if match is None and parts and parts[0] == "machine.slice":
        match = _SCOPE.fullmatch(unit)
    if match is None:
        return None
    name = unescape(match[1])
    return Found(name, depth, unit=unit, name=name)


SHAPE = Shape("machine", find)
