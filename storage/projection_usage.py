"""Usage sums from the projection. Every sum is made in 128 bits: a month of a large site does not fit in 64."""

from collections import defaultdict
from collections.abc import Callable
from typing import Any, Final

from .projection_reader import Snapshot
from .projection_slices import Fractions, fractions
from .projection_sql import in_force
from .projection_summed import summed
from .usage_query import Dimension, Group, Meter, Scope, TooManyGroups, UsageQuery, UsageSums

MOST_GROUPS: Final = 100_000
_COLUMNS: Final = {
    Dimension.SKU: "sku",
    Dimension.GPU_MODEL: "gpu_model",
    Dimension.ORG: "tenant",
    Dimension.PROJECT: "project",
    Dimension.WORKLOAD: "workload_kind || ':' || workload_id",
    Dimension.HOST: "host_id",
    Dimension.DEVICE: "device_id",
}
_METERS: Final = {
    Meter.ALLOCATED: "allocated_ns",
    Meter.ALLOCATED_MEMORY: "allocated_ns",
    Meter.HELD: "held_ns",
    Meter.BUSY: "busy_ns",
}


def sum_usage(snapshot: Snapshot, query: UsageQuery, sku_of: Callable[[str], str]) -> UsageSums:
    """The sums of ``query``; ``sku_of`` names the SKU of a GPU model. Raises TooManyGroups."""
    slices = fractions(snapshot, "memory" if query.meter is Meter.ALLOCATED_MEMORY else "compute")
    by_gpu_model, by_org, total_ns = _totals(snapshot, query.scope, query.meter, slices)
    skus = {model: sku_of(model) for model in by_gpu_model}
    groups, count = _groups(snapshot, query, skus, slices)
    return UsageSums(groups, count, by_gpu_model, by_org, total_ns)


def _totals(
    snapshot: Snapshot, scope: Scope, meter: Meter, slices: Fractions
) -> tuple[dict[str, int], dict[str, int], int]:
    records, parameters = summed("record", snapshot, scope)
    weighted = slices.weighted(_METERS[meter])
    found = snapshot.db.execute(
        f"SELECT grouping(gpu_model, tenant), coalesce(gpu_model, tenant), sum({weighted})::HUGEINT"
        f" FROM {records} GROUP BY GROUPING SETS ((gpu_model), (tenant)) ORDER BY ALL",
        parameters,
    ).fetchall()
    sums: defaultdict[int, dict[str, int]] = defaultdict(dict)
    for level, name, ns in found:
        sums[level][name] = ns or 0
    by_model, by_tenant = (
        {name: slices.floored(parts) for name, parts in sums[level].items()} for level in (_BY_MODEL, _BY_TENANT)
    )
    return by_model, by_tenant, slices.floored(sum(sums[_BY_MODEL].values()))


# grouping(a, b): a bit for each column that was *not* grouped by, the first being the highest.
_BY_MODEL, _BY_TENANT = 0b01, 0b10


def _groups(
    snapshot: Snapshot, query: UsageQuery, skus: dict[str, str], slices: Fractions
) -> tuple[tuple[Group, ...], int]:
    sql, parameters = compile_groups(snapshot, query, skus, slices)
    rows = snapshot.db.execute(sql, parameters).fetchall()
    if query.limit is None and len(rows) > MOST_GROUPS:
        raise TooManyGroups(f"more than {MOST_GROUPS} groups")
    width = len(query.group_by)
    groups = [Group(tuple(row[:width]), row[width], slices.floored(row[width + 1])) for row in rows]
    if rows:
        return tuple(groups), rows[0][-1]
    return (), _count(snapshot, query, skus, slices) if query.offset else 0


def _count(snapshot: Snapshot, query: UsageQuery, skus: dict[str, str], slices: Fractions) -> int:
    """For a page beyond the end, whose rows cannot say it."""
    sql, parameters = compile_groups(snapshot, query, skus, slices)
    parameters[-2:] = [1, 0]
    found = snapshot.db.execute(sql, parameters).fetchall()
    return found[0][-1] if found else 0


def compile_groups(
    snapshot: Snapshot, query: UsageQuery, skus: dict[str, str], slices: Fractions
) -> tuple[str, list[Any]]:
    """(SQL, parameters): a row for each group: keys, window start or NULL, parts of a ns, how many groups there are."""
    records, parameters = _source(snapshot, query)
    keys = "".join(f"{_COLUMNS[dimension]} AS k{number}, " for number, dimension in enumerate(query.group_by))
    names = "".join(f"k{number}, " for number in range(len(query.group_by)))
    if Dimension.SKU in query.group_by:
        records += " JOIN (SELECT unnest(?::VARCHAR[]) AS gpu_model, unnest(?::VARCHAR[]) AS sku) USING (gpu_model)"
        parameters += [list(skus), list(skus.values())]
    bucket = "window_start_ns" if query.edges_ns else "NULL::BIGINT"
    ns = f"sum({slices.weighted(_METERS[query.meter])})::HUGEINT"
    sums = f"SELECT {keys}{bucket} AS bucket, {ns} AS ns FROM {records} GROUP BY ALL"
    if query.edges_ns:
        # Summed first to single windows, since the join by inequality is the costly part.
        sums = (
            f"SELECT {names}edge AS bucket, sum(ns)::HUGEINT AS ns FROM ({sums}) ASOF JOIN"
            " (SELECT unnest(?::BIGINT[]) AS edge) ON bucket >= edge GROUP BY ALL"
        )
        parameters.append(list(query.edges_ns))
    limit = MOST_GROUPS + 1 if query.limit is None else query.limit
    sql = f"SELECT {names}bucket, ns, count(*) OVER () FROM ({sums}) ORDER BY {names}bucket LIMIT ? OFFSET ?"
    return sql, [*parameters, limit, query.offset]


_FROM_ROLLUPS: Final = {Dimension.SKU, Dimension.GPU_MODEL, Dimension.ORG, Dimension.PROJECT, Dimension.HOST}


def _source(snapshot: Snapshot, query: UsageQuery) -> tuple[str, list[Any]]:
    """Rollups do not tell workloads and devices apart."""
    if _FROM_ROLLUPS.issuperset(query.group_by):
        return summed("record", snapshot, query.scope, query.edges_ns)
    return in_force("record", query.scope)
