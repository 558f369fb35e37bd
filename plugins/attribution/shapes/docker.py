"""Docker: the container is the workload.

systemd driver: ``docker-ID.scope`` in system.slice or in the slice of
``--cgroup-parent``. cgroupfs driver: ``/docker/ID``, or ``ID`` alone in another
parent. Steps of a build have an id of 25 letters and digits; the cgroupfs driver
puts them into ``/docker/buildkit``.
"""

import re

from .shape import CONTAINER_ID, Found, Parts, Shape, match_first, unit_after_slices

_SCOPE = re.compile(r"docker-([0-9a-f]{64}|[0-9a-z]{25})\.scope", re.ASCII)
_BUILD_ID = re.compile(r"[0-9a-z]{25}", re.ASCII)
_DEEPEST_PARENT = 3
_OTHERS = ("libpod_parent", "default", "k8s.io", "moby", "kubepods")
"""Parents with bare ids that are not Docker's: Podman's pods and containerd's namespaces."""


def find(parts: Parts) -> Found | None:
    unit, depth = unit_after_slices(parts)
    if scope := _SCOPE.fullmatch(unit):
        return Found(scope[1], depth)
    return _find_build(parts) or _find_cgroupfs(parts)


def _find_build(parts: Parts) -> Found | None:
    if len(parts) < 3 or parts[0] != "docker" or parts[1] != "buildkit":
        return None
    return Found(parts[2], 3) if _BUILD_ID.fullmatch(parts[2]) else None


def _find_cgroupfs(parts: Parts) -> Found | None:
    if not parts or parts[0] in _OTHERS:
        return None
    container = match_first(parts, CONTAINER_ID, first=1, last=_DEEPEST_PARENT)
    return Found(container[0][0], container[1]) if container else None


SHAPE = Shape("docker", find)
