"""Who has a device, whether or not a process uses it."""

from dataclasses import dataclass

from .usage import ClaimClass
from .workload import Owner, Workload


@dataclass(frozen=True, slots=True)
class Claim:
    """Somebody has a device, or some units of it, from ``start_ns`` (in) to ``end_ns`` (out).

    Times are CLOCK_BOOTTIME and may lie before the boot; without an end none is known.
    """

    device_id: str
    claim_class: ClaimClass
    """SCHEDULER or LEASE: what processes hold is no claim."""
    workload: Workload
    owner: Owner
    start_ns: int
    end_ns: int | None = None
    units: int = 1
    of: int = 1
    evidence: str = ""
