"""Amounts in proportion to time, exact: fractions are summed as they are and floored once, where the sum is shown."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(slots=True)
class Prorated:
    """A sum of ``numerator / length``. Kept by length, of which there are few, for common denominators grow."""

    by_length: Counter[int] = field(default_factory=Counter[int])

    def add(self, numerator: int, length_ns: int) -> None:
        self.by_length[length_ns] += numerator

    def include(self, other: "Prorated") -> None:
        self.by_length.update(other.by_length)

    def ratio(self) -> tuple[int, int]:
        """(numerator, denominator), not reduced."""
        terms = [(numerator, length) for length, numerator in self.by_length.items() if numerator]
        while len(terms) > 1:  # as a tree, so that few of the numbers are large
            terms = [_sum(terms[at : at + 2]) for at in range(0, len(terms), 2)]
        return terms[0] if terms else (0, 1)

    def floored(self, divisor: int = 1) -> int:
        """The whole part of the sum over ``divisor``."""
        numerator, denominator = self.ratio()
        return numerator // (denominator * divisor)


def total(parts: Iterable[Prorated]) -> Prorated:
    """The sum of sums."""
    whole = Prorated()
    for part in parts:
        whole.include(part)
    return whole


def _sum(terms: list[tuple[int, int]]) -> tuple[int, int]:
    if len(terms) == 1:
        return terms[0]
    (a, b), (c, d) = terms
    return a * d + c * b, b * d
