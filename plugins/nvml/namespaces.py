"""Whether the pids that NVML tells are those that /proc tells."""

import os
from pathlib import Path

_INITIAL = {"pid": 0xEFFFFFFC, "cgroup": 0xEFFFFFFB}
"""Inodes of the initial namespaces: PROC_PID_INIT_INO and PROC_CGROUP_INIT_INO in include/linux/proc_ns.h."""


def check_namespaces(proc: str = "/proc") -> str | None:
    """Why the host's pids and cgroups cannot be trusted from here; None if they can.

    NVML names processes by the pids of the initial namespace. Anywhere else they are
    other processes or none, and nobody may be billed by them. Only reports: what
    follows from it is the daemon's decision.
    """
    for kind, inode in _INITIAL.items():
        path = Path(proc, "self", "ns", kind)
        try:
            found = os.readlink(path)  # noqa: PTH115 - Path.readlink would take "pid:[...]" for a path
        except OSError as error:
            return f"{path}: {error.strerror}; cannot tell whether this is the host's {kind} namespace"
        if found != f"{kind}:[{inode}]":
            return (
                f"{path} is {found}, not the host's ({inode}): "
                f"run the daemon in the host's {kind} namespace (containers: --pid=host, --cgroupns=host)"
            )
    return None
