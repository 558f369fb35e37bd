"""What a fleet has done so far: counts that add up over processes."""

from collections import Counter
from dataclasses import dataclass, field, fields

_MOST_REASONS = 20
"""Kinds of trouble that are told apart; what comes beyond them is counted together."""
_LONGEST_MS = 600_000


@dataclass(slots=True)
class Tally:
    """Since the start, but for ``streams``, which are open now."""

    streams: int = 0
    opened: int = 0
    """Streams that were welcomed."""
    most_streams: int = 0
    """Open at once; of several processes the sum of each one's most."""
    frames_sent: int = 0
    records_sent: int = 0
    frames: int = 0
    """Acknowledged."""
    records: int = 0
    """In acknowledged frames."""
    rejected: int = 0
    retries: int = 0
    """Streams that broke or were not to be had, and were tried again."""
    hosts_done: int = 0
    """All that they had to say is acknowledged."""
    trouble: Counter[str] = field(default_factory=Counter[str])
    """Why streams broke."""
    refused: Counter[str] = field(default_factory=Counter[str])
    """Hosts that were refused for good, by reason."""
    delays_ms: Counter[int] = field(default_factory=Counter[int])
    """From a window's end to its frame's acknowledgement: how many took so long. Live fleets only."""

    def add(self, other: "Tally") -> None:
        for each in fields(self):
            mine, its = getattr(self, each.name), getattr(other, each.name)
            if isinstance(mine, Counter):
                mine.update(its)  # pyright: ignore[reportUnknownMemberType]
            else:
                setattr(self, each.name, mine + its)

    def open(self) -> None:
        self.streams += 1
        self.opened += 1
        self.most_streams = max(self.most_streams, self.streams)

    def note_trouble(self, why: str) -> None:
        self.retries += 1
        self.trouble[self._kept(self.trouble, why)] += 1

    def note_refusal(self, why: str) -> None:
        self.refused[self._kept(self.refused, why)] += 1

    def note_delay(self, delay_ns: int) -> None:
        self.delays_ms[min(max(delay_ns // 1_000_000, 0), _LONGEST_MS)] += 1

    @staticmethod
    def _kept(known: Counter[str], why: str) -> str:
        return why if why in known or len(known) < _MOST_REASONS else "others"


def percentile_ms(delays_ms: Counter[int], percent: int) -> int | None:
    """The smallest delay that so many of a hundred do not exceed; None of none."""
    wanted, seen = -(-delays_ms.total() * percent // 100), 0
    for delay_ms in sorted(delays_ms):
        seen += delays_ms[delay_ms]
        if seen >= wanted:
            return delay_ms
    return None
