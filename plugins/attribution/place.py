"""From one cgroup path to the workload it stands for."""

from dataclasses import dataclass
from typing import Final

from ...model.workload import Unattributed, Workload
from .shapes import SHAPES, fallback
from .shapes.shape import Found

KINDS: Final = (*(shape.kind for shape in SHAPES), "lease", fallback.CGROUP, fallback.HOST)
"""Every kind that a workload, and so a rule, can have."""

MOST_COMPONENTS: Final = 16
"""No manager puts its boundary deeper; whatever lies beyond is not even looked at."""
_LONGEST_NAME: Final = 255
"""NAME_MAX of the kernel: no cgroup is called anything longer."""


@dataclass(frozen=True, slots=True)
class Place:
    """A workload and what its path tells of it. ``boundary`` is the trusted part of the path."""

    workload: Workload
    boundary: str
    uid: int | None = None
    unit: str = ""
    name: str = ""

    @property
    def names_owner(self) -> bool:
        """Whether a shape knew the path, so that another hierarchy need not be asked."""
        return self.workload.kind not in (fallback.CGROUP, fallback.HOST)


def unknown_workload(reason: Unattributed) -> Workload:
    """The workload of processes whose cgroup cannot be known: one for each reason.

    Such an id cannot be a path's: those of kind cgroup begin with a slash.
    """
    return Workload(fallback.CGROUP, f"?{reason}")


def locate(path: str) -> Place | None:
    """The place that a cgroup path names; None where it must not be trusted at all.

    That is a path outside our own cgroup namespace (``/../...``), and what is
    no path. Costs the same however long the path is. Never raises.
    """
    if not path.startswith("/"):
        return None
    # One piece more than we keep takes the rest of the path, however long, in one step.
    pieces = path.split("/", MOST_COMPONENTS + 1)[: MOST_COMPONENTS + 1]
    parts = [piece[:_LONGEST_NAME] for piece in pieces if piece]
    if parts and parts[0] == "..":
        return None
    return _recognise(parts)


def _recognise(parts: list[str]) -> Place:
    if fallback.is_host(parts):
        return _place(fallback.HOST, fallback.find_host(parts), parts)
    found = [(shape.kind, match) for shape in SHAPES if (match := shape.find(parts))]
    # min() keeps the first of equals: the order of SHAPES decides at the same depth.
    unknown = (fallback.CGROUP, fallback.find_cgroup(parts))
    return _place(*min(found, key=lambda pair: pair[1].boundary, default=unknown), parts)


def _place(kind: str, found: Found, parts: list[str]) -> Place:
    boundary = "/" + "/".join(parts[: found.boundary])
    return Place(Workload(kind, found.id), boundary, found.uid, found.unit, found.name)
