"""How a path or a living process resolves, for the person who writes the rules."""

import time
from dataclasses import dataclass

from ...model.reading import DeviceReading, HostReading, ProcessOnDevice
from ...model.workload import Owner, Workload
from .attributor import CgroupAttributor
from .cgroup_file import find_seat
from .identity import identify
from .kernel import ProcessGone, ProcessHidden
from .place import locate
from .procfs import ProcFolder
from .rules import RuleSet
from .unknown import HIDDEN_FOLDER, HIDDEN_OWNER


@dataclass(frozen=True, slots=True)
class Explanation:
    """What became of a path. ``boundary`` is the part of it that is trusted; empty: none is."""

    path: str
    workload: Workload
    owner: Owner
    boundary: str
    pid: int | None = None


def explain_path(rules: RuleSet, path: str) -> Explanation:
    """By the path alone: without the process's uid, and without a look at who owns the folders."""
    kept = path.removesuffix(" (deleted)")
    place = locate(kept)
    if place is None:
        return Explanation(path, HIDDEN_FOLDER.place.workload, HIDDEN_OWNER, "")
    return Explanation(path, place.workload, rules.decide(place, None), place.boundary)


def explain_pids(attributor: CgroupAttributor, proc: str, pids: list[int]) -> list[Explanation]:
    """As the daemon would see these processes if they held a device now."""
    now_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    device = DeviceReading("", now_ns, tuple(map(ProcessOnDevice, pids)))
    holders = attributor.attribute(HostReading(now_ns, time.time_ns(), 0, (device,))).holders
    return [
        Explanation(_read_path(proc, pid), holders[pid].workload, holders[pid].owner, holders[pid].boundary, pid)
        for pid in pids
    ]


def _read_path(proc: str, pid: int) -> str:
    """The path that decides; empty where there is none to be seen."""
    try:
        seat = find_seat(identify(ProcFolder(proc), pid).cgroup)
    except (ProcessGone, ProcessHidden):
        return ""
    return seat.path if seat else ""
