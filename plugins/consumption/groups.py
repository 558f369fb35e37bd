"""A workload's group in each hierarchy that counts something of it: v1, v2, or some of both."""

import os
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Final, Self

from ...model.consumption import Unknown
from .files import CannotKnow, reason_for

_FOLDER: Final = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_NO_CHILDREN: Final = 2
"""Links of a folder without folders: its own name and its ``.``; kernfs counts them (fs/kernfs/inode.c)."""


@dataclass(frozen=True, slots=True)
class Hierarchies:
    """Where controllers are mounted: on v1 each in a folder of its own; ``unified`` is v2, if there is any."""

    cpuacct: str | None = None
    memory: str | None = None
    blkio: str | None = None
    unified: str | None = None

    @classmethod
    def find(cls, root: str) -> Self:
        """``ROOT/CONTROLLERS`` on v1, ``ROOT/unified`` beside those, ``ROOT`` itself on v2."""
        folder = Path(root)
        v1 = _v1_mounts(folder)
        unified = next((each for each in (folder / "unified", folder) if (each / "cgroup.controllers").exists()), None)
        return cls(v1.get("cpuacct"), v1.get("memory"), v1.get("blkio"), None if unified is None else str(unified))


def _v1_mounts(folder: Path) -> dict[str, str]:
    """Mount point by controller. Distributions differ in whether ``cpuacct`` is there beside ``cpu,cpuacct``."""
    try:
        mounts = [each for each in folder.iterdir() if (each / "tasks").exists()]
    except OSError:
        return {}
    return {name: str(each) for each in mounts for name in each.name.split(",")}


@dataclass(slots=True)
class Group:
    """One workload's folders, opened as they are asked for.

    An open folder stays that group's even if its path is made anew meanwhile: then
    its files are gone, and no counter of the new one is taken for the old one's.
    """

    boundary: str
    inodes: list[int] = field(default_factory=list[int])
    has_children: bool = False
    _folders: dict[str, int | None] = field(default_factory=dict[str, int | None])

    @property
    def inode(self) -> int | None:
        """The folder's inode; with several hierarchies a number that changes when any of theirs does."""
        if len(self.inodes) < 2:
            return self.inodes[0] if self.inodes else None
        return int.from_bytes(blake2b(repr(self.inodes).encode(), digest_size=7).digest(), "big")

    def folder(self, mount: str | None) -> int | None:
        """The group's folder in this hierarchy, or None. Raises CannotKnow if it may not be opened."""
        if mount is None:
            return None
        if mount not in self._folders:
            self._folders[mount] = self._open(mount + self.boundary)
        return self._folders[mount]

    def close(self) -> None:
        for folder in self._folders.values():
            if folder is not None:
                os.close(folder)

    def _open(self, path: str) -> int | None:
        try:
            folder = os.open(path, _FOLDER)
        except (OSError, ValueError) as error:
            why = reason_for(error, Unknown.NO_GROUP)
            if why is Unknown.NO_GROUP:
                return None
            raise CannotKnow(why) from None
        status = os.fstat(folder)
        self.inodes.append(status.st_ino)
        self.has_children |= status.st_nlink > _NO_CHILDREN
        return folder
