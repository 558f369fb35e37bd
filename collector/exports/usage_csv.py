"""Usage as CSV: the groups of GET /v1/usage, all of them, a line each."""

from collections.abc import Iterator, Mapping, Sequence

from ...storage.projection_completeness import completeness
from ...storage.projection_reader import Snapshot
from ...storage.projection_usage import sum_usage
from ...storage.usage_query import Dimension, Group, Scope, TooManyGroups, UsageQuery
from ..catalogues import skus_at
from ..config import SkuConfig
from ..grid import Window
from ..instants import format_instant
from ..problems import BadParameter
from ..query import PARAMETERS as USAGE_PARAMETERS
from ..query import UsageRequest, read_request
from ..rounding import hours
from ..skus import sku_of
from ..usage_answer import check_as_of, check_edges, check_range, refuse_if_lacking
from .lines import csv_chunks

PARAMETERS = tuple(name for name in USAGE_PARAMETERS if name not in ("offset", "limit"))


def usage_csv(
    told: Mapping[str, str], snapshot: Snapshot, tenant: str | None, skus: Sequence[SkuConfig]
) -> Iterator[bytes]:
    """Parameters as GET /v1/usage has them, but no pages. Raises BadParameter, Problem (409)."""
    request = read_request(told)
    scope = Scope(request.span, check_as_of(request.as_of, snapshot), tenant)
    edges = check_edges(request, check_range(scope, snapshot))
    if request.strict:
        refuse_if_lacking(request.span, completeness(snapshot, scope))
    query = UsageQuery(scope, request.group_by, request.meter, edges)
    sold = skus_at(snapshot, request.span.start_ns, scope.as_of, skus)
    try:
        groups = sum_usage(snapshot, query, lambda model: sku_of(model, sold)).groups
    except TooManyGroups as error:
        raise BadParameter("group_by", f"gives {error}: ask for a shorter range or fewer keys") from None
    return csv_chunks(_header(request), (_row(group, request) for group in groups))


def _header(request: UsageRequest) -> tuple[str, ...]:
    names = ["tenant" if request.as_tenant and d is Dimension.ORG else d.value for d in request.group_by]
    window = [] if request.window is Window.NONE else ["window_start"]
    return ("range_from", "range_to", *window, *names, "meter", "usage", "ns")


def _row(group: Group, request: UsageRequest) -> tuple[str, ...]:
    span, start_ns = request.span, group.window_start_ns
    window = [] if start_ns is None else [format_instant(start_ns, request.zone)]
    edges = format_instant(span.start_ns), format_instant(span.end_ns)
    return (
        *edges,
        *window,
        *(key or "" for key in group.keys),
        request.meter,
        hours(group.ns, request.scale),
        str(group.ns),
    )
