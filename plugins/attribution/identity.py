"""Who has a pid, read so that nobody can slip in between."""

from dataclasses import dataclass
from typing import Final

from ...model.workload import ProcessId
from .kernel import Processes, ProcessGone

_TRIES: Final = 3


@dataclass(frozen=True, slots=True)
class Identity:
    """A process and its cgroup text, known to belong together."""

    process: ProcessId
    cgroup: bytes
    exiting: bool


def identify(processes: Processes, pid: int) -> Identity:
    """Looks twice: start, cgroup, start again. Another start means another process; then all over.

    Raises ProcessGone and ProcessHidden.
    """
    before = processes.read_stat(pid)
    for _ in range(_TRIES):
        cgroup = processes.read_cgroup(pid)
        after = processes.read_stat(pid)
        if after.start_ns == before.start_ns:
            if after.exiting:
                # A first thread that has ended while others go on reads as the root on v1:
                # a process could so look like the host's own.
                cgroup = processes.read_thread_cgroup(pid) or cgroup
            return Identity(ProcessId(pid, after.start_ns), cgroup, after.exiting)
        before = after
    raise ProcessGone(f"pid {pid} changes faster than it can be read")
