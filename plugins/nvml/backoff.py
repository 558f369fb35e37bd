"""Growing pauses between tries that keep failing."""

from dataclasses import dataclass

SHIFT_CAP = 20


@dataclass(slots=True)
class Backoff:
    """Pauses of ``first_ns``, doubled each time and at most ``cap_ns``, until ``reset``."""

    first_ns: int
    cap_ns: int
    tries: int = 0

    def next_ns(self, per_mille: int = 1000) -> int:
        """The pause before the next try; ``per_mille`` (0 to 1000) of it, for jitter."""
        pause_ns = min(self.cap_ns, self.first_ns << min(self.tries, SHIFT_CAP))
        self.tries += 1
        return pause_ns * per_mille // 1000

    def reset(self) -> None:
        self.tries = 0
