"""What a collector must answer, from the plan alone: no frame, record or stream is looked at."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from .plan import FleetPlan

Key = tuple[str, str]
"""(tenant, GPU model)."""
METERS = ("allocated", "held")
"""As the usage API calls them, and the fields of Truth."""


@dataclass(slots=True)
class Truth:
    """Integer ns. Zero is never an entry."""

    allocated: Counter[Key] = field(default_factory=Counter[Key])
    held: Counter[Key] = field(default_factory=Counter[Key])

    def add(self, other: "Truth") -> None:
        self.allocated.update(other.allocated)
        self.held.update(other.held)


@dataclass(frozen=True, slots=True)
class Difference:
    """Where the answer is not the truth."""

    meter: str
    key: Key
    truth_ns: int
    answered_ns: int


def truth_of(plan: FleetPlan, windows: Mapping[int, int]) -> Truth:
    """Over each host's first so many windows."""
    truth = Truth()
    for host, count in windows.items():
        model = plan.gpu_model(host)
        for window in range(count):
            for gpu in range(plan.gpus):
                for share in plan.use(host, gpu, window).shares:
                    key = (plan.tenant(share.tenant), model)
                    truth.allocated[key] += share.allocated_ns
                    truth.held[key] += share.held_ns
    return truth


def compare(meter: str, truth: Mapping[Key, int], answered: Mapping[Key, int]) -> list[Difference]:
    """Every pair that either side has and the other has not, or not the same amount of; in order."""
    keys: Iterable[Key] = sorted(truth.keys() | answered.keys())
    found = (Difference(meter, key, truth.get(key, 0), answered.get(key, 0)) for key in keys)
    return [each for each in found if each.truth_ns != each.answered_ns]
