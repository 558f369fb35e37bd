"""The kernel this process runs on."""

import time

from .connector import ProcessConnector
from .descriptors import Descriptors, raise_descriptor_limit
from .exit_watch import ExitWatch
from .folders import CgroupMounts
from .kernel import Kernel
from .procfs import ProcFolder


def make_kernel(proc: str, cgroup: str, *, process_connector: bool = False) -> Kernel:
    """Procfs and cgroups as mounted there. Raises the soft limit of open files of this process to its hard one.

    Raises ConnectorUnusable where the process connector is wanted and not to be had.
    """
    connector = ProcessConnector() if process_connector else None
    descriptors = Descriptors(raise_descriptor_limit())
    return Kernel(
        processes=ProcFolder(proc, descriptors),
        exits=ExitWatch(descriptors, boot_ns),
        groups=CgroupMounts(cgroup),
        boot_ns=boot_ns,
        happenings=connector,
    )


def boot_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)
