"""What of a right to GPUs was used, instant by instant: exact, whatever the lengths of what was metered.

    used     = within + overage
    reserved = within + unused

Over the time of a segment a record says how much its workload had, not when: so a workload has so many GPUs in
every instant of it as it had on average (a share of a half for a minute is half a GPU for that minute).
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Final, NamedTuple

from .prorated import Prorated

_BITS: Final = 64


class Held(NamedTuple):
    """``amount`` parts of GPU-nanoseconds were had, evenly, from ``start_ns`` (in) to ``end_ns`` (out)."""

    start_ns: int
    end_ns: int
    amount: int


class Right(NamedTuple):
    """To ``gpus`` GPUs, from ``start_ns`` (in) to ``end_ns`` (out)."""

    start_ns: int
    end_ns: int
    gpus: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """In whole GPU-nanoseconds; ``used_ns`` and ``within_ns`` are floored, once."""

    reserved_ns: int
    used_ns: int
    within_ns: int

    @property
    def unused_ns(self) -> int:
        return self.reserved_ns - self.within_ns

    @property
    def overage_ns(self) -> int:
        return self.used_ns - self.within_ns


def compare(held: Sequence[Held], rights: Sequence[Right], parts: int = 1) -> Outcome:
    """``parts`` of an amount are one GPU-nanosecond. Amounts are positive, no stretch is empty."""
    used = sum(each.amount for each in held) // parts
    reserved = sum(right.gpus * (right.end_ns - right.start_ns) for right in rights)
    return Outcome(reserved, used, _within(held, rights, parts))


def waterfall(held: Sequence[Held], rights: Sequence[Right], parts: int = 1) -> Iterator[int]:
    """How much of each right was used, in ns, if at each instant the first in order fills up before the next."""
    before = 0
    for count in range(1, len(rights) + 1):
        through = _within(held, rights[:count], parts)
        yield through - before
        before = through


def _within(held: Sequence[Held], rights: Sequence[Right], parts: int) -> int:
    """The integral of the lesser of what is used and what is reserved.

    Where no more is used than reserved it is what was used: of each amount in proportion to such time within its
    stretch. Elsewhere it is what is reserved.
    """
    sweep = _Sweep(parts)
    for at_ns, _, what, starts in sorted(_edges(held, rights), key=itemgetter(0, 1)):
        sweep.advance(at_ns)
        sweep.change(what, starts)
    return sweep.reserved_ns + sweep.used.floored(parts)


def _edges(held: Iterable[Held], rights: Iterable[Right]) -> Iterator[tuple[int, int, Held | Right, bool]]:
    everything: list[Held | Right] = [*held, *rights]
    for what in everything:
        yield what.start_ns, 1, what, True
        yield what.end_ns, 0, what, False


@dataclass(slots=True)
class _Level:
    """How many GPUs are in use at an instant."""

    parts: int
    low: int = 0
    """In 2**-64 of a GPU, floored for each stretch: less than ``count`` of them below the truth."""
    count: int = 0
    by_length: Counter[int] = field(default_factory=Counter[int])

    def change(self, held: Held, sign: int) -> None:
        length_ns = held.end_ns - held.start_ns
        self.low += sign * ((held.amount << _BITS) // (length_ns * self.parts))
        self.count += sign
        self.by_length[length_ns] += sign * held.amount
        if not self.by_length[length_ns]:
            del self.by_length[length_ns]

    def exceeds(self, gpus: int) -> bool:
        """Decided by the approximation where it can be, which is nearly everywhere."""
        if self.low > gpus << _BITS:
            return True
        if self.low + self.count <= gpus << _BITS:
            return False
        numerator, denominator = Prorated(self.by_length).ratio()
        return numerator > gpus * self.parts * denominator


@dataclass(slots=True)
class _Sweep:
    parts: int
    now_ns: int = 0
    gpus: int = 0
    reserved_ns: int = 0
    """While more was used than reserved."""
    met_ns: int = 0
    """How long no more was used than reserved."""
    used: Prorated = field(default_factory=Prorated)
    """While no more was used than reserved."""
    level: _Level = field(init=False)
    _met_at_start: Counter[Held] = field(default_factory=Counter[Held])

    def __post_init__(self) -> None:
        self.level = _Level(self.parts)

    def advance(self, at_ns: int) -> None:
        if at_ns == self.now_ns:
            return
        if self.level.exceeds(self.gpus):
            self.reserved_ns += self.gpus * (at_ns - self.now_ns)
        else:
            self.met_ns += at_ns - self.now_ns
        self.now_ns = at_ns

    def change(self, what: Held | Right, starts: bool) -> None:
        sign = 1 if starts else -1
        if isinstance(what, Right):
            self.gpus += sign * what.gpus
            return
        self.level.change(what, sign)
        # The same may be held several times: all of them began at one instant, so at one value of met_ns.
        if starts:
            self._met_at_start[what] = self.met_ns
        else:
            self.used.add(what.amount * (self.met_ns - self._met_at_start[what]), what.end_ns - what.start_ns)
