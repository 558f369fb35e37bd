"""What procfs says of a process: when it started, where it sits, whose it is.

Times are CLOCK_BOOTTIME. Field 22 of stat is the start in ticks after boot,
shifted by the offset of the *reader's* time namespace, exactly as the reader's
own CLOCK_BOOTTIME is (fs/proc/array.c, timens_add_boottime_ns): the two agree
in any namespace. Never go through btime, which is off by up to half a second.
"""

import os
import re
from pathlib import Path
from typing import Final

from .descriptors import Descriptors
from .kernel import TICK_NS, ProcessGone, ProcessHidden, Stat

_STATE, _FLAGS, _START = 0, 6, 19  # fields 3, 9 and 22 of stat, counted after the name
_EXITING: Final = 0x4  # PF_EXITING of include/linux/sched.h
_FIRST_READ_BYTES: Final = 4096
_MOST_BYTES: Final = 65536
"""A cgroup path has at most 4 KiB and there are about a dozen v1 hierarchies."""
_UID: Final = re.compile(rb"^Uid:\s+([0-9]{1,10})\s", re.MULTILINE)


class ProcFolder:
    """Implements the port ``Processes`` on a mounted procfs, or a folder that is laid out like one.

    That has ``PID/stat``, ``PID/cgroup``, ``PID/status`` and, for several threads, ``PID/task/TID/cgroup``.
    Without ``descriptors`` a grip keeps no file open.
    """

    def __init__(self, root: str, descriptors: Descriptors | None = None) -> None:
        self._root = root
        self._descriptors = descriptors or Descriptors(0)

    def read_stat(self, pid: int) -> Stat:
        return parse_stat(self._read(pid, "stat"))

    def read_cgroup(self, pid: int) -> bytes:
        return self._read(pid, "cgroup")

    def read_thread_cgroup(self, pid: int) -> bytes:
        try:
            threads = (each.name for each in Path(self._root, str(pid), "task").iterdir())
            other = next((tid for tid in threads if tid != str(pid)), None)
            return self._read(pid, f"task/{other}/cgroup") if other else b""
        except (OSError, ProcessGone, ProcessHidden):
            return b""

    def read_uid(self, pid: int) -> int | None:
        match = _UID.search(self._read(pid, "status"))
        return int(match[1]) if match else None

    def grip(self, pid: int, *, vouched: bool) -> "ProcGrip":
        return ProcGrip(self, pid, self._keep(pid, "cgroup"), None if vouched else self._keep(pid, "stat"))

    def release(self, descriptor: int | None) -> None:
        self._descriptors.drop(descriptor)

    def _keep(self, pid: int, name: str) -> int | None:
        try:
            # One that tells of the end is not spare.
            return self._descriptors.keep(self._open(pid, name), spare=name != "stat")
        except (ProcessGone, ProcessHidden):
            return None

    def _open(self, pid: int, name: str) -> int:
        try:
            return os.open(f"{self._root}/{pid}/{name}", os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise translate(error) from error

    def _read(self, pid: int, name: str) -> bytes:
        descriptor = self._open(pid, name)
        try:
            return pread(descriptor)
        finally:
            os.close(descriptor)


class ProcGrip:
    """Implements the port ``Grip`` by descriptors of its files; what there was no room for is read by pid."""

    __slots__ = ("_cgroup", "_folder", "_pid", "_stat")

    def __init__(self, folder: ProcFolder, pid: int, cgroup: int | None, stat: int | None) -> None:
        self._folder, self._pid, self._cgroup, self._stat = folder, pid, cgroup, stat

    def read_stat(self) -> Stat:
        return self._folder.read_stat(self._pid) if self._stat is None else parse_stat(pread(self._stat))

    def read_cgroup(self) -> bytes:
        return self._folder.read_cgroup(self._pid) if self._cgroup is None else pread(self._cgroup)

    def release(self) -> None:
        cgroup, stat, self._cgroup, self._stat = self._cgroup, self._stat, None, None
        self._folder.release(cgroup)
        self._folder.release(stat)


def pread(descriptor: int) -> bytes:
    """The whole of a small file by a kept descriptor: 1.6 µs where open, read and close take 9."""
    try:
        raw = os.pread(descriptor, _FIRST_READ_BYTES, 0)
        return raw if len(raw) < _FIRST_READ_BYTES else os.pread(descriptor, _MOST_BYTES, 0)
    except OSError as error:
        raise translate(error) from error


def translate(error: OSError) -> ProcessGone | ProcessHidden:
    if isinstance(error, FileNotFoundError | ProcessLookupError | NotADirectoryError):
        return ProcessGone(str(error))
    return ProcessHidden(str(error))


def parse_stat(raw: bytes) -> Stat:
    """The name is in parentheses and may hold blanks and parentheses itself: the last one ends it.

    Raises ProcessHidden for what is no stat.
    """
    fields = raw[raw.rfind(b")") + 1 :].split()
    try:
        exiting = fields[_STATE] in (b"Z", b"X") or bool(int(fields[_FLAGS]) & _EXITING)
        return Stat(int(fields[_START]) * TICK_NS, exiting)
    except (IndexError, ValueError) as error:
        raise ProcessHidden(f"not the stat of a process: {raw[:80]!r}") from error
