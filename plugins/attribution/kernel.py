"""All that attribution asks of the kernel, as a port: where a simulation is the kernel, the attributor never knows.

A few small ones - procfs, the ends of processes, the folders of cgroups, and where it was asked for
what happens to processes at all - and a clock. The real ones are procfs.ProcFolder,
exit_watch.ExitWatch, folders.CgroupMounts and connector.ProcessConnector; real_kernel.make_kernel
puts them together. Every time here is CLOCK_BOOTTIME in ns.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, NamedTuple, Protocol

TICK_NS: Final = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
"""How finely the start of a process is known: 10 ms, cut off."""


class ProcessGone(Exception):
    """There is no such process, or no longer the one we meant."""


class ProcessHidden(Exception):
    """There is one, but we may not look: hidepid, ProtectProc=, or a broken read."""


@dataclass(frozen=True, slots=True)
class Stat:
    """``exiting``: on its way out or a zombie. On v1 its cgroups then read as the root."""

    start_ns: int
    exiting: bool


class Exit(NamedTuple):
    """A process that was watched has ended, at ``at_ns`` as exactly as the kernel can tell."""

    pid: int
    at_ns: int


class GroupStat(NamedTuple):
    """The folder of a cgroup: who owns it, and which one it is."""

    uid: int
    inode: int


class Grip(Protocol):
    """One process, held so that it cannot come to mean the next one with its pid. Reads raise as Processes do."""

    def read_stat(self) -> Stat: ...

    def read_cgroup(self) -> bytes: ...

    def release(self) -> None:
        """Gives back what it costs. A second time does nothing."""
        ...


class Processes(Protocol):
    """What can be read of a process by its pid. Raises ProcessGone, or ProcessHidden, where it says nothing else."""

    def read_stat(self, pid: int) -> Stat: ...

    def read_cgroup(self, pid: int) -> bytes:
        """The text of /proc/PID/cgroup."""
        ...

    def read_thread_cgroup(self, pid: int) -> bytes:
        """The same of any thread but the first; empty: there is none. Never raises."""
        ...

    def read_uid(self, pid: int) -> int | None:
        """The real uid, which a set-uid program does not change; None if it is not said."""
        ...

    def grip(self, pid: int, *, vouched: bool) -> Grip:
        """Never raises. ``vouched``: an Exits tells of its end, so its stat will not be asked for."""
        ...


class Exits(Protocol):
    """Noticing that processes end, without asking any of them."""

    def watch(self, pid: int) -> int | None:
        """A handle of the process that has this pid now, a zombie too.

        None where there is none to be had: no such process, or no room. It may
        be dead before it is first looked at: is_alive().
        """
        ...

    def is_alive(self, handle: int) -> bool:
        """Not ended; a zombie has."""
        ...

    def collect(self) -> list[Exit]:
        """Who has ended since the last call. These are no longer watched."""
        ...

    def forget(self, handle: int) -> None:
        """Looks no longer. A second time does nothing."""
        ...

    def fileno(self) -> int:
        """Readable while there are exits that were not collected."""
        ...

    def close(self) -> None: ...


class Groups(Protocol):
    """The mounted cgroup file systems."""

    def stat(self, hierarchy: str, path: str) -> GroupStat:
        """Of the folder at ``path`` in the hierarchy with this list of controllers; v2 is "", and so is its root.

        Raises OSError or ValueError where there is no such folder.
        """
        ...


class Change(IntEnum):
    """What happens to a process; the numbers are those of linux/cn_proc.h."""

    FORK = 1
    EXEC = 2
    EXIT = 0x8000_0000


class Happening(NamedTuple):
    """Something happened to the process with this pid; threads are not told of.

    A FORK names the child. An EXIT is that of the first thread: others may go on a little.
    """

    change: Change
    pid: int
    at_ns: int


class Happenings(Protocol):
    """What happens to all processes of the host, in the order in which it happened."""

    overruns: int
    """How often something was lost for want of room."""

    def collect(self) -> list[Happening]:
        """Since the last call."""
        ...

    def fileno(self) -> int:
        """Readable while there is something to collect."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Kernel:
    """What an attributor is handed."""

    processes: Processes
    exits: Exits
    groups: Groups
    boot_ns: Callable[[], int]
    happenings: Happenings | None = None
    """None: nobody asked to be told."""
