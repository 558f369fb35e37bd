"""A script that is still being drawn: faults write what they do into its tables, processes are fitted in between."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from .script import (
    GRID_NS,
    MS,
    Blind,
    Boot,
    Ending,
    Fault,
    Glitch,
    Gpu,
    Instance,
    Job,
    Life,
    Loss,
    Process,
    Restart,
    Rules,
    S,
    Step,
    Stretch,
)

FAR_NS = 1 << 61


@dataclass(slots=True)
class Plan:
    """Mutable; ``draw`` freezes it."""

    rng: Random
    length_ns: int
    every_s: float
    idle_every_s: float
    window_s: int
    gpus: tuple[Gpu, ...]
    jobs: Sequence[Job]
    rules: list[Rules]
    faults: list[Fault] = field(default_factory=list[Fault])
    boots: list[Boot] = field(default_factory=list[Boot])
    lives: list[Life] = field(default_factory=list[Life])
    blinds: list[Blind] = field(default_factory=list[Blind])
    glitches: list[Glitch] = field(default_factory=list[Glitch])
    restarts: list[Restart] = field(default_factory=list[Restart])
    orders: list[tuple[int, tuple[int, ...]]] = field(default_factory=list[tuple[int, tuple[int, ...]]])
    instances: list[Instance] = field(default_factory=list[Instance])
    steps: list[Step] = field(default_factory=list[Step])
    suspends: list[Stretch] = field(default_factory=list[Stretch])
    releases: list[Stretch] = field(default_factory=list[Stretch])
    aways: list[Stretch] = field(default_factory=list[Stretch])
    losses: list[Loss] = field(default_factory=list[Loss])
    slow: list[Stretch] = field(default_factory=list[Stretch])
    full: list[Stretch] = field(default_factory=list[Stretch])
    processes: list[Process] = field(default_factory=list[Process])
    """Those that a fault is about."""
    closed: list[Stretch] = field(default_factory=list[Stretch])
    """When nobody can hold any device."""
    pid: int = 1000

    def __post_init__(self) -> None:
        self.boots = [Boot(self._boot_id(), -self.draw_ns(30, 3000), self.length_ns + 60 * S)]
        start_ns = self.draw_ns(0, 20)
        self.lives = [Life(start_ns, self.length_ns, Ending.STOPPED, self.length_ns + 60 * S)]

    @property
    def coarse_ns(self) -> int:
        """The longest distance between two ticks."""
        return round(max(self.every_s, self.idle_every_s) * S)

    @property
    def holdable(self) -> list[str]:
        """Devices that processes can hold at one time or another."""
        whole = [gpu.device_id for gpu in self.gpus if not gpu.mig]
        return whole + list(dict.fromkeys(instance.device_id for instance in self.instances))

    def draw_ns(self, least_s: float, most_s: float) -> int:
        """A length or an instant on the grid of what procfs can show."""
        return self.rng.randrange(round(least_s * S) // GRID_NS, round(most_s * S) // GRID_NS + 1) * GRID_NS

    def draw_gpu(self) -> Gpu:
        return self.rng.choice(self.gpus)

    def draw_pid(self) -> int:
        self.pid += self.rng.randrange(1, 40)
        return self.pid

    def break_life(self, end_ns: int, ending: Ending, start_ns: int) -> None:
        """The life that goes on at ``end_ns`` ends there, and another begins."""
        last = self.lives.pop()
        self.lives.append(Life(last.start_ns, end_ns, ending, start_ns - 100 * MS))
        self.lives.append(Life(start_ns, last.end_ns, last.ending, last.latest_ns))

    def break_boot(self, down_ns: int, up_ns: int) -> None:
        """The power is off in between, and every process is gone."""
        last = self.boots.pop()
        self.boots.append(Boot(last.boot_id, last.up_ns, down_ns))
        self.boots.append(Boot(self._boot_id(), up_ns, last.down_ns))
        self.closed.append(Stretch(down_ns, up_ns))

    def closed_for(self, device_id: str) -> list[Stretch]:
        """When nobody can hold this one: what is not an instance then is nothing at all."""
        lives = sorted((i.made_ns, i.gone_ns) for i in self.instances if i.device_id == device_id)
        ends = [-FAR_NS, *(edge for life in lives for edge in life), FAR_NS]
        gaps = [Stretch(a, b) for a, b in zip(ends[::2], ends[1::2], strict=True) if a < b] if lives else []
        return self.closed + gaps

    def _boot_id(self) -> str:
        return f"boot-{self.rng.getrandbits(64):016x}"
