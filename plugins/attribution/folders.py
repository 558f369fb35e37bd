"""The folders behind the paths: which of them is the boundary, and whether only root could have made it.

Shapes judge by names. Where an operator has handed a folder to a tenant by
hand, names in it are the tenant's: so each folder *above* a boundary must
belong to whoever owns the root of the tree, or the tenant's folder is the boundary.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from ...model.workload import Workload
from .cgroup_file import UNIFIED, Seat
from .place import Place
from .shapes.fallback import CGROUP


@dataclass(frozen=True, slots=True)
class Folder:
    """``inode`` of the boundary's folder; 0: it cannot be had."""

    place: Place
    inode: int


class CgroupFolders:
    """The mounted cgroup file systems: ``ROOT`` on v2, ``ROOT/CONTROLLERS`` on v1, ``ROOT/unified`` beside those."""

    def __init__(self, root: str) -> None:
        self._root = Path(root)
        self._unified = self._root / "unified" if (self._root / "unified").is_dir() else self._root

    def inspect(self, seat: Seat) -> Folder:
        """The seat's place as far as its folders bear it out. What is not mounted is not doubted."""
        mount = self._mount(seat.hierarchy)
        try:
            return self._walk(seat.place, mount, mount.stat().st_uid)
        except (OSError, ValueError):
            return Folder(seat.place, 0)

    def _mount(self, hierarchy: str) -> Path:
        return self._unified if hierarchy == UNIFIED else self._root / hierarchy.removeprefix("name=")

    def _walk(self, place: Place, mount: Path, trusted_uid: int) -> Folder:
        folder = mount
        for name in place.boundary.split("/")[1:-1]:
            folder /= name
            status = folder.stat()
            if status.st_uid != trusted_uid:
                return Folder(_delegated(place, "/" + str(folder.relative_to(mount))), status.st_ino)
        return Folder(place, Path(f"{mount}{place.boundary}").stat().st_ino)


def _delegated(place: Place, boundary: str) -> Place:
    return replace(place, workload=Workload(CGROUP, boundary), boundary=boundary, uid=None, unit="", name="")
