"""Nomad: the allocation is the workload, its task's cgroup the boundary.

v2: ``SLICE/[share.slice|reserve.slice]/ALLOC.TASK.scope``, nomad.slice unless
configured. v1: ``/nomad/[share|reserve]/ALLOC.TASK``.
"""

import re

from .shape import Found, Parts, Shape, count_slices, match_first

_ALLOC = r"([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})"
_SCOPE = re.compile(_ALLOC + r"\..+\.scope", re.ASCII)
_FOLDER = re.compile(_ALLOC + r"\..+", re.ASCII)


def find(parts: Parts) -> Found | None:
    slices = count_slices(parts)
    task = match_first(parts, _SCOPE, first=slices, last=slices) if slices else None
    if parts and parts[0] == "nomad":
        task = match_first(parts, _FOLDER, first=1, last=2)
    return Found(task[0][1], task[1]) if task else None


SHAPE = Shape("nomad", find)
