"""Gaps that a host tells of frames it gave up: they hold only where nothing better is known.

A frame may have reached the ledger although its host never heard so. If the host then gives it up, at its cap or
to damage, it declares time as a gap that is accounted for here. So such a row is cut to the holes.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from ..model.interval import Interval
from ..model.reading import GapReason
from ..model.refused_parts import cut_row
from ..model.usage import DeviceWindow
from .coverage import Coverage

_GIVEN_UP: Final = frozenset({GapReason.DROPPED.value, GapReason.LOG_DAMAGED.value})


def is_told_late(row: DeviceWindow) -> bool:
    """Whether the row says only that its whole time was given up."""
    reasons = {reason for reason, _ in row.unobserved_ns}
    whole = row.unobserved_total_ns == row.segment.boot.length_ns
    return bool(reasons) and reasons <= _GIVEN_UP and whole and row.record_count == 0 and row.revision == 0


def in_holes(row: DeviceWindow, coverage: Coverage) -> Iterator[DeviceWindow]:
    """The parts of the row that nothing else accounts for; energy goes with time, to the millijoule."""
    for hole in coverage.holes(row.segment.boot):
        yield _part(row, hole)


def _part(row: DeviceWindow, hole: Interval) -> DeviceWindow:
    part = row
    if hole.start_ns > part.segment.boot.start_ns:
        part = cut_row(part, hole.start_ns)[1]
    if hole.end_ns < part.segment.boot.end_ns:
        part = cut_row(part, hole.end_ns)[0]
    start_mj, end_mj = part.energy_start_mj, part.energy_end_mj
    return replace(
        part,
        segment=replace(part.segment, window_start_ns=row.segment.window_start_ns),
        unobserved_ns=((row.unobserved_ns[0][0], hole.length_ns),),
        unobserved_energy_mj=0 if start_mj is None or end_mj is None else end_mj - start_mj,
    )
