"""When to try again, and with whom: full jitter, capped, and endpoints in their order of preference."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

_FORGIVE_AFTER_S: Final = 300.0


@dataclass(slots=True)
class Backoff:
    """Delays that spread hosts out: thousands arriving at once overrun a collector that has just come back."""

    first_s: float
    most_s: float
    rng: random.Random = field(default_factory=random.Random)
    _failures: int = 0

    def next_s(self) -> float:
        """Anything from 0 to twice the last limit."""
        limit_s = min(self.most_s, self.first_s * 2 ** min(self._failures, 30))
        self._failures += 1
        return self.rng.uniform(0.0, limit_s)

    def reset(self) -> None:
        self._failures = 0


class Endpoints:
    """Prefers the first that has not failed of late; when all have, the one that failed longest ago."""

    def __init__(self, endpoints: Sequence[str]) -> None:
        self._failed_s: dict[str, float | None] = dict.fromkeys(endpoints)

    def pick(self, now_s: float) -> str:
        """Raises ValueError if there is none at all."""
        for endpoint, failed_s in self._failed_s.items():
            if failed_s is None or now_s - failed_s > _FORGIVE_AFTER_S:
                return endpoint
        return min(self._failed_s, key=lambda endpoint: self._failed_s[endpoint] or 0.0)

    def failed(self, endpoint: str, now_s: float) -> None:
        self._failed_s[endpoint] = now_s
