"""A driver's energy counter between two readings of it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Counter:
    """Grows evenly from ``start_mj`` to ``end_mj``, in integers: the end of one piece is the start of the next."""

    start_ns: int
    end_ns: int
    start_mj: int | None
    end_mj: int | None

    def at_mj(self, at_ns: int) -> int | None:
        """The counter at an instant inside; None if it was never read."""
        if self.start_mj is None or self.end_mj is None:
            return self.start_mj
        grown_mj = self.end_mj - self.start_mj
        return self.start_mj + grown_mj * (at_ns - self.start_ns) // (self.end_ns - self.start_ns)

    def between_mj(self, start_ns: int, end_ns: int) -> int:
        """What was spent between two instants inside; 0 if nothing was counted."""
        return (self.at_mj(end_ns) or 0) - (self.at_mj(start_ns) or 0)


def counter_between(start_ns: int, end_ns: int, before_mj: int | None, after_mj: int | None) -> Counter:
    """What was counted over a stretch. A missing or smaller value says nothing: the counter then stands still."""
    if before_mj is None or after_mj is None or after_mj < before_mj:
        after_mj = before_mj
    return Counter(start_ns, end_ns, before_mj, after_mj)
