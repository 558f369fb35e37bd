"""Which of a device's time is already accounted for: tells new from repeated without asking the store.

Segments of one device in one boot tile CLOCK_BOOTTIME. A segment that touches no
covered time cannot have been counted before, whatever the stream that brought it;
only one that does needs a look at what is stored. In steady state a device has
one stretch that grows at its end, so this is small where the tables are not.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from typing import Final

from ..model.interval import Interval

MOST_STRETCHES: Final = 10_000
"""Beyond this many holes a device's rows are refused: no host may grow the collector's memory."""


class Coverage:
    """Disjoint stretches in order, neighbours joined."""

    def __init__(self, stretches: Iterable[Interval] = ()) -> None:
        self._stretches = list(stretches)

    @property
    def stretches(self) -> tuple[Interval, ...]:
        return tuple(self._stretches)

    @property
    def is_full(self) -> bool:
        return len(self._stretches) >= MOST_STRETCHES

    def overlaps(self, wanted: Interval) -> bool:
        after = self._first_ending_after(wanted.start_ns)
        return after < len(self._stretches) and self._stretches[after].start_ns < wanted.end_ns

    def holes(self, wanted: Interval) -> Iterator[Interval]:
        """The parts of ``wanted`` that are not covered, in order."""
        start_ns = wanted.start_ns
        for stretch in self._stretches[self._first_ending_after(start_ns) :]:
            if stretch.start_ns >= wanted.end_ns:
                break
            if start_ns < stretch.start_ns:
                yield Interval(start_ns, stretch.start_ns)
            start_ns = stretch.end_ns
        if start_ns < wanted.end_ns:
            yield Interval(start_ns, wanted.end_ns)

    def add(self, new: Interval) -> None:
        """``new`` must not overlap what is covered."""
        at = self._first_ending_after(new.start_ns)
        start_ns, end_ns, first, last = new.start_ns, new.end_ns, at, at
        if at > 0 and self._stretches[at - 1].end_ns == start_ns:
            first, start_ns = at - 1, self._stretches[at - 1].start_ns
        if at < len(self._stretches) and self._stretches[at].start_ns == end_ns:
            last, end_ns = at + 1, self._stretches[at].end_ns
        self._stretches[first:last] = [Interval(start_ns, end_ns)]

    def _first_ending_after(self, instant_ns: int) -> int:
        stretches = self._stretches
        if not stretches or stretches[-1].end_ns <= instant_ns:
            return len(stretches)
        return bisect_left(stretches, instant_ns + 1, key=lambda stretch: stretch.end_ns)
