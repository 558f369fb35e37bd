"""What came of trying one kind of fault, and the table of all kinds."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

_COLUMNS: Final = ("fault", "tried", "survived", "lost", "doubled", "undeclared")
_MOST_WORDS: Final = 20
"""Of what went wrong, so that one bad run does not fill the screen."""


@dataclass(slots=True)
class Outcome:
    """Counts. ``survived``: faults after which nothing at all was wrong."""

    fault: str
    tried: int = 0
    survived: int = 0
    lost: int = 0
    """Promised, and not there afterwards."""
    doubled: int = 0
    """There more than once, or not what was promised."""
    undeclared: int = 0
    """Missing without a word, an abnormal exit, or a fault that was never noticed."""
    words: list[str] = field(default_factory=list[str])
    """What exactly went wrong."""
    note: str = ""
    """How it was tried."""
    skipped: str = ""
    """Why it could not be tried here, if so."""

    @property
    def harmed(self) -> int:
        return self.lost + self.doubled + self.undeclared

    def count(self, *, lost: int = 0, doubled: int = 0, undeclared: int = 0, why: str = "") -> None:
        """One more fault was tried, and this is what it did."""
        self.tried += 1
        self.survived += not (lost or doubled or undeclared)
        self.blame(lost=lost, doubled=doubled, undeclared=undeclared, why=why)

    def blame(self, *, lost: int = 0, doubled: int = 0, undeclared: int = 0, why: str = "") -> None:
        """Something is wrong that no single fault can be named for."""
        self.lost, self.doubled, self.undeclared = (
            self.lost + lost,
            self.doubled + doubled,
            self.undeclared + undeclared,
        )
        if (lost or doubled or undeclared) and len(self.words) < _MOST_WORDS:
            self.words.append(why)


def table(outcomes: Sequence[Outcome]) -> str:
    """One line each. What was skipped says why instead."""
    rows = [_COLUMNS, *((o.fault, *map(str, _figures(o))) for o in outcomes)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    lines = [_line(row, widths) for row in rows]
    for line, outcome in enumerate(outcomes, 1):
        lines[line] += f"  skipped: {outcome.skipped}" if outcome.skipped else f"  {outcome.note}".rstrip()
    return "\n".join(lines)


def _figures(outcome: Outcome) -> tuple[int, ...]:
    return outcome.tried, outcome.survived, outcome.lost, outcome.doubled, outcome.undeclared


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = (
        cell.ljust(width) if at == 0 else cell.rjust(width)
        for at, (cell, width) in enumerate(zip(row, widths, strict=True))
    )
    return "  ".join([first, *others])
