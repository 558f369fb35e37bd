"""Usage sums from the projection. Every sum is made in 128 bits: a month of a large site does not fit in 64."""

from collections import defaultdict
from collections.abc import Callable
from typing import Any, Final

from .projection_reader import Snapshot
from .projection_slices import Fractions, fractions
from .projection_sql import in_force
from .projection_summed import summed
from .usage_query import Dimension, Group, Key, Meter, Tag, TooManyGroups, UsageQuery, UsageSums

MOST_GROUPS: Final = 100_000
_COLUMNS: Final = {
    Dimension.SKU: "sku",
    Dimension.GPU_MODEL: "gpu_model",
    Dimension.ORG: "tenant",
    Dimension.PROJECT: "project",
    Dimension.WORKLOAD: "workload_kind || ':' || workload_id",
    Dimension.SESSION: "session_id",
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
    skus = {model: sku_of(model) for model in _models(snapshot)} if Dimension.SKU in query.group_by else {}
    sql, parameters = compile_sums(snapshot, query, skus, slices)
    parts: defaultdict[int, list[Any]] = defaultdict(list)
    for part, *row in snapshot.db.execute(sql, parameters).fetchall():
        parts[part].append(row)
    groups = tuple(Group(tuple(keys), bucket, slices.floored(ns)) for _, bucket, ns, *keys in parts[_GROUPS])
    if query.limit is None and len(groups) > MOST_GROUPS:
        raise TooManyGroups(f"more than {MOST_GROUPS} groups")
    by_model, by_tenant = (
        {name: slices.floored(ns) for name, _, ns, *_ in parts[part]} for part in (_BY_MODEL, _BY_TENANT)
    )
    total_ns = slices.floored(sum(row[2] or 0 for row in parts[_BY_MODEL]))
    return UsageSums(groups, parts[_COUNT][0][2], by_model, by_tenant, total_ns)


_GROUPS, _BY_MODEL, _BY_TENANT, _COUNT = range(4)


def _models(snapshot: Snapshot) -> list[str]:
    return [row[0] for row in snapshot.db.execute("SELECT DISTINCT gpu_model FROM device").fetchall()]


def compile_sums(
    snapshot: Snapshot, query: UsageQuery, skus: dict[str, str], slices: Fractions
) -> tuple[str, list[Any]]:
    """(SQL, parameters). Rows: which part, name, window start, parts of a ns, keys.

    Parts: a page of groups, all GPU models, all tenants, how many groups there are. One statement, so
    that the records, which may be ten million, are walked once.
    """
    records, parameters = _source(snapshot, query)
    keys = "".join(f"{_column(key)} AS k{number}, " for number, key in enumerate(query.group_by))
    parameters = [*(key.key for key in query.group_by if isinstance(key, Tag)), *parameters]
    names = "".join(f"k{number}, " for number in range(len(query.group_by)))
    order = "".join(f"k{number} NULLS FIRST, " for number in range(len(query.group_by)))
    none = ", NULL" * len(query.group_by)
    if Dimension.SKU in query.group_by:
        records += " JOIN (SELECT unnest(?::VARCHAR[]) AS gpu_model, unnest(?::VARCHAR[]) AS sku) USING (gpu_model)"
        parameters += [list(skus), list(skus.values())]
    bucket = "window_start_ns" if query.edges_ns else "NULL::BIGINT"
    ns = f"sum({slices.weighted(_METERS[query.meter])})::HUGEINT"
    grouped = f"SELECT {names}bucket, sum(ns)::HUGEINT AS ns FROM base GROUP BY ALL"
    if query.edges_ns:
        # Summed first to single windows, since the join by inequality is the costly part.
        grouped = (
            f"SELECT {names}edge AS bucket, sum(ns)::HUGEINT AS ns FROM base ASOF JOIN"
            " (SELECT unnest(?::BIGINT[]) AS edge) ON bucket >= edge GROUP BY ALL"
        )
        parameters.append(list(query.edges_ns))
    page = f"SELECT * FROM grouped ORDER BY {order}bucket LIMIT ? OFFSET ?"
    sql = (
        f"WITH base AS MATERIALIZED (SELECT {keys}gpu_model AS model, tenant AS org, {bucket} AS bucket, {ns} AS ns"
        f" FROM {records} GROUP BY ALL), grouped AS MATERIALIZED ({grouped})"
        f" SELECT {_GROUPS} AS part, NULL AS name, bucket, ns, {names[:-2]} FROM ({page})"
        f" UNION ALL SELECT {_BY_MODEL}, model, NULL, sum(ns)::HUGEINT{none} FROM base GROUP BY model"
        f" UNION ALL SELECT {_BY_TENANT}, org, NULL, sum(ns)::HUGEINT{none} FROM base GROUP BY org"
        f" UNION ALL SELECT {_COUNT}, NULL, NULL, count(*)::HUGEINT{none} FROM grouped"
        f" ORDER BY part, {order}bucket, name"
    )
    limit = MOST_GROUPS + 1 if query.limit is None else query.limit
    return sql, [*parameters, limit, query.offset]


def _column(key: Key) -> str:
    """Tags are a list of key, value, key, value."""
    if isinstance(key, Tag):
        return "tags[2 * list_position(tags[1:len(tags):2], ?)]"
    return _COLUMNS[key]


_FROM_ROLLUPS: Final[set[Key]] = {Dimension.SKU, Dimension.GPU_MODEL, Dimension.ORG, Dimension.PROJECT, Dimension.HOST}


def _source(snapshot: Snapshot, query: UsageQuery) -> tuple[str, list[Any]]:
    """Rollups do not tell workloads, sessions, tags and devices apart."""
    if _FROM_ROLLUPS.issuperset(query.group_by):
        return summed("record", snapshot, query.scope, query.edges_ns)
    return in_force("record", query.scope)
