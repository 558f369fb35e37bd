"""Getting to know a process, and staying sure that it is still the same one."""

from dataclasses import dataclass

from ...model.workload import ProcessId
from .identity import Identity, identify
from .kernel import Exits, Grip, Processes, ProcessGone, ProcessHidden

_TRIES = 3


@dataclass(slots=True)
class Acquaintance:
    """A process we know. What we hold of it cannot come to mean another one that gets its pid."""

    process: ProcessId
    cgroup: bytes
    """The text its owner was read from."""
    exiting: bool
    watched: int | None
    """Its handle among those whose end we are told of; without one its stat is asked."""
    grip: Grip


class Doorman:
    """Opens and closes what we hold of each process."""

    def __init__(self, processes: Processes, exits: Exits) -> None:
        self._processes = processes
        self._exits = exits

    def meet(self, pid: int) -> Acquaintance:
        """Raises ProcessGone where nobody has this pid, ProcessHidden where somebody has but cannot be seen."""
        for _ in range(_TRIES):
            watched = self._exits.watch(pid)
            identity = self._identify(pid, watched)
            # Alive after we looked: all that we read was of the process that the handle holds.
            if watched is None or identity.exiting or self._exits.is_alive(watched):
                return self._acquaint(identity, watched)
            self._exits.forget(watched)
        raise ProcessGone(f"pid {pid} changes hands faster than it can be read")

    def part(self, known: Acquaintance) -> None:
        """Gives back what we hold of it."""
        if known.watched is not None:
            self._exits.forget(known.watched)
        known.watched = None
        known.grip.release()

    def is_there(self, known: Acquaintance) -> bool:
        """Whether a process that nobody watches is still the one we met."""
        try:
            return known.grip.read_stat().start_ns == known.process.start_ns
        except ProcessGone:
            return False
        except ProcessHidden:
            return True

    def identify_again(self, known: Acquaintance) -> Identity:
        """Looks twice once more. Raises ProcessGone if its pid means another process by now."""
        identity = identify(self._processes, known.process.pid)
        if identity.process != known.process:
            raise ProcessGone(f"pid {known.process.pid} is another process now")
        return identity

    def read_uid(self, pid: int) -> int | None:
        try:
            return self._processes.read_uid(pid)
        except (ProcessGone, ProcessHidden):
            return None

    def _identify(self, pid: int, watched: int | None) -> Identity:
        try:
            return identify(self._processes, pid)
        except (ProcessGone, ProcessHidden) as error:
            alive = watched is not None and self._exits.is_alive(watched)
            if watched is not None:
                self._exits.forget(watched)
            if alive:  # the kernel knows it, procfs does not show it: hidepid
                raise ProcessHidden(str(error)) from error
            raise

    def _acquaint(self, identity: Identity, watched: int | None) -> Acquaintance:
        grip = self._processes.grip(identity.process.pid, vouched=watched is not None)
        return Acquaintance(identity.process, identity.cgroup, identity.exiting, watched, grip)
