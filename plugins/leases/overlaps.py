"""Leases that cannot all be kept: more of a device than there is, at one time."""

from collections.abc import Iterator, Sequence
from fractions import Fraction

from .lease import ALL, Lease, show_ns


def find_conflicts(leases: Sequence[Lease]) -> Iterator[tuple[Lease, str]]:
    """(lease, what is wrong and how to cure it), at most once for each lease.

    Too much is claimed at some time only if it is at the start of some lease. ``"*"``
    is any device. That an instance of MIG is part of a GPU cannot be seen here.
    """
    present: dict[str, list[Lease]] = {ALL: []}
    for lease in sorted(leases, key=lambda lease: lease.from_ns):
        for name, others in present.items():
            present[name] = [other for other in others if other.lasts_beyond(lease.from_ns)]
        conflict = next(filter(None, (_conflict(lease, name, present) for name in _where(lease, present))), None)
        if conflict is not None:
            yield lease, conflict
        for name in lease.devices:
            present.setdefault(name, []).append(lease)


def _where(lease: Lease, present: dict[str, list[Lease]]) -> Sequence[str]:
    return list(present) if ALL in lease.devices else lease.devices


def _conflict(lease: Lease, name: str, present: dict[str, list[Lease]]) -> str | None:
    others = present.get(name, []) + (present[ALL] if name != ALL else [])
    if not others:
        return None
    who = ", ".join(other.id for other in others[:5]) + (f" and {len(others) - 5} more" if len(others) > 5 else "")
    device = "every device" if name == ALL else name
    when = f"{device}, from {show_ns(lease.from_ns)}, is also leased by {who}"
    if any(other.of != lease.of for other in others):
        return f"{when}, which divide it otherwise: write the same of in each"
    if sum(Fraction(each.units, each.of) for each in [lease, *others]) > 1:
        units = sum(each.units for each in [lease, *others])
        return f"{when}: {units} units of {lease.of} in all; end one before the other begins, or give each fewer units"
    return None
