"""What was seen of a process that nobody had asked about yet, kept until somebody does."""

from dataclasses import dataclass
from typing import Final

from ...model.workload import ProcessId
from .cgroup_file import Seat, find_seat
from .folders import CgroupFolders, Folder
from .identity import Identity, identify
from .kernel import Kernel, ProcessGone, ProcessHidden
from .rules import RuleSet

_MOST_FOLDERS: Final = 1024
_FOLDER_KEPT_NS: Final = 1_000_000_000
"""Short jobs often come in numbers and share their group."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """All that decides whose a process is, taken while it was there: its folders may go with it.

    ``folder`` None: its cgroup lies outside our namespace. ``uid`` only where a rule could ask for it.
    ``removed``: its group is gone and it outlived it.
    """

    cgroup: bytes
    folder: Folder | None
    uid: int | None = None
    removed: bool = False


class Looker:
    """Looks at processes without keeping anything of them open."""

    def __init__(self, kernel: Kernel, folders: CgroupFolders, rules: RuleSet) -> None:
        self._processes = kernel.processes
        self._boot_ns = kernel.boot_ns
        self._folders = folders
        self._uid_is_asked = "uid" in rules.asked_keys()
        self._inspected: dict[bytes, tuple[Folder | None, int]] = {}

    def change_rules(self, rules: RuleSet) -> None:
        """Uids are read where these ask for them."""
        self._uid_is_asked = "uid" in rules.asked_keys()

    def look(self, pid: int) -> tuple[ProcessId, Sighting] | None:
        """Who has this pid and where it sits. None: nobody, it may not be seen, or it is on its way out."""
        try:
            identity = identify(self._processes, pid)
            seat = find_seat(identity.cgroup)
            folder = self._inspect(identity.cgroup, seat)
            if identity.exiting and (folder is None or folder.place.workload.is_host):
                return None  # on v1 it has lost its groups already
            uid = self._read_uid(identity, folder)
            return identity.process, Sighting(identity.cgroup, folder, uid, seat is not None and seat.deleted)
        except (ProcessGone, ProcessHidden):
            return None

    def still_sits(self, pid: int, seen: Sighting) -> bool:
        """Whether its group is called as it was; also where it cannot be read any more."""
        try:
            return self._processes.read_cgroup(pid) == seen.cgroup
        except (ProcessGone, ProcessHidden):
            return True

    def _inspect(self, cgroup: bytes, seat: Seat | None) -> Folder | None:
        now_ns = self._boot_ns()
        folder, until_ns = self._inspected.get(cgroup, (None, 0))
        if now_ns < until_ns:
            return folder
        folder = self._folders.inspect(seat) if seat is not None else None
        if len(self._inspected) >= _MOST_FOLDERS:
            self._inspected.clear()
        self._inspected[cgroup] = folder, now_ns + _FOLDER_KEPT_NS
        return folder

    def _read_uid(self, identity: Identity, folder: Folder | None) -> int | None:
        """Only where a rule asks for it and the path does not tell."""
        if not self._uid_is_asked or folder is None or folder.place.uid is not None:
            return None
        uid = self._processes.read_uid(identity.process.pid)
        if self._processes.read_stat(identity.process.pid).start_ns != identity.process.start_ns:
            raise ProcessGone(f"pid {identity.process.pid} is another process now")
        return uid
