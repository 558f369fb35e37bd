"""Which claims hold when, and how those of the strongest class divide a device."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import lcm
from typing import NamedTuple

from .claims import Claim
from .usage import ClaimClass
from .workload import Workload

REST = Workload("rest", "")
"""Stands for the units that nobody claims: idle, or unobserved while nobody looks."""

_STRENGTH = (ClaimClass.SCHEDULER, ClaimClass.LEASE)
NO_CLAIMS: tuple[Claim, ...] = ()


class Stretch(NamedTuple):
    """From ``start_ns`` to ``end_ns`` the same claims hold."""

    start_ns: int
    end_ns: int
    claims: tuple[Claim, ...]


def stretches(old: tuple[Claim, ...], new: tuple[Claim, ...], start_ns: int, end_ns: int) -> list[Stretch]:
    """Cuts [start, end) wherever the strongest claims on a device change.

    ``old`` were told at the start, ``new`` at the end. One that is told no more held until the end,
    for that is when we learned of it. One that is told for the first time holds from its own start
    if that lies in the stretch, otherwise from the end on: nobody is charged for a past that was
    settled without them. One that is told again with another end has had the new end all along.
    """
    if not old and not new:
        return [Stretch(start_ns, end_ns, NO_CLAIMS)]
    spans = list(_spans(old, new, start_ns, end_ns))
    edges = {edge for first_ns, last_ns, _ in spans for edge in (first_ns, last_ns) if start_ns < edge < end_ns}
    cuts = [start_ns, *sorted(edges), end_ns]
    return [Stretch(a, b, strongest([c for f, t, c in spans if f <= a and b <= t])) for a, b in pairwise(cuts)]


def in_force(claims: Sequence[Claim], at_ns: int) -> tuple[Claim, ...]:
    """The strongest of those that hold at an instant."""
    return strongest([c for c in claims if c.start_ns <= at_ns and (c.end_ns is None or at_ns < c.end_ns)])


def strongest(claims: Sequence[Claim]) -> tuple[Claim, ...]:
    """Those of the strongest class among them, in an order that does not depend on who told them."""
    for claim_class in _STRENGTH:
        found = [claim for claim in claims if claim.claim_class is claim_class]
        if found:
            return tuple(sorted(found, key=lambda claim: (claim.workload, claim.of, claim.units)))
    return NO_CLAIMS


def parts_of(claims: Sequence[Claim]) -> tuple[tuple[Workload, int], ...]:
    """Each workload's units on a common measure, and the unclaimed REST.

    Where more is claimed than there is, nothing is left over and everybody gets less, in proportion.
    """
    whole = lcm(*(claim.of for claim in claims))
    units: dict[Workload, int] = {}
    for claim in claims:
        units[claim.workload] = units.get(claim.workload, 0) + claim.units * whole // claim.of
    rest = whole - sum(units.values())
    return tuple(sorted(units.items())) + (((REST, rest),) if rest > 0 else ())


def _spans(
    old: tuple[Claim, ...], new: tuple[Claim, ...], start_ns: int, end_ns: int
) -> Iterator[tuple[int, int, Claim]]:
    told = {_name(claim): claim for claim in new}
    for claim in old:
        latest = told.pop(_name(claim), claim)
        yield claim.start_ns, _end_ns(latest, end_ns), claim
    for claim in told.values():
        first_ns = claim.start_ns if claim.start_ns >= start_ns else end_ns
        yield first_ns, _end_ns(claim, end_ns), claim


def _end_ns(claim: Claim, otherwise_ns: int) -> int:
    return otherwise_ns if claim.end_ns is None else min(claim.end_ns, otherwise_ns)


def _name(claim: Claim) -> tuple[ClaimClass, Workload, int, int]:
    return claim.claim_class, claim.workload, claim.units, claim.of
