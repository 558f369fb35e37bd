"""What a simulation says of the disk under a log. Everybody else takes it as it is."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Platter:
    """``epoch``: of a log that is made anew; None: random. Without ``flush`` nothing outlives the machine."""

    epoch: bytes | None = None
    flush: bool = True


DISK = Platter()
