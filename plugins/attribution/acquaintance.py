"""Getting to know a process, and staying sure that it is still the same one."""

from dataclasses import dataclass

from ...model.workload import ProcessId
from .exit_watch import Descriptors, ExitWatch
from .procfs import Identity, ProcessGone, ProcessHidden, ProcFolder, parse_stat, pread

_TRIES = 3


@dataclass(slots=True)
class Acquaintance:
    """A process we know. Its descriptors cannot come to mean another one that gets its pid."""

    process: ProcessId
    cgroup: bytes
    """The text its owner was read from."""
    exiting: bool
    pidfd: int | None
    cgroup_file: int | None
    stat_file: int | None
    """Kept only where there is no pidfd: reading it fails once the process has ended."""


class Doorman:
    """Opens and closes what we hold of each process."""

    def __init__(self, proc: ProcFolder, watch: ExitWatch, descriptors: Descriptors) -> None:
        self._proc = proc
        self._watch = watch
        self._descriptors = descriptors

    def meet(self, pid: int) -> Acquaintance:
        """Raises ProcessGone where nobody has this pid, ProcessHidden where somebody has but cannot be seen."""
        for _ in range(_TRIES):
            pidfd = self._watch.watch(pid)
            identity = self._identify(pid, pidfd)
            # Alive after we looked: all that we read was of the process that the pidfd holds.
            if pidfd is None or identity.exiting or self._watch.is_alive(pidfd):
                return self._acquaint(identity, pidfd)
            self._watch.forget(pidfd)
        raise ProcessGone(f"pid {pid} changes hands faster than it can be read")

    def part(self, known: Acquaintance) -> None:
        """Gives back its descriptors."""
        if known.pidfd is not None:
            self._watch.forget(known.pidfd)
        self._descriptors.drop(known.cgroup_file)
        self._descriptors.drop(known.stat_file)
        known.pidfd = known.cgroup_file = known.stat_file = None

    def is_there(self, known: Acquaintance) -> bool:
        """Whether a process without a pidfd is still the one we met."""
        try:
            if known.stat_file is not None:
                stat = parse_stat(pread(known.stat_file))
            else:
                stat = self._proc.read_stat(known.process.pid)
        except ProcessGone:
            return False
        except ProcessHidden:
            return True
        return stat.start_ns == known.process.start_ns

    def read_cgroup(self, known: Acquaintance) -> bytes:
        if known.cgroup_file is not None:
            return pread(known.cgroup_file)
        return self._proc.read(known.process.pid, "cgroup")

    def identify_again(self, known: Acquaintance) -> Identity:
        """Looks twice once more. Raises ProcessGone if its pid means another process by now."""
        identity = self._proc.identify(known.process.pid)
        if identity.process != known.process:
            raise ProcessGone(f"pid {known.process.pid} is another process now")
        return identity

    def read_uid(self, pid: int) -> int | None:
        try:
            return self._proc.read_uid(pid)
        except (ProcessGone, ProcessHidden):
            return None

    def _identify(self, pid: int, pidfd: int | None) -> Identity:
        try:
            return self._proc.identify(pid)
        except (ProcessGone, ProcessHidden) as error:
            alive = pidfd is not None and self._watch.is_alive(pidfd)
            if pidfd is not None:
                self._watch.forget(pidfd)
            if alive:  # the kernel knows it, procfs does not show it: hidepid
                raise ProcessHidden(str(error)) from error
            raise

    def _acquaint(self, identity: Identity, pidfd: int | None) -> Acquaintance:
        pid = identity.process.pid
        cgroup_file = self._keep(pid, "cgroup", spare=True)
        stat_file = self._keep(pid, "stat", spare=False) if pidfd is None else None
        return Acquaintance(identity.process, identity.cgroup, identity.exiting, pidfd, cgroup_file, stat_file)

    def _keep(self, pid: int, name: str, *, spare: bool) -> int | None:
        try:
            return self._descriptors.keep(self._proc.open(pid, name), spare=spare)
        except (ProcessGone, ProcessHidden):
            return None
