"""Clocks: the wall clock of a running daemon is stepped by seconds, hours and days, either way, and the host suspended.

A real daemon meters a GPU of the rig that one process holds all the time, with clock.c before libc. The truth is
CLOCK_MONOTONIC, which nobody steps and which stands still in a suspend: what is metered must be that, within one
sampling interval for each end that the daemon can only see in its readings; what is more is the suspend, as a gap.
"""

import logging
import mmap
import random
import struct
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from gputally.model.interval import NS_PER_S
from gputally.model.reading import GapReason
from gputally.model.usage import Batch
from gputally.proto.convert import decode_batch
from gputally.simulator.driver import DriverBuildError, build_driver
from gputally.simulator.rig import Rig
from gputally.simulator.scenario import Scenario
from gputally.simulator.stack import daemon_config, start
from gputally.storage.frame import read_frame
from gputally.storage.wal import Log

from . import shim
from .outcome import Outcome

_EVERY_S: Final = 0.25
_STEPS_S: Final = (2, -2, 60, -60, 3_600, -3_600, 7 * 3_600, -86_400, 86_400, 30 * 86_400, -30 * 86_400)
_SUSPENDS_S: Final = (5, 600, 8 * 3_600)
_CGROUP: Final = "/tenants.slice/tenant-always/docker-" + "a1" * 32 + ".scope"
_RULES: Final = ({"match": {"path": "/tenants.slice/tenant-*"}, "tenant": "{1}"},)


class Clocks:
    """What clock.c reads: how far the wall clock and CLOCK_BOOTTIME are off."""

    def __init__(self, file: Path) -> None:
        file.write_bytes(bytes(mmap.PAGESIZE))
        with file.open("rb+") as opened:
            self._memory = mmap.mmap(opened.fileno(), 0)
        self._wall_ns = self._boot_ns = 0

    def step(self, by_ns: int) -> None:
        """Of the wall clock."""
        self._wall_ns += by_ns
        self._publish()

    def suspend(self, length_ns: int) -> None:
        """Both go on while CLOCK_MONOTONIC stands still."""
        self._boot_ns += length_ns
        self.step(length_ns)

    def _publish(self) -> None:
        self._memory[:16] = struct.pack("=qq", self._wall_ns, self._boot_ns)


@dataclass(slots=True)
class _Truth:
    """By CLOCK_MONOTONIC: the daemon was surely metering in the inner span, and surely not outside the outer one."""

    began_ns: int
    ready_ns: int = 0
    stopping_ns: int = 0
    ended_ns: int = 0
    suspended_ns: int = 0
    suspends: int = 0


def run(count: int, seed: int) -> Outcome:
    """``count`` steps and suspends of one daemon's clocks."""
    outcome = Outcome("clock step")
    try:
        build_driver()
    except DriverBuildError as error:
        outcome.skipped = str(error)
        return outcome
    logging.disable(logging.CRITICAL)
    with TemporaryDirectory(prefix="gputally-clock-") as name:
        folder = Path(name)
        with Rig.opened(folder, Scenario.host(1)) as rig:
            truth = _meter(folder, rig, count, random.Random(seed))
        _judge(outcome, truth, count, list(_batches(folder)))
    return outcome


def _meter(folder: Path, rig: Rig, count: int, chance: random.Random) -> _Truth:
    clocks = Clocks(folder / "offsets")
    rig.start("always", _CGROUP, 0)
    settings: dict[str, Mapping[str, Any]] = {
        "metering": {"window_s": 10},
        "sampling": {"every_s": _EVERY_S, "idle_every_s": _EVERY_S},
    }
    config = daemon_config(folder, rig.proc, None, _RULES, **settings)
    before = {"LD_PRELOAD": str(shim.build("clock", folder)), "CLOCK_OFFSETS": str(folder / "offsets")}
    truth = _Truth(time.monotonic_ns())
    daemon = start(["daemon", "--config", str(config)], folder / "daemon.log", {**rig.environment, **before})
    time.sleep(2 * _EVERY_S)
    truth.ready_ns = time.monotonic_ns()
    for _ in range(count):
        _disturb(clocks, truth, chance)
        time.sleep(chance.uniform(0, 4 * _EVERY_S))
    time.sleep(2 * _EVERY_S)
    truth.stopping_ns = time.monotonic_ns()
    code = daemon.stop()
    truth.ended_ns = time.monotonic_ns()
    if code:
        raise AssertionError(f"the daemon ended with {code}: {daemon.logged()}")
    return truth


def _disturb(clocks: Clocks, truth: _Truth, chance: random.Random) -> None:
    if chance.random() < 0.7:
        clocks.step(chance.choice(_STEPS_S) * NS_PER_S)
        return
    length_ns = chance.choice(_SUSPENDS_S) * NS_PER_S
    clocks.suspend(length_ns)
    truth.suspended_ns, truth.suspends = truth.suspended_ns + length_ns, truth.suspends + 1


def _batches(folder: Path) -> Iterator[Batch]:
    log = Log.open(folder / "log", "sim-01", 16 << 20)
    for raw in log.read(1, 1 << 20, 1 << 30):
        yield decode_batch(read_frame(raw).payload())
    log.close()


def _judge(outcome: Outcome, truth: _Truth, count: int, batches: list[Batch]) -> None:
    sums = _Sums.of(batches)
    slack_ns = round(_EVERY_S * NS_PER_S) * (1 + truth.suspends)
    # A busy machine may look too late, and says so: such gaps are time that it was there, the suspend is not.
    late_ns = sum(length_ns for reason, length_ns in sums.gaps.items() if reason != GapReason.SUSPEND)
    least_ns = truth.stopping_ns - truth.ready_ns - slack_ns
    most_ns = truth.ended_ns - truth.began_ns
    off_ns = max(least_ns - late_ns - sums.metered_ns, sums.metered_ns - most_ns, 0)
    outcome.tried = outcome.survived = count
    outcome.blame(lost=off_ns > 0, why=f"{sums.metered_ns} ns metered, {off_ns} ns off from {least_ns} to {most_ns}")
    outcome.blame(doubled=sums.wrong, why=f"{sums.wrong} negative records, or holes and overlaps between rows")
    outcome.blame(undeclared=sums.untold_ns != 0, why=f"{sums.untold_ns} ns are neither metered nor a gap")
    suspended_ns = sums.gaps[GapReason.SUSPEND]
    missed = abs(suspended_ns - truth.suspended_ns) > slack_ns
    outcome.blame(undeclared=missed, why=f"{suspended_ns} ns of suspend in the log, not {truth.suspended_ns}")
    outcome.survived = max(count - outcome.harmed, 0)
    outcome.note = (
        f"{truth.suspends} of them suspends; {sums.metered_ns / NS_PER_S:.3f} s metered in"
        f" {(truth.stopping_ns - truth.ready_ns) / NS_PER_S:.3f} to {most_ns / NS_PER_S:.3f} s of monotonic time"
    )


@dataclass(frozen=True, slots=True)
class _Sums:
    """What the log says of the one GPU."""

    metered_ns: int
    gaps: Counter[str]
    untold_ns: int
    """Of what existed: neither metered nor idle nor a gap."""
    wrong: int
    """Records below zero, and rows that leave a hole or overlap."""

    @classmethod
    def of(cls, batches: list[Batch]) -> "_Sums":
        records = [record for batch in batches for record in batch.records]
        rows = sorted((row for batch in batches for row in batch.rows), key=lambda row: row.segment.boot.start_ns)
        metered_ns = sum(record.allocated_ns for record in records)
        gaps: Counter[str] = Counter()
        for row in rows:
            gaps.update(dict(row.unobserved_ns))
        existed_ns = sum(row.segment.boot.length_ns for row in rows)
        untold_ns = existed_ns - metered_ns - gaps.total() - sum(row.idle_ns for row in rows)
        negative = sum(record.allocated_ns < 0 or record.held_ns < 0 for record in records)
        torn = sum(one.segment.boot.end_ns != other.segment.boot.start_ns for one, other in pairwise(rows))
        return cls(metered_ns, gaps, untold_ns, negative + torn)
