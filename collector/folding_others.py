"""What a batch says besides usage: workloads, uptime, gaps and events; and when it arrived.

Nothing of it is billed, so nothing of it is put aside: a row whose time cannot be true is left out and logged. Uptime
of a host in one boot is accounted for like a device's time, so that what is said again counts once.
"""

import logging
from collections.abc import Callable
from typing import Any, Final

from ..model.usage import Batch
from ..storage.ledger_reader import Entry
from ..storage.projection_other_rows import arrival_rows, event_rows, fits, gap_rows, host_row, workload_rows
from .folding_state import FoldingState

_log = logging.getLogger(__name__)
Note = Callable[[str, list[tuple[Any, ...]]], None]
"""``note`` of the store."""
HOST_ITSELF: Final = ""
"""In place of a device's id, in what is known to be covered."""


def fold_others(entry: Entry, batch: Batch, state: FoldingState, note: Note) -> None:
    """Adds the rows; changes what is known to be covered of the host's boots."""
    workloads, gaps = list(workload_rows(entry.log_id, batch)), list(gap_rows(entry.log_id, batch))
    left_out = len(batch.workloads) - len(workloads) + len(batch.host_gaps) - len(gaps)
    left_out += _fold_uptime(entry, batch, state, note)
    note("workload_window", workloads)
    note("host_gap", gaps)
    note("event", list(event_rows(entry.log_id, batch)))
    note("arrival", list(arrival_rows(entry.log_id, batch, entry.received_ns)))
    if left_out:
        told = "host %s, log entry %d: %d rows of workloads, uptime or gaps name times that cannot be: left out"
        _log.error(told, batch.host_id, entry.log_id, left_out)


def _fold_uptime(entry: Entry, batch: Batch, state: FoldingState, note: Note) -> int:
    """How many rows cannot be true. One that overlaps what is known was said before."""
    left_out = 0
    for window in batch.hosts:
        coverage = state.coverage(batch.host_id, batch.boot_id, HOST_ITSELF, 0)
        if not fits(window) or coverage.is_full:
            left_out += 1
        elif not coverage.overlaps(window.boot):
            if not coverage.stretches:
                first = (entry.log_id, batch.host_id, batch.boot_id, window.wall_start_ns)
                note("host_boot", [first])
            coverage.add(window.boot)
            state.note_changed(batch.host_id, batch.boot_id, HOST_ITSELF, 0)
            note("host_window", [host_row(entry.log_id, batch, window)])
    return left_out
