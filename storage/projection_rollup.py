"""Keeping the rollups: a bucket that anything touched is *dirty*, and is made again as a whole, never added to.

Adding a record to a sum is exact only if it happens once; making the sum again is exact whenever it
happens. Until then the bucket is answered from something finer, down to the records, so an
answer is exact at any moment. Each quarter hour is made of records, each larger bucket of smaller ones.
"""

from collections.abc import Iterable, Sequence
from typing import Final

import duckdb

from ..model.interval import NS_PER_S, Interval
from .projection_buckets import Bucket, Level, buckets_of
from .projection_schema import RECORD_SUMS, ROLLUP_KEYS, ROW_SUMS
from .projection_sql import in_force
from .usage_query import Scope

MOST_BUCKETS: Final = 96
"""Of each level, made again in one transaction: a day of quarter hours."""
_KEYS: Final = ", ".join(name for name, _ in ROLLUP_KEYS)
_SUMS: Final = ", ".join(("entries", *RECORD_SUMS, *ROW_SUMS))


def _sum(names: Iterable[str]) -> str:
    return ", ".join(f"sum({name})::HUGEINT AS {name}" for name in names)


def _nothing(names: Iterable[str]) -> str:
    return ", ".join(f"NULL::HUGEINT AS {name}" for name in names)


_SLICES: Final = "compute, compute_of, memory, memory_of"
_QUARTER: Final = "window_s - window_s % 900 AS bucket_s"
_ALIGNED: Final = "window_start_ns % window_length_ns = 0"


def sums_of_records(relation: str, key: str) -> str:
    """SQL: sums of a relation of records, in the columns of a rollup, whose first is ``key``."""
    return (
        f"SELECT {key}, host_id, gpu_model, {_SLICES}, tenant, project, NULL::BIGINT AS window_length_ns,"
        f" NULL::BOOLEAN AS aligned, count(*)::HUGEINT AS entries, {_sum(RECORD_SUMS)}, {_nothing(ROW_SUMS)}"
        f" FROM {relation} GROUP BY ALL"
    )


def sums_of_rows(relation: str, key: str) -> str:
    """The same of device rows, without those of GPUs in MIG mode, whose time is their instances'."""
    whole = "FILTER (partition_compute IS NULL)"
    return (
        f"SELECT {key}, host_id, gpu_model, {_SLICES}, NULL::VARCHAR AS tenant, NULL::VARCHAR AS project,"
        f" window_length_ns, {_ALIGNED} AS aligned, count(*)::HUGEINT AS entries, {_nothing(RECORD_SUMS)},"
        f" (sum(length_ns) {whole})::HUGEINT AS length_ns, sum(idle_ns)::HUGEINT AS idle_ns,"
        f" sum(unobserved_ns)::HUGEINT AS unobserved_ns FROM {relation} GROUP BY ALL"
    )


class Rollups:
    """The writer's end. Inside transactions of the projection, and loaded anew after one that failed."""

    def __init__(self, db: duckdb.DuckDBPyConnection) -> None:
        self._db = db
        self._dirty = {
            Bucket(Level(level), start_s)
            for level, start_s in db.execute("SELECT level, bucket_s FROM dirty").fetchall()
        }

    def mark(self, window_starts_s: Iterable[int]) -> list[Bucket]:
        """The sums of windows that start then have changed, or may have. Returns rows to append to ``dirty``."""
        new = sorted(buckets_of(window_starts_s) - self._dirty)
        self._dirty.update(new)
        return new

    def is_due(self, settled_ns: int) -> bool:
        """Whether ``refresh`` has anything to do."""
        return any(self._can_be_made(bucket) for bucket in self._ended(settled_ns))

    def refresh(self, position: int, settled_ns: int) -> int:
        """Makes dirty buckets again that ended before ``settled_ns``, bounded; how many."""
        count = 0
        for level in Level:
            # From fine to coarse, so that what becomes clean at one level counts at the next.
            able = [each for each in self._ended(settled_ns) if each.level is level and self._can_be_made(each)]
            if able:
                chosen = sorted(able)[:MOST_BUCKETS]
                self._make(level, chosen, position)
                count += len(chosen)
        return count

    def _ended(self, settled_ns: int) -> list[Bucket]:
        return [bucket for bucket in self._dirty if bucket.end_s * NS_PER_S <= settled_ns]

    def _can_be_made(self, bucket: Bucket) -> bool:
        return not any(child in self._dirty for child in bucket.children)

    def _make(self, level: Level, buckets: Sequence[Bucket], position: int) -> None:
        starts = [bucket.start_s for bucket in buckets]
        self._delete(level.table, starts)
        if level is Level.QUARTER:
            self._from_rows(buckets, position)
        else:
            self._from_finer(level, buckets)
        self._db.execute(
            "DELETE FROM dirty WHERE level = ? AND bucket_s IN (SELECT unnest(?::BIGINT[]))", [int(level), starts]
        )
        self._dirty.difference_update(buckets)

    def _delete(self, table: str, starts: list[int]) -> None:
        self._db.execute(
            f"DELETE FROM {table} WHERE bucket_s BETWEEN ? AND ? AND bucket_s IN (SELECT unnest(?::BIGINT[]))",
            [starts[0], starts[-1], starts],
        )

    def _from_rows(self, buckets: Sequence[Bucket], position: int) -> None:
        spans = runs(buckets)
        for table, sums in (("record", sums_of_records), ("device_row", sums_of_rows)):
            relation, parameters = in_force(table, Scope(_around(buckets), position), spans)
            self._db.execute(f"INSERT INTO rollup_quarter {sums(relation, _QUARTER)}", parameters)

    def _from_finer(self, level: Level, buckets: Sequence[Bucket]) -> None:
        children = [(child.start_s, bucket.start_s) for bucket in buckets for child in bucket.children]
        child_s, parent_s = [list(column) for column in zip(*children, strict=True)]
        sums = _sum(("entries", *RECORD_SUMS, *ROW_SUMS))
        self._db.execute(
            f"INSERT INTO {level.table} SELECT parent_s AS bucket_s, {_KEYS}, {sums}"
            f" FROM (SELECT * FROM {Level(level - 1).table} WHERE bucket_s BETWEEN ? AND ?)"
            " JOIN (SELECT unnest(?::BIGINT[]) AS bucket_s, unnest(?::BIGINT[]) AS parent_s) USING (bucket_s)"
            " GROUP BY ALL",
            [child_s[0], child_s[-1], child_s, parent_s],
        )


def runs(buckets: Sequence[Bucket]) -> list[Interval]:
    """The spans of ordered buckets, neighbours joined."""
    joined: list[Interval] = []
    for bucket in buckets:
        start_ns, end_ns = bucket.start_s * NS_PER_S, bucket.end_s * NS_PER_S
        if joined and joined[-1].end_ns == start_ns:
            start_ns = joined.pop().start_ns
        joined.append(Interval(start_ns, end_ns))
    return joined


def _around(buckets: Sequence[Bucket]) -> Interval:
    return Interval(buckets[0].start_s * NS_PER_S, buckets[-1].end_s * NS_PER_S)
