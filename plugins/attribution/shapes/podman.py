"""Podman with root: the container is the workload; without root it is its user's.

``libpod-ID.scope`` in a slice (a pod has one of its own), ``libpod-ID`` below
``/libpod_parent`` or another parent with the cgroupfs manager, and
``libpod-payload-ID`` where the caller's cgroup was split. A quadlet splits the
cgroup of its unit: the unit is the boundary there, for what is in it may be the
doing of the unit's own user. ``conmon`` watches over a container and is counted with it.
"""

import re

from .shape import Found, Parts, Shape, match_first

_CONTAINER = re.compile(r"libpod-(?:conmon-|payload-)?([0-9a-f]{64})(?:\.scope)?", re.ASCII)
_DEEPEST_PARENT = 4


def find(parts: Parts) -> Found | None:
    container = match_first(parts, _CONTAINER, first=0, last=_DEEPEST_PARENT)
    return Found(container[0][1], container[1]) if container else None


SHAPE = Shape("podman", find)
