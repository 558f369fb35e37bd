"""One process of the fleet: its share of the hosts as asyncio tasks, reports up a pipe, an end when it is told.

The pipe's other end is the only tie to the parent: when it closes, the hosts are stopped as by its word.
"""

import asyncio
import contextlib
import resource
from collections import Counter
from copy import deepcopy
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Final

from .dial import Target
from .host import Crew, SimulatedDaemon
from .plan import FleetPlan
from .tally import Tally
from .truth import Truth, truth_of

REPORT_EVERY_S: Final = 0.5
_GRACE_S: Final = 10.0
"""How long what is on the wire is waited for when the fleet is stopped."""


@dataclass(frozen=True, slots=True)
class Job:
    """What one worker does."""

    plan: FleetPlan
    target: Target
    hosts: tuple[int, ...]
    live: bool
    linger_s: float
    concurrency: int


@dataclass(frozen=True, slots=True)
class Report:
    """What a worker says of itself; all but ``tally`` in the last one only."""

    tally: Tally
    truth: Truth | None = None
    """Of what is acknowledged."""
    windows: Counter[int] = field(default_factory=Counter[int])
    """How many of each host's windows are acknowledged."""
    in_doubt: int = 0
    """Hosts that do not know what became of all they said."""


def work(pipe: "Connection[Report, Job | None]") -> None:
    """The worker's whole life. The job comes up the pipe, not with the start of the process: multiprocessing
    would wait for ever for a process that dies before it has read a large one."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # a socket for each host
    with (
        contextlib.suppress(KeyboardInterrupt, BrokenPipeError, EOFError),
        asyncio.Runner(loop_factory=_new_loop) as runner,
    ):
        job = pipe.recv()
        if job is not None:
            runner.run(_work(job, pipe))


def _new_loop() -> asyncio.AbstractEventLoop:
    """The collector's extra has a faster one, and what the fleet does not use is left to what it measures."""
    try:
        from uvloop import new_event_loop
    except ImportError:
        return asyncio.new_event_loop()
    return new_event_loop()


async def _work(job: Job, pipe: "Connection[Report, Job | None]") -> None:
    crew = Crew(job.plan, job.target, job.live, job.linger_s, asyncio.Semaphore(job.concurrency))
    daemons = [SimulatedDaemon(crew, host) for host in job.hosts]
    asyncio.get_running_loop().add_reader(pipe.fileno(), crew.stop.set)
    reporter = asyncio.create_task(_report(crew.tally, pipe))
    tasks = [asyncio.create_task(daemon.run()) for daemon in daemons]
    stopped = asyncio.create_task(crew.stop.wait())
    all_done = asyncio.create_task(_all(tasks))
    await asyncio.wait({stopped, all_done}, return_when=asyncio.FIRST_COMPLETED)
    await asyncio.wait(tasks, timeout=_GRACE_S)
    for task in (*tasks, stopped, reporter):
        task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await all_done
    windows = Counter({daemon.host: daemon.log.acked_seq for daemon in daemons})
    in_doubt = sum(daemon.log.is_in_doubt for daemon in daemons)
    pipe.send(Report(crew.tally, truth_of(job.plan, windows), windows, in_doubt))


async def _all(tasks: list["asyncio.Task[None]"]) -> None:
    """Raises what any of them did not foresee."""
    await asyncio.gather(*tasks)


async def _report(tally: Tally, pipe: "Connection[Report, Job | None]") -> None:
    while True:
        pipe.send(Report(deepcopy(tally)))
        await asyncio.sleep(REPORT_EVERY_S)
