"""Bytes of the network namespaces that belong to one workload alone.

A namespace is told by the inode of ``/proc/PID/net/dev``: each has its own, and
the kernel takes it from the same numbers as those of ``/proc/PID/ns/net``
(fs/proc/generic.c, proc_inum_ida). Unlike that link it may be looked at without
CAP_SYS_PTRACE, which the daemon does not have.

The tenant may be root in its namespace: it can make interfaces and traffic of its
own. It can so raise its own numbers, and nobody else's.
"""

import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final
from zlib import crc32

from ...model.consumption import Unknown, Where
from ...model.workload import ProcessId, Workload
from ..attribution.kernel import ProcessGone, ProcessHidden
from ..attribution.procfs import parse_stat, pread
from .files import CannotKnow, read_list, reason_for
from .text import MOST, parse_net_dev

MOST_PROCESSES: Final = 8
"""Of a workload that are asked for their namespace, earliest first: cost grows with workloads, not processes."""
_INIT_PID: Final = 1


@dataclass(frozen=True, slots=True)
class NetworkBytes:
    """``id`` changes with the namespace and with the names of its interfaces."""

    id: str
    received: int
    sent: int


@dataclass(slots=True)
class _Seen:
    """The namespaces of a workload's processes, and what the first of them that lives says."""

    namespaces: set[int] = field(default_factory=set[int])
    told: NetworkBytes | Unknown = Unknown.NO_PROCESS


class Networks:
    def __init__(self, proc: str) -> None:
        self._proc = proc

    def read(self, places: Mapping[Workload, Where]) -> dict[Workload, NetworkBytes | Unknown]:
        """For each workload its bytes, loopback left out, or why they cannot be known. Never raises."""
        host = self._namespace(_INIT_PID)
        if host is None:
            return dict.fromkeys(places, Unknown.NOT_PERMITTED)
        seen = {workload: self._look(where.processes, host) for workload, where in places.items()}
        in_use = Counter(number for each in seen.values() for number in each.namespaces)
        return {workload: _judge(each, in_use) for workload, each in seen.items()}

    def _look(self, processes: Iterable[ProcessId], host: int) -> _Seen:
        seen = _Seen()
        for process in sorted(processes, key=_earlier)[:MOST_PROCESSES]:
            if seen.namespaces:
                namespace = self._namespace(process.pid)
                seen.namespaces |= set() if namespace is None else {namespace}
            else:
                self._ask(process, host, seen)
        return seen

    def _ask(self, process: ProcessId, host: int, seen: _Seen) -> None:
        try:
            namespace, seen.told = self._read_one(process, host)
            seen.namespaces.add(namespace)
        except CannotKnow as error:
            seen.told = error.why

    def _read_one(self, process: ProcessId, host: int) -> tuple[int, NetworkBytes | Unknown]:
        """What is read is of the namespace that the open file belongs to, whatever the process does meanwhile."""
        try:
            file = os.open(self._path(process.pid), os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise CannotKnow(reason_for(error, Unknown.NO_PROCESS)) from None
        try:
            namespace = os.fstat(file).st_ino
            told = Unknown.HOST_NETWORK if namespace == host else _parse(namespace, read_list(file))
        finally:
            os.close(file)
        if not self._is_still(process):
            raise CannotKnow(Unknown.NO_PROCESS)
        return namespace, told

    def _namespace(self, pid: int) -> int | None:
        try:
            return os.stat(self._path(pid)).st_ino  # noqa: PTH116 - half the time of Path.stat()
        except OSError:
            return None

    def _path(self, pid: int) -> str:
        return f"{self._proc}/{pid}/net/dev"

    def _is_still(self, process: ProcessId) -> bool:
        """It is there now with the start we know, so the pid was its own all the time."""
        return read_start_ns(self._proc, process.pid) == process.start_ns


def read_start_ns(proc: str, pid: int) -> int | None:
    """CLOCK_BOOTTIME, true to 10 ms; None if there is no such process, or none to be seen."""
    try:
        file = os.open(f"{proc}/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        return parse_stat(pread(file)).start_ns
    except (ProcessGone, ProcessHidden):
        return None
    finally:
        os.close(file)


def _earlier(process: ProcessId) -> tuple[int, int]:
    return process.start_ns, process.pid


def _parse(namespace: int, raw: bytes) -> NetworkBytes | Unknown:
    interfaces = parse_net_dev(raw)
    if interfaces is None:
        return Unknown.UNREADABLE
    received, sent = sum(each[1] for each in interfaces), sum(each[2] for each in interfaces)
    if max(received, sent) > MOST:
        return Unknown.UNREADABLE
    names = crc32(b"\n".join(each[0] for each in interfaces))
    return NetworkBytes(f"{namespace}:{names:08x}", received, sent)


def _judge(seen: _Seen, in_use: Counter[int]) -> NetworkBytes | Unknown:
    """The bytes of a namespace that is this workload's only one, and only this workload's."""
    if len(seen.namespaces) > 1:
        return Unknown.SEVERAL_NETWORKS
    shared = any(in_use[number] > 1 for number in seen.namespaces)
    return Unknown.SHARED_NETWORK if shared and seen.told is not Unknown.HOST_NETWORK else seen.told
