"""Cutting a batch to the size of frames. A device's records and its row are never parted."""

from dataclasses import replace

from .usage import Batch, DeviceWindow


def halve(batch: Batch) -> tuple[Batch, Batch]:
    """Two batches with half of the rows each, and the records of those; the watermark travels with the second."""
    middle = len(batch.rows) // 2
    first = replace(_part(batch, batch.rows[:middle]), complete_through_ns=None)
    return first, _part(batch, batch.rows[middle:])


def _part(batch: Batch, rows: tuple[DeviceWindow, ...]) -> Batch:
    segments = {row.segment for row in rows}
    return replace(batch, rows=rows, records=tuple(r for r in batch.records if r.segment in segments))
