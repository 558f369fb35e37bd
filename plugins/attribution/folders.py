"""The folders behind the paths: which of them is the boundary, and whether only root could have made it.

Shapes judge by names. Where an operator has handed a folder to a tenant by
hand, names in it are the tenant's: so each folder *above* a boundary must
belong to whoever owns the root of the tree, or the tenant's folder is the boundary.
"""

import os
from dataclasses import dataclass, replace
from pathlib import Path

from ...model.workload import Workload
from .cgroup_file import UNIFIED, Seat
from .kernel import Groups, GroupStat
from .place import Place
from .shapes.fallback import CGROUP


@dataclass(frozen=True, slots=True)
class Folder:
    """``inode`` of the boundary's folder; 0: it cannot be had."""

    place: Place
    inode: int


class CgroupMounts:
    """Implements the port ``Groups``: ``ROOT`` on v2, ``ROOT/CONTROLLERS`` on v1, ``ROOT/unified`` beside those."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._unified = f"{root}/unified" if Path(root, "unified").is_dir() else root

    def stat(self, hierarchy: str, path: str) -> GroupStat:
        mount = self._unified if hierarchy == UNIFIED else f"{self._root}/{hierarchy.removeprefix('name=')}"
        status = os.stat(mount + path)  # noqa: PTH116 - a Path takes twice the time, for each part of each new path
        return GroupStat(status.st_uid, status.st_ino)


class CgroupFolders:
    """Judges a seat by the folders it names."""

    def __init__(self, groups: Groups) -> None:
        self._groups = groups

    def inspect(self, seat: Seat) -> Folder:
        """The seat's place as far as its folders bear it out. What is not mounted is not doubted."""
        try:
            return self._walk(seat.place, seat.hierarchy)
        except (OSError, ValueError):
            return Folder(seat.place, 0)

    def _walk(self, place: Place, hierarchy: str) -> Folder:
        trusted_uid = self._groups.stat(hierarchy, "").uid
        above = ""
        for name in place.boundary.split("/")[1:-1]:
            above += f"/{name}"
            group = self._groups.stat(hierarchy, above)
            if group.uid != trusted_uid:
                return Folder(_delegated(place, above), group.inode)
        return Folder(place, self._groups.stat(hierarchy, place.boundary).inode)


def _delegated(place: Place, boundary: str) -> Place:
    return replace(place, workload=Workload(CGROUP, boundary), boundary=boundary, uid=None, unit="", name="")
