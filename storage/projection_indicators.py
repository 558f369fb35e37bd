"""How fast time becomes knowledge: from the end of a window to the ledger, and until every host has passed it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from .projection_reader import Snapshot
from .usage_query import Scope

MOST_PAIRS: Final = 2_000_000
"""Windows times hosts that are looked at for finality."""


@dataclass(frozen=True, slots=True)
class Lags:
    """Of how many, and in ns; None where there are none."""

    count: int
    p50_ns: int | None = None
    p95_ns: int | None = None
    most_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Finality:
    """``windows`` are ends of windows, ``final`` those that every host has passed."""

    windows: int
    final: int
    p50_ns: int | None
    p95_ns: int | None
    p95_milliwindows: int | None


def arrival_lags(snapshot: Snapshot, scope: Scope) -> tuple[Lags, Lags]:
    """(live, replayed) of each frame and window.

    Live is what was in the ledger before the next window ended; what came later had waited at its host. A frame
    from before the end of its window, of a daemon that was stopped, has lag 0.
    """
    found = snapshot.db.execute(
        "SELECT lag_ns < window_length_ns, count(*), quantile_disc(lag_ns, 0.5), quantile_disc(lag_ns, 0.95),"
        " max(lag_ns) FROM (SELECT *, greatest(received_ns - window_start_ns - window_length_ns, 0) AS lag_ns"
        " FROM arrival WHERE log_id <= ? AND window_start_ns >= ? AND window_start_ns < ?) GROUP BY 1",
        [scope.as_of, scope.span.start_ns, scope.span.end_ns],
    ).fetchall()
    by_live = {row[0]: Lags(*row[1:]) for row in found}
    return by_live.get(True, Lags(0)), by_live.get(False, Lags(0))


def finality(snapshot: Snapshot, scope: Scope, host_ids: Sequence[str]) -> Finality | None:
    """How long after each window's end all these hosts had passed it. None: too many to look at."""
    bounds: list[Any] = [scope.as_of, scope.span.start_ns, scope.span.end_ns]
    windows = snapshot.db.execute(f"SELECT count(*) FROM ({_ENDS})", bounds).fetchall()[0][0]
    if windows * len(host_ids) > MOST_PAIRS:
        return None
    found = snapshot.db.execute(
        "SELECT count(*), count(lag_ns), quantile_disc(lag_ns, 0.5), quantile_disc(lag_ns, 0.95),"
        " quantile_disc(lag_ns::HUGEINT * 1000 // longest_ns, 0.95) FROM (SELECT end_ns, longest_ns,"
        " if(count(received_ns) = count(*), greatest(max(received_ns) - end_ns, 0), NULL) AS lag_ns FROM ("
        f" SELECT e.*, h.host_id FROM ({_ENDS}) e CROSS JOIN (SELECT unnest(?::VARCHAR[]) AS host_id) h) g"
        " ASOF LEFT JOIN (SELECT * FROM watermark WHERE log_id <= ?) w"
        " ON g.host_id = w.host_id AND g.end_ns <= w.complete_through_ns GROUP BY end_ns, longest_ns)",
        [*bounds, list(host_ids), scope.as_of],
    ).fetchall()
    return Finality(*found[0])


_ENDS: Final = (
    "SELECT window_start_ns + window_length_ns AS end_ns, max(window_length_ns) AS longest_ns FROM arrival"
    " WHERE log_id <= ? AND window_start_ns >= ? AND window_start_ns < ? GROUP BY 1"
)


@dataclass(frozen=True, slots=True)
class Mishaps:
    """Since the ledger began."""

    rejected_frames: int
    lost_frames: int
    """Of ended epochs, which never came and will not."""
    duplicates: int
    """Records and rows that came again and were counted once."""


def mishaps(snapshot: Snapshot) -> Mishaps:
    found = snapshot.db.execute(
        "SELECT coalesce(sum(rejected_frames), 0)::BIGINT, coalesce(sum(duplicates), 0)::BIGINT,"
        " (SELECT coalesce(sum(last_seq::HUGEINT - first_seq + 1), 0)::HUGEINT FROM lost) FROM host"
    ).fetchall()
    rejected, duplicates, lost = found[0]
    return Mishaps(rejected, lost, duplicates)
