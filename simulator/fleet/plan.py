"""Who uses what in a simulated fleet: a pure function of a few numbers, so that the truth needs no memory.

Each GPU is held by one tenant's job for half an hour of windows at a time. Three windows in sixteen are
something else: two tenants at once, a job that begins inside the window, a GPU that could not be read for
a while; one in sixteen is idle. That makes one record for each GPU and window, on average.
"""

from dataclasses import dataclass
from typing import Final, NamedTuple

from ...model.interval import NS_PER_S

MODELS: Final = ("NVIDIA H100 80GB HBM3", "NVIDIA A100-SXM4-80GB", "NVIDIA L40S")
"""Hosts have them in turn."""
_JOB_NS: Final = 1_800 * NS_PER_S
_MASK: Final = 2**64 - 1
_IDLE, _SHARED, _BEGINS, _BLIND = 0, 1, 2, 3
_KINDS: Final = 16


class Share(NamedTuple):
    """What one tenant has of one GPU in one window."""

    tenant: int
    allocated_ns: int
    held_ns: int


class Use(NamedTuple):
    """One GPU in one window. Allocated, idle and unobserved time add up to the window."""

    shares: tuple[Share, ...]
    idle_ns: int = 0
    unobserved_ns: int = 0


@dataclass(frozen=True, slots=True)
class FleetPlan:
    """``start_ns`` is ns since 1970, UTC, and the edge of a window; hosts, GPUs and windows count from 0."""

    prefix: str
    hosts: int
    gpus: int
    windows: int
    window_ns: int
    start_ns: int
    tenants: int
    seed: int

    @property
    def end_ns(self) -> int:
        return self.start_ns + self.windows * self.window_ns

    def host_id(self, host: int) -> str:
        return f"{self.prefix}-{host:05d}"

    def device_id(self, host: int, gpu: int) -> str:
        return f"nvidia:GPU-{self.prefix}-{host:05d}-{gpu:02d}"

    def gpu_model(self, host: int) -> str:
        return MODELS[host % len(MODELS)]

    def tenant(self, number: int) -> str:
        """Nobody else's name: a ledger may hold other fleets, and customers."""
        return f"{self.prefix}-tenant-{number:03d}"

    def use(self, host: int, gpu: int, window: int) -> Use:
        length_ns = self.window_ns
        drawn = _mix(self.seed, host, gpu, window)
        job = _mix(self.seed, host, gpu, -1 - window * length_ns // _JOB_NS)
        tenant, part_ns = job % self.tenants, 1 + (drawn >> 8) % (length_ns - 1)
        rest_ns = length_ns - part_ns
        kind = drawn % _KINDS
        if kind == _IDLE:
            return Use((), idle_ns=length_ns)
        if kind == _SHARED and self.tenants > 1:
            # The first alone for a part, then both: the second has half of the rest, the first what is left.
            guest_ns = rest_ns // 2
            guest = Share((tenant + 1) % self.tenants, guest_ns, rest_ns)
            return Use((Share(tenant, length_ns - guest_ns, length_ns), guest))
        if kind == _BEGINS:
            return Use((Share(tenant, rest_ns, rest_ns),), idle_ns=part_ns)
        if kind == _BLIND:
            return Use((Share(tenant, rest_ns, rest_ns),), unobserved_ns=part_ns)
        return Use((Share(tenant, length_ns, length_ns),))


def _mix(*numbers: int) -> int:
    """64 bits that look drawn (splitmix64's finalizer over each number): the same on every machine."""
    state = 0
    for number in numbers:
        state = (state + number + 0x9E3779B97F4A7C15) & _MASK
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK
        state ^= state >> 31
    return state
