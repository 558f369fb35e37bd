"""The answer of GET /v1/leases/usage: allocation that stands in a lease kept here, metered by a daemon or not.

A leased GPU is its tenant's all the time, so a lease's GPU-time is its GPUs times its time. What of it is in usage
records too is told beside it, so that nobody counts it twice: usage + lease_only is what the tenant had.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Final, NamedTuple

from ..model.decisions import LeaseSet
from ..model.reserving import Held, Right, waterfall
from ..model.usage import ClaimClass
from ..storage.projection_completeness import completeness
from ..storage.projection_decisions import decided_in_force
from ..storage.projection_reader import Snapshot
from ..storage.projection_slices import fractions
from ..storage.projection_spans import allocated_spans
from ..storage.usage_query import Scope
from .asked_range import bounded, header, shown
from .completeness import describe
from .instants import format_instant

Json = dict[str, Any]
_KEYS: Final = ("tenant", "host_id", "coalesce(parent_id, device_id)", "gpu_model", "claim")
_ANY_NUMBER: Final = 2**32


class Metered(NamedTuple):
    """Time that a record says was somebody's, on a device or an instance of it."""

    tenant: str
    host_id: str
    device_id: str
    gpu_model: str
    claim: str
    start_ns: int
    end_ns: int
    amount: int

    @property
    def held(self) -> Held:
        return Held(self.start_ns, self.end_ns, self.amount)


@dataclass(frozen=True, slots=True)
class LeaseUse:
    """In ns. ``others_ns`` None: the lease names no devices, so nobody else's are known to be its."""

    lease: LeaseSet
    leased_ns: int
    metered_ns: int
    claimed_ns: int
    others_ns: int | None

    @property
    def lease_only_ns(self) -> int:
        return self.leased_ns - self.metered_ns


def answer_leases(scope: Scope, seen: Snapshot, page: tuple[int, int], scale: int, *, alone: bool) -> Json:
    """``alone``: whoever asks is a tenant, and is told nothing of others. Raises BadParameter."""
    uses = list(lease_uses(scope, seen))
    offset, limit = page
    return {
        **header(scope),
        "unit": "GPU-Hours",
        "offset": offset,
        "limit": limit,
        "total_count": len(uses),
        "completeness": describe(scope.span.end_ns, completeness(seen, scope)),
        "rounding": {"mode": "half_up", "scale": scale, "stage": "total"},
        "items": [_item(use, scope, scale, alone) for use in uses[offset : offset + limit]],
        "totals_by_gpu_model": _totals(uses, "gpu_model", scale),
        "totals_by_org": _totals(uses, "tenant", scale),
    }


def lease_uses(scope: Scope, seen: Snapshot) -> Iterator[LeaseUse]:
    """Of every lease that touches the range, in the order of the log within its pool. Raises BadParameter."""
    leases = _leases(scope, seen)
    if not leases:
        return
    slices = fractions(seen)
    hosts = sorted({lease.host_id for lease in leases})
    where = "host_id IN (SELECT unnest(?::VARCHAR[]))"
    rows = bounded(lambda: allocated_spans(seen, scope, slices, _KEYS, where, [hosts]))
    by_host: defaultdict[str, list[Metered]] = defaultdict(list)
    for row in rows:
        by_host[row[1]].append(Metered(*row))
    for pool in _pools(leases):
        yield from _of_pool(pool, _named_elsewhere(pool, leases), by_host[pool[0].host_id], scope, slices.parts)


def _leases(scope: Scope, seen: Snapshot) -> list[LeaseSet]:
    found = (stored.what for stored in decided_in_force(seen, LeaseSet, scope.as_of))
    return [
        lease
        for lease in found
        if lease.from_ns < scope.span.end_ns
        and (lease.to_ns is None or lease.to_ns > scope.span.start_ns)
        and scope.tenant in (None, lease.tenant)
    ]


def _pools(leases: Sequence[LeaseSet]) -> Iterator[list[LeaseSet]]:
    """Leases that say only how many GPUs of a host, of one tenant and model, share what is metered of them."""
    pools: defaultdict[tuple[Any, ...], list[LeaseSet]] = defaultdict(list)
    for lease in leases:
        alone = lease.id if lease.device_ids else None
        pools[lease.tenant, lease.host_id, lease.gpu_model, alone].append(lease)
    yield from pools.values()


def _named_elsewhere(pool: Sequence[LeaseSet], leases: Sequence[LeaseSet]) -> set[str]:
    """Devices of the host that the tenant has by leases that name them, and so by no lease that names none."""
    whose = pool[0].tenant, pool[0].host_id
    return {device for lease in leases if (lease.tenant, lease.host_id) == whose for device in lease.device_ids}


def _of_pool(
    pool: Sequence[LeaseSet], elsewhere: set[str], metered: Sequence[Metered], scope: Scope, parts: int
) -> Iterator[LeaseUse]:
    first = pool[0]
    on_it = [each for each in metered if _is_of(first, elsewhere, each)]
    mine = [each for each in on_it if each.tenant == first.tenant]
    rights = [_right(lease, scope) for lease in pool]
    within = waterfall([each.held for each in mine], rights, parts)
    claims = waterfall([each.held for each in mine if each.claim == ClaimClass.LEASE.value], rights, parts)
    others: int | None = None
    if first.device_ids:
        whole = [right._replace(gpus=_ANY_NUMBER) for right in rights]
        others = sum(waterfall([each.held for each in on_it if each.tenant != first.tenant], whole, parts))
    for lease, right, metered_ns, claimed_ns in zip(pool, rights, within, claims, strict=True):
        leased_ns = right.gpus * (right.end_ns - right.start_ns)
        yield LeaseUse(lease, leased_ns, metered_ns, claimed_ns, others)


def _is_of(lease: LeaseSet, elsewhere: set[str], metered: Metered) -> bool:
    if lease.device_ids:
        return metered.device_id in lease.device_ids
    return metered.device_id not in elsewhere and fnmatchcase(metered.gpu_model, lease.gpu_model)


def _right(lease: LeaseSet, scope: Scope) -> Right:
    """A lease without end is counted through the end of the range."""
    end_ns = scope.span.end_ns if lease.to_ns is None else min(lease.to_ns, scope.span.end_ns)
    return Right(max(lease.from_ns, scope.span.start_ns), end_ns, lease.gpus)


def _item(use: LeaseUse, scope: Scope, scale: int, alone: bool) -> Json:
    lease, right = use.lease, _right(use.lease, scope)
    item: Json = {
        "lease": lease.id,
        "tenant": lease.tenant,
        "project": lease.project,
        "host": lease.host_id,
        "gpu_model": lease.gpu_model,
        "gpus": lease.gpus,
        "from": format_instant(right.start_ns),
        "to": format_instant(right.end_ns),
        **_amounts([use], scale),
    }
    return item if alone else {**item, "others_ns": None if use.others_ns is None else str(use.others_ns)}


def _totals(uses: Sequence[LeaseUse], name: str, scale: int) -> Mapping[str, Json]:
    grouped: defaultdict[str, list[LeaseUse]] = defaultdict(list)
    for use in uses:
        grouped[getattr(use.lease, name)].append(use)
    return {key: _amounts(grouped[key], scale) for key in sorted(grouped)}


def _amounts(uses: Sequence[LeaseUse], scale: int) -> Json:
    return {
        "leased": shown(sum(use.leased_ns for use in uses), scale),
        "metered": shown(sum(use.metered_ns for use in uses), scale),
        "metered_by_claim": shown(sum(use.claimed_ns for use in uses), scale),
        "lease_only": shown(sum(use.lease_only_ns for use in uses), scale),
    }
