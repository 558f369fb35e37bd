"""What really happened on a rig, and what each tenant must therefore be given. Knows nothing of the meter."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise


@dataclass(frozen=True, slots=True)
class Stay:
    """A process on one device, by the clock of whoever started and ended it (CLOCK_BOOTTIME)."""

    tenant: str
    cgroup: str
    device: str
    start_ns: int
    end_ns: int
    slack_ns: int
    """How far its two edges together may be from the kernel's own."""


def true_shares(stays: Iterable[Stay], device: str) -> dict[str, Fraction]:
    """Nanoseconds of a device's time that each tenant should get, shared equally by cgroup."""
    here = [stay for stay in stays if stay.device == device]
    edges = sorted({edge for stay in here for edge in (stay.start_ns, stay.end_ns)})
    shares = defaultdict[str, Fraction](Fraction)
    for left, right in pairwise(edges):
        holders = {(stay.tenant, stay.cgroup) for stay in here if stay.start_ns <= left and right <= stay.end_ns}
        for tenant, _ in holders:
            shares[tenant] += Fraction(right - left, len(holders))
    return dict(shares)


def slack_ns(stays: Iterable[Stay], device: str) -> int:
    """How far any share of this device may be from ``true_shares`` because edges are known only so well."""
    return sum(stay.slack_ns for stay in stays if stay.device == device)
