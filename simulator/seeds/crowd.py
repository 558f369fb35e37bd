"""The processes of a script: whose they are, when they come and go, and what they hold meanwhile."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from random import Random

from .plan import Plan
from .script import GRID_NS, Job, Lease, Process, S, Stretch, Use

GIB = 1 << 30


def draw_jobs(rng: Random, count: int) -> list[Job]:
    """Of several kinds, as different managers lay them out; the host's own last."""
    return [*(_draw_job(rng, number) for number in range(count)), Job("host", "/", "/init.scope")]


def _draw_job(rng: Random, number: int) -> Job:
    match rng.randrange(3):
        case 0:
            container = f"{rng.getrandbits(256):064x}"
            return Job("docker", container, f"/system.slice/docker-{container}.scope")
        case 1:
            return Job("slurm", str(4000 + number), f"/system.slice/slurmstepd.scope/job_{4000 + number}/step_0")
        case _:
            return Job("service", f"train-{number}.service", f"/system.slice/train-{number}.service")


def draw_tenants(rng: Random, jobs: Sequence[Job]) -> dict[Job, str]:
    """A rule for most jobs; who has none is nobody's."""
    return {job: f"tenant-{rng.randrange(4)}" for job in jobs if not job.is_host and rng.random() < 0.9}


def draw_leases(plan: Plan) -> Iterator[Lease]:
    """For some devices, some of the time: whole ones and parts, by operators and by a scheduler."""
    rng = plan.rng
    for number, device_id in enumerate([*plan.holdable, *(gpu.device_id for gpu in plan.gpus if gpu.mig)]):
        if rng.random() < 0.6:
            continue
        for part in range(rng.randrange(1, 4)):
            start_ns = rng.randrange(-60 * S, plan.length_ns)
            of = rng.choice((1, 1, 4))
            yield Lease(
                device_id=device_id,
                job=Job("lease", f"lease-{number}-{part}", ""),
                tenant=f"tenant-{rng.randrange(4)}",
                is_scheduled=rng.random() < 0.3,
                start_ns=start_ns,
                end_ns=start_ns + rng.randrange(10 * S, 600 * S),
                units=rng.randrange(1, of + 1),
                of=of,
            )


@dataclass(slots=True)
class Crowd:
    """Draws processes, each on its track: one after the other, with pauses between."""

    plan: Plan

    def draw(self) -> list[Process]:
        found = [process for process in self.plan.processes if self._is_possible(process)]
        for device_id in self.plan.holdable:
            for _ in range(self.plan.rng.randrange(1, 4)):
                found += self._draw_track(device_id)
        return sorted(found, key=lambda process: (process.start_ns, process.pid))

    def _draw_track(self, device_id: str) -> Iterator[Process]:
        rng = self.plan.rng
        at_ns = self.plan.draw_ns(-30, 120)
        while at_ns < self.plan.length_ns:
            process = self._draw_process(device_id, at_ns)
            if process is not None:
                yield process
            at_ns = (process.end_ns if process else at_ns) + self.plan.draw_ns(0.01, rng.choice((5, 60, 300)))

    def _draw_process(self, device_id: str, at_ns: int) -> Process | None:
        rng = self.plan.rng
        devices = {device_id}
        if rng.random() < 0.2:
            devices.add(rng.choice(self.plan.holdable))
        start_ns, end_ns = self._fit(devices, at_ns, at_ns + self._draw_length_ns())
        if end_ns - start_ns <= self._least_ns:
            return None
        memory_bytes = rng.randrange(1, 40) * GIB // 2
        uses = tuple(Use(each, start_ns, end_ns, memory_bytes) for each in sorted(devices))
        return self._vary(Process(self.plan.draw_pid(), rng.choice(self.plan.jobs), start_ns, end_ns, uses))

    def _vary(self, process: Process) -> Process:
        """Some open a device long after they start, or let go of it long before they end."""
        rng, least_ns = self.plan.rng, self._least_ns
        uses = list(process.uses)
        for index, use in enumerate(uses):
            spare_ns = use.close_ns - use.open_ns - 2 * least_ns
            if spare_ns > 0 and rng.random() < 0.15:
                uses[index] = replace(use, open_ns=self._awake(use.open_ns + least_ns + rng.randrange(spare_ns)))
            elif spare_ns > 0 and rng.random() < 0.15:
                close_ns = self._awake(use.close_ns - least_ns - rng.randrange(spare_ns))
                uses[index] = replace(use, close_ns=min(close_ns, process.end_ns))
        return replace(process, uses=tuple(use for use in uses if use.open_ns < use.close_ns))

    @property
    def _least_ns(self) -> int:
        """Longer than any two readings may be apart and still be bridged: whoever is shorter may never be seen."""
        return 3 * self.plan.coarse_ns + 5 * S

    def _draw_length_ns(self) -> int:
        return self._least_ns + self.plan.draw_ns(0.01, self.plan.rng.choice((30, 200, 1000)))

    def _fit(self, devices: set[str], start_ns: int, end_ns: int) -> tuple[int, int]:
        """Into the time in which these devices can be held; at the end of it the process is ended."""
        closed = {(c.from_ns, c.until_ns) for device_id in devices for c in self.plan.closed_for(device_id)}
        for from_ns, until_ns in sorted(closed):
            if from_ns <= start_ns < until_ns:
                start_ns = until_ns + self.plan.draw_ns(0, 20)
                end_ns = max(end_ns, start_ns)
            elif start_ns < from_ns < end_ns:
                end_ns = from_ns
        return self._awake(-(-start_ns // GRID_NS) * GRID_NS), self._awake(end_ns)

    def _awake(self, at_ns: int) -> int:
        """Nothing happens while the host is suspended: it happens afterwards."""
        asleep: Stretch | None = next((each for each in self.plan.suspends if at_ns in each), None)
        return at_ns if asleep is None else -(-asleep.until_ns // GRID_NS) * GRID_NS + self.plan.draw_ns(0.01, 3)

    def _is_possible(self, process: Process) -> bool:
        """Whether nothing else that was drawn stands in the way of one that a fault is about."""
        edges = (process.start_ns, process.end_ns)
        closed = [each for use in process.uses for each in self.plan.closed_for(use.device_id)]
        return not any(each.from_ns < edges[1] and edges[0] < each.until_ns for each in closed) and not any(
            edge in each for each in self.plan.suspends for edge in edges
        )
