"""Buckets of UTC: quarter hours, hours, days and months, and how a span is put together from them. Pure."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from typing import Final, NamedTuple

from ..model.interval import NS_PER_S, Interval


class Level(IntEnum):
    """How long a bucket is. A quarter hour is the finest: every time zone in use begins its days on one."""

    QUARTER = 0
    HOUR = 1
    DAY = 2
    MONTH = 3

    @property
    def table(self) -> str:
        return f"rollup_{self.name.lower()}"


QUARTER_S: Final = 900
_FIXED_S: Final = {Level.QUARTER: QUARTER_S, Level.HOUR: 3_600, Level.DAY: 86_400}
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FURTHEST_S: Final = 2**33
"""Of spans (the year 2242): beyond it no window lies, and months are not counted."""


class Bucket(NamedTuple):
    """``start_s``: seconds since 1970, UTC."""

    level: Level
    start_s: int

    @property
    def end_s(self) -> int:
        if self.level is Level.MONTH:
            return _month_start(self.start_s + 31 * 86_400)
        return self.start_s + _FIXED_S[self.level]

    @property
    def children(self) -> Iterator["Bucket"]:
        """The buckets of the next finer level in it; a quarter hour has none."""
        if self.level is Level.QUARTER:
            return
        level = Level(self.level - 1)
        for start_s in range(self.start_s, self.end_s, _FIXED_S[level]):
            yield Bucket(level, start_s)


def bucket_of(level: Level, instant_s: int) -> Bucket:
    """The bucket of this level in which the instant lies."""
    if level is Level.MONTH:
        return Bucket(level, _month_start(instant_s))
    return Bucket(level, instant_s - instant_s % _FIXED_S[level])


def buckets_of(instants_s: Iterable[int]) -> set[Bucket]:
    """Every bucket, of every level, in which one of them lies."""
    quarters = {instant_s - instant_s % QUARTER_S for instant_s in instants_s}
    return {bucket_of(level, quarter_s) for quarter_s in quarters for level in Level}


def _month_start(instant_s: int) -> int:
    first = (_EPOCH + timedelta(seconds=instant_s)).replace(day=1, hour=0, minute=0, second=0)
    return int((first - _EPOCH).total_seconds())


@dataclass(slots=True)
class Pieces:
    """What a span is put together from, without gap or overlap: buckets, and spans to be read from the records."""

    buckets: list[tuple[Bucket, int]] = field(default_factory=list[tuple[Bucket, int]])
    """Each with the start (ns) of the answer's window in which it lies."""
    raw: list[Interval] = field(default_factory=list[Interval])

    def add_raw(self, start_ns: int, end_ns: int) -> None:
        if self.raw and self.raw[-1].end_ns == start_ns:
            start_ns = self.raw.pop().start_ns
        self.raw.append(Interval(start_ns, end_ns))


def put_together(span: Interval, edges_ns: Sequence[int], is_dirty: Callable[[Bucket], bool]) -> Pieces:
    """The largest clean buckets that fit between the span's ends and the edges inside it; the rest from records."""
    pieces = Pieces()
    inner = [edge for edge in edges_ns if span.start_ns < edge < span.end_ns]
    starts = [edges_ns[0] if edges_ns else span.start_ns, *inner]
    bounds = [span.start_ns, *inner, span.end_ns]
    for window_ns, start_ns, end_ns in zip(starts, bounds, bounds[1:], strict=False):
        _put_together(pieces, window_ns, start_ns, end_ns, is_dirty)
    return pieces


def _put_together(
    pieces: Pieces, window_ns: int, start_ns: int, end_ns: int, is_dirty: Callable[[Bucket], bool]
) -> None:
    at_ns = start_ns
    while at_ns < end_ns:
        bucket = _largest(at_ns, end_ns, is_dirty)
        if bucket is None:
            quarter_ns = QUARTER_S * NS_PER_S
            next_ns = min(end_ns, at_ns - at_ns % quarter_ns + quarter_ns)
            pieces.add_raw(at_ns, next_ns)
        else:
            next_ns = bucket.end_s * NS_PER_S
            pieces.buckets.append((bucket, window_ns))
        at_ns = next_ns


def _largest(start_ns: int, end_ns: int, is_dirty: Callable[[Bucket], bool]) -> Bucket | None:
    """The largest clean bucket that begins here and ends in time."""
    start_s, rest_ns = divmod(start_ns, NS_PER_S)
    if rest_ns or start_s % QUARTER_S or not 0 <= start_s < _FURTHEST_S:
        return None
    for level in reversed(Level):
        bucket = bucket_of(level, start_s)
        if bucket.start_s == start_s and bucket.end_s * NS_PER_S <= end_ns and not is_dirty(bucket):
            return bucket
    return None
