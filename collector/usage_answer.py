"""The answer of GET /v1/usage, made from one snapshot so that its parts fit together."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, Final
from urllib.parse import urlencode

from ..model.interval import Interval
from ..storage.projection_completeness import all_window_lengths, completeness, window_lengths
from ..storage.projection_decisions import adjusted_sums
from ..storage.projection_reader import Snapshot
from ..storage.projection_usage import sum_usage
from ..storage.usage_query import (
    Completeness,
    Dimension,
    Group,
    Key,
    Meter,
    Scope,
    TooManyGroups,
    UsageQuery,
    UsageSums,
)
from .adjusted import adjustments_of
from .completeness import describe, lacking, named
from .config import SkuConfig
from .excluded import add_exclusions
from .grid import cut_windows, edges_ns, grid_ns
from .instants import format_instant
from .problems import BadParameter, Problem
from .query import BY_SKU, UNIT, Exclusions, UsageRequest
from .rounding import hours
from .skus import sku_of

Json = dict[str, Any]
_NS_PER_S: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, and what is not in its parameters."""

    request: UsageRequest
    path: str
    parameters: dict[str, str]
    tenant: str | None = None
    """Whose usage alone the caller may see; None: everybody's."""


def answer_usage(asked: Asked, snapshot: Snapshot, skus: Sequence[SkuConfig]) -> Json:
    """Raises BadParameter for a range off the grid, and Problem (409) for strict=true on incomplete data."""
    request = asked.request
    scope = Scope(request.span, check_as_of(request.as_of, snapshot), asked.tenant)
    edges = check_edges(request, check_range(scope, snapshot))
    lack = completeness(snapshot, scope)
    if request.strict:
        refuse_if_lacking(request.span, lack)
    sums = _sum(request, scope, edges, snapshot, skus)
    items, count, total_count = _nested(request, sums) if request.nested else _flat(request, sums)
    shown = request.offset + count
    answer: Json = {
        "range_from": format_instant(request.span.start_ns),
        "range_to": format_instant(request.span.end_ns),
        "meter": request.meter,
        "unit": UNIT,
        "as_of": str(scope.as_of),
        "offset": request.offset,
        "limit": request.limit,
        "count": count,
        "total_count": total_count,
        "next": _next_page(asked, scope.as_of, shown) if shown < total_count else None,
        "completeness": describe(request.span.end_ns, lack),
        "rounding": {"mode": "half_up", "scale": request.scale, "stage": "total"},
        "items": items,
        "totals_by_gpu_model": {name: _amount(ns, request) for name, ns in sums.by_gpu_model.items()},
        "totals_by_org": {name: _amount(ns, request) for name, ns in sums.by_org.items()},
        "grand_total": _amount(sums.total_ns, request),
    }
    answer |= adjustments_of(adjusted_sums(snapshot, scope))
    if request.exclusions is Exclusions.SHOW:
        add_exclusions(answer, scope, snapshot, "memory" if request.meter is Meter.ALLOCATED_MEMORY else "compute")
    return answer


def check_as_of(asked: int | None, snapshot: Snapshot) -> int:
    """The log id to answer as of. Raises BadParameter for one that is not folded yet."""
    if asked is None:
        return snapshot.position
    if asked > snapshot.position:
        raise BadParameter("as_of", f'is "{asked}", the newest there is: {snapshot.position}')
    return asked


def _sum(
    request: UsageRequest, scope: Scope, edges: tuple[int, ...], snapshot: Snapshot, skus: Sequence[SkuConfig]
) -> UsageSums:
    query = UsageQuery(scope, request.group_by, request.meter, edges, request.offset, request.limit)
    if request.nested:
        # Pages count SKUs, so that no SKU's organisations are cut apart: all groups, then the page.
        query = replace(query, group_by=BY_SKU, offset=0, limit=None)
    try:
        return sum_usage(snapshot, query, lambda model: sku_of(model, skus))
    except TooManyGroups as error:
        raise BadParameter("group_by", f"gives {error}: ask for a shorter range or fewer keys") from None


def _nested(request: UsageRequest, sums: UsageSums) -> tuple[list[Json], int, int]:
    """(items, SKUs on this page, SKUs in all)."""
    by_sku = [(sku, list(groups)) for sku, groups in groupby(sums.groups, key=lambda group: group.keys[0])]
    page = by_sku[request.offset : request.offset + request.limit]
    items = [
        _sku_item(sku, model, list(inner), request)
        for sku, groups in page
        for model, inner in groupby(groups, key=lambda group: group.keys[1])
    ]
    return items, len(page), len(by_sku)


def _sku_item(sku: str | None, gpu_model: str | None, groups: list[Group], request: UsageRequest) -> Json:
    orgs = [{"org": group.keys[2], **_amount(group.ns, request)} for group in groups]
    total = _amount(sum(group.ns for group in groups), request)
    return {"sku": sku, "gpu_model": gpu_model, "orgs": orgs, "total": total}


def _flat(request: UsageRequest, sums: UsageSums) -> tuple[list[Json], int, int]:
    items = [_flat_item(group, request) for group in sums.groups]
    return items, len(items), sums.group_count


def _flat_item(group: Group, request: UsageRequest) -> Json:
    renamed: dict[Key, str] = {Dimension.ORG: "tenant"} if request.as_tenant else {}
    names = [renamed.get(dimension, dimension.value) for dimension in request.group_by]
    item: Json = dict(zip(names, group.keys, strict=True))
    if group.window_start_ns is not None:
        item["window_start"] = format_instant(group.window_start_ns, request.zone)
    return {**item, **_amount(group.ns, request)}


def _amount(ns: int, request: UsageRequest) -> Json:
    return {"usage": hours(ns, request.scale), "ns": str(ns)}


def _next_page(asked: Asked, as_of: int, offset: int) -> str:
    """Bound to the same version of the ledger, so that pages fit together while data arrive."""
    return f"{asked.path}?{urlencode({**asked.parameters, 'as_of': as_of, 'offset': offset})}"


def refuse_if_lacking(span: Interval, lack: Completeness) -> None:
    """Raises Problem (409) that names what is missing."""
    missing = lacking(span, lack)
    if missing:
        raise Problem(
            409,
            "incomplete",
            f"not complete through {format_instant(span.end_ns)}: {named(missing)}; "
            "ask again later, or with strict=false for what there is",
            missing=missing,
        )


def check_range(scope: Scope, snapshot: Snapshot) -> int:
    """What every edge must be a multiple of, ns. Raises BadParameter if the range would cut a record's window."""
    overlapping = window_lengths(snapshot, scope)
    grid = grid_ns(all_window_lengths(snapshot), overlapping)
    for name, instant_ns in (("range_from", scope.span.start_ns), ("range_to", scope.span.end_ns)):
        if instant_ns % grid:
            raise BadParameter(name, _off_grid(instant_ns, grid), "off-grid")
    for name, length_ns in zip(("range_from", "range_to"), cut_windows(overlapping), strict=True):
        if length_ns is not None:
            raise BadParameter(name, f"lies inside a window of {length_ns / _NS_PER_S:g} s: move it", "off-grid")
    return grid


def check_edges(request: UsageRequest, grid: int) -> tuple[int, ...]:
    """Where the windows start. Raises BadParameter if one of them would cut a record's window."""
    try:
        edges = edges_ns(request.span, request.window, request.zone, request.cycle)
    except ValueError as error:
        raise BadParameter("window", str(error)) from None
    if any(edge % grid for edge in edges):
        raise BadParameter(
            "window",
            f"is {request.window}, whose edges would cut records of {grid // _NS_PER_S} s: ask for longer windows",
            "off-grid",
        )
    return edges


def _off_grid(instant_ns: int, grid: int) -> str:
    before = format_instant(instant_ns - instant_ns % grid)
    after = format_instant(instant_ns - instant_ns % grid + grid)
    return (
        f"is {format_instant(instant_ns)}, off the grid of {grid // _NS_PER_S} s "
        f"on which records lie here: use {before} or {after}"
    )
