"""Pids that the driver lists and nobody can be found behind: held all the same, by a workload that says why."""

import logging
from typing import Final

from ...model.workload import Holder, Owner, ProcessId, Unattributed
from .folders import Folder
from .place import Place, unknown_workload

_log = logging.getLogger(__name__)

HIDDEN_FOLDER: Final = Folder(Place(unknown_workload(Unattributed.CGROUP_HIDDEN), ""), 0)
HIDDEN_OWNER: Final = Owner(reason=Unattributed.CGROUP_HIDDEN.value)
"""No rule is asked, not even one that matches everything: we do not know what we would match."""


def hold_absent(pid: int, ended_ns: int | None, uncertainty_ns: int) -> Holder:
    """A pid with no process. One that ended left memory behind, from then on; else it was gone before we looked."""
    if ended_ns is None:
        return _hold(ProcessId(pid, 0), Unattributed.PID_VANISHED, uncertainty_ns)
    return _hold(ProcessId(pid, ended_ns), Unattributed.GHOST_MEMORY, uncertainty_ns)


def hold_hidden(pid: int, uncertainty_ns: int) -> Holder:
    """A process that is there and that procfs does not show."""
    return _hold(ProcessId(pid, 0), Unattributed.CGROUP_HIDDEN, uncertainty_ns)


def _hold(process: ProcessId, reason: Unattributed, uncertainty_ns: int) -> Holder:
    return Holder(process, unknown_workload(reason), Owner(reason=reason.value), edge_uncertainty_ns=uncertainty_ns)


class SaidOnce:
    """A warning that would otherwise come with every tick."""

    def __init__(self) -> None:
        self._said = False

    def say(self, why: str) -> None:
        if not self._said:
            self._said = True
            _log.warning(
                "a process that holds a GPU cannot be attributed (%s): run the daemon in the host's pid and "
                "cgroup namespaces, without ProtectProc= or hidepid; said once",
                why,
            )
