"""Pids that a device goes on listing while nobody has them.

The kernel gives such a pid to another process one day, which never touched the
device. So once a pid was listed with nobody behind it, it stays a ghost for as long
as it is listed - unless the driver samples it at work, which no ghost is.
"""

from ...model.reading import DeviceReading, HostReading
from ...model.workload import Holder
from .unknown import hold_absent


class Ghosts:
    """By pid, when its process was seen to end; None: nobody ever saw it."""

    def __init__(self) -> None:
        self._ended: dict[int, int | None] = {}

    def __bool__(self) -> bool:
        return bool(self._ended)

    def note(self, pid: int, ended_ns: int | None, interval_ns: int) -> Holder:
        """Nobody has this pid."""
        self._ended.setdefault(pid, ended_ns)
        return self.hold(pid, interval_ns)

    def hold(self, pid: int, interval_ns: int) -> Holder:
        return hold_absent(pid, self._ended[pid], interval_ns)

    def still(self, reading: HostReading) -> set[int]:
        """Those that nothing in this reading brings to life."""
        at_work = {
            process.pid
            for device in reading.readings
            if isinstance(device, DeviceReading)
            for process in device.processes
            if process.sm_percent
        }
        return self._ended.keys() - at_work

    def leave(self, pid: int) -> None:
        self._ended.pop(pid, None)

    def keep(self, listed: dict[int, int]) -> None:
        """A reading that was whole lists these: of the others nothing is left."""
        self._ended = {pid: ended_ns for pid, ended_ns in self._ended.items() if pid in listed}
