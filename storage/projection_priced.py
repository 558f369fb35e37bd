"""The sums that prices are multiplied with: by tenant, GPU model, meter, and the tags that a catalogue looks at."""

from collections.abc import Collection, Iterator, Sequence
from typing import Any, Final

from ..model.rating import UsageSum
from .projection_reader import Snapshot
from .projection_slices import By, Fractions, fractions
from .projection_sql import in_force
from .projection_usage import MOST_GROUPS
from .usage_query import Meter, Scope, TooManyGroups

_COLUMNS: Final[dict[Meter, tuple[str, By]]] = {
    Meter.ALLOCATED: ("allocated_ns", "compute"),
    Meter.ALLOCATED_MEMORY: ("allocated_ns", "memory"),
    Meter.HELD: ("held_ns", "compute"),
    Meter.BUSY: ("busy_ns", "compute"),
}
# ``tags`` is key, value, key, value; kept are the pairs whose key is wanted.
_KEPT: Final = (
    "list_sort(list_filter(list_zip(tags[1:-:2], tags[2:-:2]), lambda tag: list_contains(?::VARCHAR[], tag[1])))"
)


def priced_sums(
    snapshot: Snapshot, scope: Scope, meters: Sequence[Meter], tags: Collection[str] = ()
) -> list[UsageSum]:
    """Sums over ``scope`` by each of ``meters``, in a fixed order, floored once each. Raises TooManyGroups."""
    chosen = [(meter, *_COLUMNS[meter]) for meter in meters]
    weights = [fractions(snapshot, by) for _, _, by in chosen]
    columns = [weight.weighted(column) for (_, column, _), weight in zip(chosen, weights, strict=True)]
    sums = ", ".join(f"sum({column})::HUGEINT" for column in columns)
    records, parameters = in_force("record", scope)
    sql = f"SELECT tenant, gpu_model, {_KEPT} AS kept, {sums} FROM {records} GROUP BY ALL ORDER BY ALL LIMIT ?"
    rows = snapshot.db.execute(sql, [sorted(tags), *parameters, MOST_GROUPS + 1]).fetchall()
    if len(rows) > MOST_GROUPS:
        raise TooManyGroups(f"more than {MOST_GROUPS} groups")
    return [each for row in rows for each in _sums(row, meters, weights)]


def _sums(row: tuple[Any, ...], meters: Sequence[Meter], weights: Sequence[Fractions]) -> Iterator[UsageSum]:
    tenant, gpu_model, kept, *parts = row
    tags = tuple((key, value) for key, value in kept)
    for meter, weight, part in zip(meters, weights, parts, strict=True):
        yield UsageSum(tenant, gpu_model, meter.value, weight.floored(part), tags)
