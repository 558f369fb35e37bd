"""Where a range may begin and end, and where the windows of an answer lie.

A record belongs to the window that names it, whole; so a range that cut a window
would have to guess. It is refused instead, with the nearest times that do not.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta, tzinfo
from enum import StrEnum
from math import lcm
from typing import Final

from ..model.interval import NS_PER_S, Interval
from ..storage.usage_query import WindowLength
from .instants import instant_of

MINUTE_NS: Final = 60 * NS_PER_S
_DAY_NS: Final = 86_400 * NS_PER_S
MOST_WINDOWS: Final = 50_000


class Window(StrEnum):
    """How an answer is cut in time."""

    NONE = "none"
    MINUTE = "minute"
    QUARTER = "quarter"
    """Of an hour."""
    HOUR = "hour"
    DAY = "day"
    MONTH = "month"


_FIXED_NS: Final = {Window.MINUTE: MINUTE_NS, Window.QUARTER: 15 * MINUTE_NS, Window.HOUR: 60 * MINUTE_NS}


def grid_ns(all_lengths_ns: Sequence[int], overlapping: Sequence[WindowLength]) -> int:
    """What every edge must be a multiple of: a minute, or the longest window in the range if that is longer.

    Only if all windows in the ledger are shorter than a minute may edges be closer. Windows that
    lie on no grid (a length that does not divide the day) have no say; see ``cut_windows``.
    """
    regular = [window.length_ns for window in overlapping if _is_regular(window)]
    short = [length for length in all_lengths_ns if _DAY_NS % length == 0]
    finest = lcm(*short) if all_lengths_ns and max(all_lengths_ns) < MINUTE_NS else MINUTE_NS
    return lcm(finest, *regular)


def cut_windows(overlapping: Sequence[WindowLength]) -> tuple[int | None, int | None]:
    """The lengths of windows that lie on no grid and that the range's start, its end would cut."""
    odd = [window for window in overlapping if not _is_regular(window)]
    start = next((window.length_ns for window in odd if window.cut_start), None)
    end = next((window.length_ns for window in odd if window.cut_end), None)
    return start, end


def _is_regular(window: WindowLength) -> bool:
    return window.aligned and _DAY_NS % window.length_ns == 0


def edges_ns(span: Interval, window: Window, zone: tzinfo, cycle: int = 1) -> tuple[int, ...]:
    """The start of every window that overlaps ``span``, the first at or before its start; none for Window.NONE.

    Days and months begin at local midnight; where a clock change skips midnight, at the first
    instant of the day; months on their day ``cycle`` (1 to 28). Raises ValueError for more than MOST_WINDOWS.
    """
    edges: list[int] = []
    for edge in _all_edges(span.start_ns, window, zone, cycle):
        if edge >= span.end_ns:
            break
        edges.append(edge)
        if len(edges) > MOST_WINDOWS:
            raise ValueError(f"is {window} over a range of more than {MOST_WINDOWS} of them: ask for less at once")
    return tuple(edges)


def _all_edges(start_ns: int, window: Window, zone: tzinfo, cycle: int) -> Iterator[int]:
    if window is Window.NONE:
        return
    if length_ns := _FIXED_NS.get(window):
        edge_ns = start_ns - start_ns % length_ns
        while True:
            yield edge_ns
            edge_ns += length_ns
    day = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=start_ns // NS_PER_S)).astimezone(zone).date()
    while True:
        day = _first_of_cycle(day, cycle) if window is Window.MONTH else day
        yield instant_of(datetime(day.year, day.month, day.day, tzinfo=zone))
        day = _next(day, window)


def _first_of_cycle(day: date, cycle: int) -> date:
    before = day if day.day >= cycle else day.replace(day=1) - timedelta(days=1)
    return before.replace(day=cycle)


def _next(day: date, window: Window) -> date:
    if window is Window.DAY:
        return day + timedelta(days=1)
    return (day.replace(day=28) + timedelta(days=4)).replace(day=day.day)
