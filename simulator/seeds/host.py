"""A script from its beginning to its end: life after life of the daemon, over one log, one kernel, one collector."""

import shutil
import tempfile
from collections.abc import Generator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any

import trio

from ...storage.wal import Log
from ...storage.wal_platter import Platter
from .clocks import Clocks, LifeTime
from .collector import Collector
from .disk import Killed, SimulatedLog
from .kernel import Processes
from .life import HOST_ID, Daemon, World
from .rules import RuledAttributor
from .script import Life, Script

CAP_BYTES = 8 * 1024 * 1024
_MEMORY = Path("/dev/shm")


@dataclass(frozen=True, slots=True)
class Lived:
    """What came of it."""

    ledger: tuple[bytes, ...]
    head_seq: int
    """The newest frame that the host's log ever held, and its hash."""
    head_hash: bytes
    forks: tuple[str, ...]
    ticks: int

    @property
    def trace_hash(self) -> str:
        """Of every frame in the order in which the collector committed them."""
        return sha256(b"".join(sha256(raw).digest() for raw in self.ledger)).hexdigest()


def live(script: Script) -> Lived:
    """Nothing in it depends on anything but the script."""
    rng = Random(script.seed)
    world = World(script, Clocks(script), Processes(script), Collector(script), rng)
    platter = Platter(epoch=rng.randbytes(16), flush=False, child=False)
    with _steady_trio(script.seed), _folder() as folder:
        forks = [fork for life in script.lives for fork in _live_once(world, life, folder, platter)]
        with closing(Log.open(folder, HOST_ID, CAP_BYTES, platter)) as log:
            head_seq = log.stat().last_seq
            head_hash = log.head_hash(head_seq) or b""
    return Lived(tuple(world.collector.ledger), head_seq, head_hash, tuple(forks), world.ticks)


def _live_once(world: World, life: Life, folder: Path, platter: Platter) -> list[str]:
    world.processes.advance(life.start_ns)
    time = LifeTime(world.script, life.start_ns)
    with (
        closing(RuledAttributor(world.script, world.processes.kernel, time.now_ns)) as attributor,
        closing(SimulatedLog.open(folder, HOST_ID, CAP_BYTES, platter)) as log,
    ):
        assert isinstance(log, SimulatedLog)
        log.is_full = lambda: any(time.now_ns() in each for each in world.script.full)
        daemon = Daemon(world, life, time, log, attributor)
        log.is_dying = lambda: daemon.writer.kill_after
        try:
            trio.run(daemon.run, clock=time.clock)
        except* Killed:
            pass
        world.processes.leave()
        return daemon.uplink.forks


@contextmanager
def _steady_trio(seed: int) -> Generator[None]:
    """The order in which trio runs tasks that can run at once is drawn from the seed as well."""
    core: Any = trio._core._run  # pyright: ignore[reportPrivateUsage]  # as pytest-trio does for hypothesis
    before = core._ALLOW_DETERMINISTIC_SCHEDULING, core._r
    core._ALLOW_DETERMINISTIC_SCHEDULING, core._r = True, Random(seed)
    try:
        yield
    finally:
        core._ALLOW_DETERMINISTIC_SCHEDULING, core._r = before


@contextmanager
def _folder() -> Generator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="gputally-seeds-", dir=_MEMORY if _MEMORY.is_dir() else None))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
