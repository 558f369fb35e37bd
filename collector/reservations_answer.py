"""The answer of GET /v1/reservations/usage: what of each right to GPUs was used, what not, and what went beyond it."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from ..model.decisions import ReservationSet
from ..model.reserving import Held, Outcome, Right, compare
from ..storage.projection_completeness import completeness
from ..storage.projection_decisions import decided_in_force
from ..storage.projection_reader import Snapshot
from ..storage.projection_slices import Fractions, fractions
from ..storage.projection_spans import allocated_spans, models_in
from ..storage.usage_query import Scope
from .asked_range import bounded, header, shown
from .completeness import describe

Json = dict[str, Any]
Key = tuple[str, str]
"""(tenant, GPU model as reserved)"""


def answer_reservations(scope: Scope, seen: Snapshot, scale: int) -> Json:
    """Every (tenant, model) with a reservation that touches the range. Raises BadParameter for too long a range."""
    by_key = _reserved(scope, seen)
    slices = fractions(seen)
    held = bounded(lambda: _held(scope, seen, slices, by_key))
    outcomes = {
        key: compare(held.get(key, ()), [_right(each, scope) for each in reserved], slices.parts)
        for key, reserved in by_key.items()
    }
    return {
        **header(scope),
        "unit": "GPU-Hours",
        "completeness": describe(scope.span.end_ns, completeness(seen, scope)),
        "rounding": {"mode": "half_up", "scale": scale, "stage": "total"},
        "items": [_item(key, by_key[key], outcomes[key], scale) for key in sorted(by_key)],
    }


def _reserved(scope: Scope, seen: Snapshot) -> Mapping[Key, Sequence[ReservationSet]]:
    found: defaultdict[Key, list[ReservationSet]] = defaultdict(list)
    for stored in decided_in_force(seen, ReservationSet, scope.as_of):
        what = stored.what
        touches = what.from_ns < scope.span.end_ns and what.to_ns > scope.span.start_ns
        if touches and scope.tenant in (None, what.tenant):
            found[what.tenant, what.gpu_model].append(what)
    return found


def _right(reserved: ReservationSet, scope: Scope) -> Right:
    start_ns, end_ns = max(reserved.from_ns, scope.span.start_ns), min(reserved.to_ns, scope.span.end_ns)
    return Right(start_ns, end_ns, reserved.gpus)


def _held(scope: Scope, seen: Snapshot, slices: Fractions, keys: Iterable[Key]) -> Mapping[Key, Sequence[Held]]:
    taken = _taken_from(keys, models_in(seen, scope))
    if not taken:
        return {}
    pairs = [list(column) for column in zip(*taken, strict=True)]
    where = "(tenant, gpu_model) IN (SELECT (unnest(?::VARCHAR[]), unnest(?::VARCHAR[])))"
    found: defaultdict[Key, list[Held]] = defaultdict(list)
    for tenant, model, *span in allocated_spans(seen, scope, slices, ("tenant", "gpu_model"), where, pairs):
        found[taken[tenant, model]].append(Held(*span))
    return found


def _taken_from(keys: Iterable[Key], models: Sequence[str]) -> dict[Key, Key]:
    """From which reservations a tenant's use of each model is taken: of one, so that none is counted twice.

    By its very name before any that a pattern gives it, as in ``[[skus]]``; of those the first by name.
    """
    taken: dict[Key, Key] = {}
    for tenant, pattern in sorted(keys):
        for model in models:
            if fnmatchcase(model, pattern):
                taken.setdefault((tenant, model), (tenant, pattern))
            if model == pattern:
                taken[tenant, model] = tenant, pattern
    return taken


def _item(key: Key, reserved: Sequence[ReservationSet], outcome: Outcome, scale: int) -> Json:
    return {
        "tenant": key[0],
        "gpu_model": key[1],
        "reservations": [each.id for each in reserved],
        "reserved": shown(outcome.reserved_ns, scale),
        "used": shown(outcome.used_ns, scale),
        "used_within": shown(outcome.within_ns, scale),
        "reserved_unused": shown(outcome.unused_ns, scale),
        "overage": shown(outcome.overage_ns, scale),
    }
