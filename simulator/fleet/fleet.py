"""A whole fleet: a few processes, what they report added up, and a word to stop that reaches all of them."""

import contextlib
import multiprocessing
import signal
import time
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from types import FrameType
from typing import TYPE_CHECKING, Final

from .dial import Target
from .plan import FleetPlan
from .tally import Tally
from .truth import Truth
from .worker import Job, Report, work

INTERRUPTED: Final = "interrupted"
_LOOK_EVERY_S: Final = 0.5
_END_WITHIN_S: Final = 30.0
_DIED: Final = "one of the fleet's processes died"


if TYPE_CHECKING:
    _Pipe = Connection[Job | None, Report]
else:
    _Pipe = Connection  # takes no parameters while it runs


class Enough(Exception):
    """Raised by whom the fleet tells how it stands: it is then stopped in good order."""


class WorkerDied(Exception):
    """One of the fleet's own processes ended without its last report."""


@dataclass(slots=True)
class Outcome:
    """What became of the fleet."""

    tally: Tally = field(default_factory=Tally)
    truth: Truth = field(default_factory=Truth)
    """Of all that is acknowledged, and of nothing else."""
    windows: Counter[int] = field(default_factory=Counter[int])
    """How many of each host's windows are acknowledged."""
    in_doubt: int = 0
    """Hosts that were stopped with frames on the wire: the collector may have committed them."""
    took_s: float = 0.0
    stopped: str = ""
    """Why it ended before all was said, if so."""


@dataclass(frozen=True, slots=True)
class Manner:
    """How the fleet is run."""

    live: bool = False
    linger_s: float = 0.0
    """How long each host keeps an idle stream (uplink.linger_s); at most a day."""
    processes: int = 2
    concurrency: int = 2_000
    """Most streams at once, over all processes."""
    patience_s: float = 60.0
    """Without any acknowledgement for so long, though something is owed, the fleet gives up."""


def run_fleet(plan: FleetPlan, target: Target, manner: Manner, tell: Callable[[Tally], None]) -> Outcome:
    """``tell`` hears the sum about twice a second. Call it in the main thread: Ctrl-C stops the fleet in good order
    and is in the outcome; a second one raises KeyboardInterrupt.

    ``tell`` may raise Enough. Raises WorkerDied.
    """
    began_s = time.monotonic()
    interrupts = _Interrupts()
    with _workers(_jobs(plan, target, manner), interrupts) as pipes:
        outcome = _Watch(pipes, _patience_s(plan, manner), tell, interrupts).run()
    outcome.took_s = time.monotonic() - began_s
    return outcome


def _jobs(plan: FleetPlan, target: Target, manner: Manner) -> list[Job]:
    count = min(manner.processes, plan.hosts)
    each = max(manner.concurrency // count, 1)
    shares = [tuple(range(first, plan.hosts, count)) for first in range(count)]
    return [
        Job(plan, target.only(list(map(plan.host_id, hosts))), hosts, manner.live, manner.linger_s, each)
        for hosts in shares
    ]


def _patience_s(plan: FleetPlan, manner: Manner) -> float:
    """A live fleet has nothing to say until its first window ends, and between the windows."""
    if not manner.live:
        return manner.patience_s
    return manner.patience_s + (max(plan.start_ns - time.time_ns(), 0) + plan.window_ns) / 1_000_000_000


@contextmanager
def _workers(jobs: list[Job], interrupts: "_Interrupts") -> Generator[list[_Pipe]]:
    """Never forked, which gRPC would not survive; deaf to Ctrl-C, which is the parent's to hear."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    started: list[tuple[SpawnProcess, _Pipe]] = []
    try:
        started += [_start() for _ in jobs]
        signal.signal(signal.SIGINT, interrupts.note)
        for (_, pipe), job in zip(started, jobs, strict=True):
            _give(pipe, job)
        yield [pipe for _, pipe in started]
    finally:
        signal.signal(signal.SIGINT, before)
        for process, pipe in started:
            pipe.close()
            process.join(_END_WITHIN_S)
            if process.is_alive():
                process.kill()


def _start() -> tuple[SpawnProcess, _Pipe]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=work, args=(theirs,), daemon=True)
    process.start()
    theirs.close()
    return process, ours


def _give(pipe: _Pipe, job: Job) -> None:
    try:
        pipe.send(job)
    except (BrokenPipeError, ConnectionResetError):
        raise WorkerDied(_DIED) from None


class _Interrupts:
    """The first is noted, since raised in the middle of a report it would leave half of that in the pipe."""

    def __init__(self) -> None:
        self.asked = False

    def note(self, _number: int, _frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True


class _Watch:
    """Hears the workers until each has made its last report."""

    def __init__(
        self,
        pipes: list[_Pipe],
        patience_s: float,
        tell: Callable[[Tally], None],
        interrupts: "_Interrupts",
    ) -> None:
        self._open, self._patience_s, self._tell, self._interrupts = list(pipes), patience_s, tell, interrupts
        self._workers = len(pipes)
        self._newest: dict[_Pipe, Report] = {}
        self._outcome = Outcome()
        self._moved_s, self._moved_frames = time.monotonic(), 0

    def run(self) -> Outcome:
        while self._open:
            try:
                self._look()
            except Enough as enough:
                self._stop(str(enough))
            if self._interrupts.asked and not self._outcome.stopped:
                self._stop(INTERRUPTED)
        for report in self._newest.values():
            self._outcome.tally.add(report.tally)
            self._outcome.windows.update(report.windows)
            self._outcome.in_doubt += report.in_doubt
            if report.truth is not None:
                self._outcome.truth.add(report.truth)
        return self._outcome

    def _look(self) -> None:
        for ready in wait(self._open, _LOOK_EVERY_S):
            assert isinstance(ready, Connection)
            self._hear(ready)
        total = Tally()
        for report in self._newest.values():
            total.add(report.tally)
        if not self._outcome.stopped:
            self._tell(total)
        now_s = time.monotonic()
        if total.frames != self._moved_frames or len(self._newest) < self._workers:
            self._moved_s, self._moved_frames = now_s, total.frames
        elif now_s - self._moved_s > self._patience_s and not self._outcome.stopped:
            self._stop(f"nothing was acknowledged for {self._patience_s:.0f} s")

    def _hear(self, pipe: _Pipe) -> None:
        try:
            report = pipe.recv()
        except (EOFError, ConnectionResetError):
            raise WorkerDied(_DIED) from None
        self._newest[pipe] = report
        if report.truth is not None:
            self._open.remove(pipe)

    def _stop(self, why: str) -> None:
        self._outcome.stopped = why
        for pipe in self._open:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it died: that is heard where it is read
                pipe.send(None)
