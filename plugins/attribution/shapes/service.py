"""systemd units of the system: a service, or a scope that no other shape knows.

A unit may be delegated to a user of its own; what lies in it is detail. Two
units hold other people's workloads in a folder each, made by root: Slurm's
scope, and a container manager that was told another cgroup driver than the
kubelet. Those are read by their own shapes.
"""

from .kubernetes import holds_pods
from .shape import Found, Parts, Shape, unit_after_slices
from .slurm import is_scope


def find(parts: Parts) -> Found | None:
    unit, depth = unit_after_slices(parts)
    if not unit.endswith((".service", ".scope")) or is_scope(unit) or holds_pods(unit, parts[depth:]):
        return None
    return Found(unit, depth, unit=unit)


SHAPE = Shape("service", find)
