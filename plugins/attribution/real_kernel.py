"""The kernel this process runs on."""

import time

from .descriptors import Descriptors, raise_descriptor_limit
from .exit_watch import ExitWatch
from .folders import CgroupMounts
from .kernel import Kernel
from .procfs import ProcFolder


def make_kernel(proc: str, cgroup: str) -> Kernel:
    """Procfs and cgroups as mounted there. Raises the soft limit of open files of this process to its hard one."""
    descriptors = Descriptors(raise_descriptor_limit())
    return Kernel(ProcFolder(proc, descriptors), ExitWatch(descriptors, boot_ns), CgroupMounts(cgroup), boot_ns)


def boot_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)
