"""A kernel in memory: processes that a scenario starts, moves and ends on a clock of its own.

Implements the ports of plugins/attribution/kernel.py: where a test hands it to
make_attributor, no process, no cgroup and no clock is real, and every exit has
its exact time.
"""

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from zlib import crc32

from ..plugins.attribution.kernel import (
    TICK_NS,
    Change,
    Exit,
    GroupStat,
    Happening,
    Kernel,
    ProcessGone,
    ProcessHidden,
    Stat,
)


@dataclass(slots=True)
class MemoryProcess:
    """One life of a pid. Reads of it raise as procfs would."""

    pid: int
    start_ns: int
    cgroup: str
    uid: int = 0
    end_ns: int | None = None
    reaped: bool = False
    hidden: bool = False

    def read_stat(self) -> Stat:
        self._refuse()
        return Stat(self.start_ns // TICK_NS * TICK_NS, self.end_ns is not None)

    def read_cgroup(self) -> bytes:
        self._refuse()
        return f"0::{self.cgroup}\n".encode()

    def release(self) -> None:
        """Nothing is held."""

    def _refuse(self) -> None:
        if self.reaped:
            raise ProcessGone(f"pid {self.pid} has ended")
        if self.hidden:
            raise ProcessHidden(f"pid {self.pid} is not shown")


class MemoryHappenings:
    """Implements Happenings: what a scenario did, until it is collected."""

    def __init__(self, room: int) -> None:
        self.overruns = 0
        self._room = room
        self._waiting: list[Happening] = []
        self._ready = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def tell(self, change: Change, pid: int, at_ns: int) -> None:
        if len(self._waiting) < self._room:
            self._waiting.append(Happening(change, pid, at_ns))
            os.eventfd_write(self._ready, 1)
        else:
            self.overruns += 1

    def collect(self) -> list[Happening]:
        with suppress(BlockingIOError):
            os.eventfd_read(self._ready)
        told, self._waiting = self._waiting, []
        return told

    def fileno(self) -> int:
        return self._ready

    def close(self) -> None:
        os.close(self._ready)


class MemoryKernel:
    """Implements Processes, Exits and Groups; ``boot_ns`` is the clock that a scenario turns.

    With ``room`` it tells of everything that happens, so many things at most before they are collected.
    """

    def __init__(self, boot_ns: Callable[[], int], *, room: int = 0) -> None:
        self.boot_ns = boot_ns
        self.happenings = MemoryHappenings(room) if room else None
        self.processes: dict[int, MemoryProcess] = {}
        """By pid: who has it now, zombies too."""
        self.folders: dict[str, GroupStat] = {}
        """By path, where a scenario says more than that every folder is there and is root's."""
        self._watched: dict[int, MemoryProcess] = {}
        self._told: set[int] = set()
        self._next_handle = 1
        self._ready = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def as_kernel(self) -> Kernel:
        """What make_attributor takes."""
        return Kernel(processes=self, exits=self, groups=self, boot_ns=self.boot_ns, happenings=self.happenings)

    def start(self, pid: int, cgroup: str, *, uid: int = 0) -> MemoryProcess:
        """Begins now; its pid must be free."""
        holder = self.processes.get(pid)
        assert holder is None or holder.reaped, f"pid {pid} is taken"
        process = self.processes[pid] = MemoryProcess(pid, self.boot_ns(), cgroup, uid)
        self._tell(Change.FORK, pid, process.start_ns)
        return process

    def become_program(self, pid: int) -> None:
        """It calls exec now."""
        self._tell(Change.EXEC, pid, self.boot_ns())

    def end(self, pid: int, *, at_ns: int | None = None, reaped: bool = True) -> None:
        """Ends now, or at an instant that has passed; without a parent to reap it, it stays as a zombie."""
        process = self.processes[pid]
        process.end_ns = self.boot_ns() if at_ns is None else at_ns
        process.reaped = reaped
        self._tell(Change.EXIT, pid, process.end_ns)
        if any(each is process for each in self._watched.values()):
            os.eventfd_write(self._ready, 1)

    def stat(self, hierarchy: str, path: str) -> GroupStat:
        return self.folders.get(path) or GroupStat(uid=0, inode=crc32(path.encode()))

    def read_stat(self, pid: int) -> Stat:
        return self._find(pid).read_stat()

    def read_cgroup(self, pid: int) -> bytes:
        return self._find(pid).read_cgroup()

    def read_thread_cgroup(self, pid: int) -> bytes:
        return b""

    def read_uid(self, pid: int) -> int | None:
        return self._find(pid).uid

    def grip(self, pid: int, *, vouched: bool) -> MemoryProcess:
        return self.processes.get(pid) or MemoryProcess(pid, 0, "", reaped=True)

    def watch(self, pid: int) -> int | None:
        process = self.processes.get(pid)
        if process is None or process.reaped:
            return None
        handle = self._next_handle
        self._next_handle += 1
        self._watched[handle] = process
        return handle

    def is_alive(self, handle: int) -> bool:
        return self._watched[handle].end_ns is None

    def collect(self) -> list[Exit]:
        with suppress(BlockingIOError):
            os.eventfd_read(self._ready)
        exits = {
            handle: Exit(each.pid, each.end_ns) for handle, each in self._watched.items() if each.end_ns is not None
        }
        for handle in exits:
            self.forget(handle)
        return list(exits.values())

    def forget(self, handle: int) -> None:
        self._watched.pop(handle, None)

    def fileno(self) -> int:
        return self._ready

    def close(self) -> None:
        self._watched.clear()
        os.close(self._ready)

    def _tell(self, change: Change, pid: int, at_ns: int) -> None:
        if self.happenings is not None:
            self.happenings.tell(change, pid, at_ns)

    def _find(self, pid: int) -> MemoryProcess:
        process = self.processes.get(pid)
        if process is None:
            raise ProcessGone(f"nobody has pid {pid}")
        return process
