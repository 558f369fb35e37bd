"""Apptainer, once Singularity, started by root with limits: the pid of its start is the id.

By default it has no cgroup of its own: then the user's session or the job it
was started in is billed, as it should be.
"""

import re

from .shape import Found, Parts, Shape, unit_after_slices

_SCOPE = re.compile(r"(?:apptainer|singularity)-([0-9]{1,10})\.scope", re.ASCII)
_PID = re.compile(r"[0-9]{1,10}", re.ASCII)


def find(parts: Parts) -> Found | None:
    unit, depth = unit_after_slices(parts)
    if scope := _SCOPE.fullmatch(unit):
        return Found(scope[1], depth)
    if len(parts) > 1 and parts[0] in ("apptainer", "singularity") and _PID.fullmatch(parts[1]):
        return Found(parts[1], 2)
    return None


SHAPE = Shape("apptainer", find)
