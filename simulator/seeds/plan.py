"""A script that is still being drawn: faults write what they do into its tables, processes are fitted in between."""

from collections import defaultdict
from dataclasses import dataclass, field
from random import Random

from .script import GRID_NS, MS, Boot, Ending, Fault, Gpu, Life, Rules, S


@dataclass(slots=True)
class Plan:
    """Mutable; ``make`` in draw.py freezes it."""

    rng: Random
    length_ns: int
    every_s: float
    idle_every_s: float
    gpus: tuple[Gpu, ...]
    rules: list[Rules]
    faults: list[Fault] = field(default_factory=list[Fault])
    boots: list[Boot] = field(default_factory=list[Boot])
    lives: list[Life] = field(default_factory=list[Life])
    closed: defaultdict[str, list[tuple[int, int]]] = field(
        default_factory=lambda: defaultdict[str, list[tuple[int, int]]](list)
    )
    """By device: when nobody can hold it, sorted."""

    def __post_init__(self) -> None:
        self.boots = [Boot(f"boot-{self.rng.getrandbits(64):016x}", -self.draw_ns(30, 3000), self.length_ns + 60 * S)]
        start_ns = self.draw_ns(0, 20)
        self.lives = [Life(start_ns, self.length_ns, Ending.STOPPED, self.length_ns + 60 * S)]

    @property
    def coarse_ns(self) -> int:
        """The longest distance between two ticks."""
        return round(max(self.every_s, self.idle_every_s) * S)

    def draw_ns(self, least_s: float, most_s: float) -> int:
        """A length or an instant on the grid of what procfs can show."""
        return self.rng.randrange(round(least_s * S) // GRID_NS, round(most_s * S) // GRID_NS + 1) * GRID_NS

    def break_life(self, end_ns: int, ending: Ending, start_ns: int) -> None:
        """The life that goes on at ``end_ns`` ends there, and another begins."""
        last = self.lives.pop()
        self.lives.append(Life(last.start_ns, end_ns, ending, start_ns - 100 * MS))
        self.lives.append(Life(start_ns, last.end_ns, last.ending, last.latest_ns))

    def break_boot(self, down_ns: int, up_ns: int) -> None:
        """The power is off in between, and every process is gone."""
        last = self.boots.pop()
        self.boots.append(Boot(last.boot_id, last.up_ns, down_ns))
        self.boots.append(Boot(f"boot-{self.rng.getrandbits(64):016x}", up_ns, last.down_ns))
        self.close(down_ns, up_ns)

    def close(self, from_ns: int, until_ns: int, device_id: str | None = None) -> None:
        """Nobody holds the device, or any of them, in between."""
        for gpu in self.gpus:
            if device_id in (None, gpu.device_id):
                self.closed[gpu.device_id].append((from_ns, until_ns))
