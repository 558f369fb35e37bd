"""What a simulation says of the disk under a log. Everybody else takes it as it is."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Platter:
    """``epoch``: of a log that is made anew; None: random. Without ``flush`` nothing outlives the machine.

    ``child``: a log that was not closed is checked in a process of its own. Whoever makes no damage saves that.
    """

    epoch: bytes | None = None
    flush: bool = True
    child: bool = True


DISK = Platter()
