"""GPU time of MIG instances: instance time times the fraction of the GPU's slices, floored once, in the sum.

Fractions stay rational: everything is summed in parts of one GPU-nanosecond, as many as
the least common multiple of all denominators in the ledger, and divided when it is shown.
"""

from dataclasses import dataclass
from math import lcm
from typing import Literal

from .projection_reader import Snapshot

By = Literal["compute", "memory"]


@dataclass(frozen=True, slots=True)
class Fractions:
    """How sums are weighted: ``parts`` of a GPU-nanosecond are one."""

    by: By
    parts: int

    def weighted(self, column: str) -> str:
        """SQL: the column in parts of a GPU-nanosecond."""
        if self.parts == 1:
            return column
        return f"{column}::HUGEINT * coalesce({self.by}, 1) * ({self.parts} // coalesce({self.by}_of, 1))"

    def floored(self, parts: int | None) -> int:
        """Whole nanoseconds of a sum."""
        return (parts or 0) // self.parts


def fractions(snapshot: Snapshot, by: By = "compute") -> Fractions:
    """For any sum over this ledger. Without MIG it weighs nothing."""
    found = snapshot.db.execute(f"SELECT DISTINCT {by}_of FROM device WHERE {by}_of IS NOT NULL").fetchall()
    return Fractions(by, lcm(*(row[0] for row in found if row[0])))
