"""Stretches of time."""

from dataclasses import dataclass

NS_PER_S = 1_000_000_000
NS_PER_HOUR = 3600 * NS_PER_S


@dataclass(frozen=True, slots=True, order=True)
class Interval:
    """Half-open: ``start_ns`` is in, ``end_ns`` is out, so neighbours never overlap."""

    start_ns: int
    end_ns: int

    def __post_init__(self) -> None:
        if not self.start_ns < self.end_ns:
            raise ValueError(f"empty or backward interval: {self}")

    @property
    def length_ns(self) -> int:
        return self.end_ns - self.start_ns
