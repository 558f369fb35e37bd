"""Cutting a batch to the size of frames. A device's records and its row are never parted."""

from dataclasses import replace
from typing import Any

from .usage import Batch, DeviceWindow

_LISTS = ("workloads", "hosts", "host_gaps", "events", "keys", "checkpoints")


def halve(batch: Batch) -> tuple[Batch, Batch]:
    """Two batches with half of each thing, a row with its records; the watermark travels with the second."""
    middle = len(batch.rows) // 2
    first = replace(_part(batch, batch.rows[:middle]), complete_through_ns=None, **_halves(batch, first=True))
    return first, replace(_part(batch, batch.rows[middle:]), **_halves(batch, first=False))


def can_be_halved(batch: Batch) -> bool:
    """Whether there is more than one of anything."""
    return len(batch.rows) > 1 or any(len(getattr(batch, name)) > 1 for name in _LISTS)


def _part(batch: Batch, rows: tuple[DeviceWindow, ...]) -> Batch:
    segments = {row.segment for row in rows}
    return replace(batch, rows=rows, records=tuple(r for r in batch.records if r.segment in segments))


def _halves(batch: Batch, first: bool) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in _LISTS:
        whole = getattr(batch, name)
        found[name] = whole[: len(whole) // 2] if first else whole[len(whole) // 2 :]
    return found
