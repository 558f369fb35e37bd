"""Cutting a batch to the size of frames. A device's records and its row are never parted."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace

from .usage import Batch, DeviceWindow, Segment, UsageRecord


def split(batch: Batch, max_records: int) -> list[Batch]:
    """Batches of at most ``max_records`` records each; the watermark travels with the last.

    A single segment with more records than that stays whole: the tally's own bound keeps it below.
    """
    parts = [replace(batch, records=r, rows=w, complete_through_ns=None) for r, w in _groups(batch, max_records)]
    parts = parts or [batch]
    return [*parts[:-1], replace(parts[-1], complete_through_ns=batch.complete_through_ns)]


def _groups(batch: Batch, max_records: int) -> Iterator[tuple[tuple[UsageRecord, ...], tuple[DeviceWindow, ...]]]:
    by_segment: defaultdict[Segment, list[UsageRecord]] = defaultdict(list)
    for record in batch.records:
        by_segment[record.segment].append(record)
    records: list[UsageRecord] = []
    rows: list[DeviceWindow] = []
    for row in batch.rows:
        own = by_segment[row.segment]
        if rows and len(records) + len(own) > max_records:
            yield tuple(records), tuple(rows)
            records, rows = [], []
        records += own
        rows.append(row)
    if rows:
        yield tuple(records), tuple(rows)
