"""The whole daemon on one page: which parts there are, and what each is handed.

    probe -> sampler -> [readings] -> metering (attributor, meter, keeper) -> log -> uplink -> collector

The log is opened first and closed last. At a stop the sampler takes a last
reading and closes its mailbox; metering finishes what is in it, cuts and
commits; the uplink says what it can; and a deadline stands around it all.
"""

import gc
import logging
import signal
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import trio

from .. import __version__
from ..model.meter import Meter
from ..model.reading import HostReading
from ..model.window import seconds_ns
from ..model.workload import Attribution
from ..plugins.clock import HostClock
from ..plugins.consumption.reader import CgroupConsumption
from ..plugins.nvml.probe import Evidence, NvmlProbe
from ..storage.wal import LogBroken
from . import status
from .alarms import Alarms
from .attributing import follow_processes, note_exits
from .commands import Commands
from .control import serve
from .guard import guarded
from .keeper import Keeper, WriterThread, retain
from .mailbox import Mailbox
from .mending import mending
from .metering import Metering
from .orders import Orders
from .parts import Parts, opened
from .sampler import make_cadence, sample, with_clock
from .supervisor import Supervisor
from .uplink import Uplink
from .vitals import Vitals

__all__ = ["opened", "run"]

log = logging.getLogger(__name__)

READINGS_WAITING = 8
"""Readings may be lost: what does not fit is a gap, and is counted."""
STOP_WITHIN_S = 15.0
"""All of a graceful stop; systemd's own limit leaves more room."""
SAY_WITHIN_S = 5.0
"""Of which the uplink may use this to say what is still unsaid."""
PROBE_ENDS_WITHIN_S = 3.0


async def run(parts: Parts, say_ready: Callable[[str], None], is_stopped: Callable[[], bool]) -> None:
    """Runs until SIGTERM or SIGINT. Raises what another life of an actor could not mend.

    ``is_stopped``: whether one of them came before it listens.
    """
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2) as signals:
        if is_stopped():
            return
        async with _probe(parts) as probe, trio.open_nursery() as nursery:
            tree = _Tree(parts, probe, Supervisor(nursery, fatal=(LogBroken,)), say_ready)
            tree.start()
            nursery.start_soon(_hear, signals, tree.orders, told := trio.Event())
            await told.wait()
            parts.notifier.stopping()
            with trio.move_on_after(STOP_WITHIN_S) as limit:
                await tree.stop()
            if limit.cancelled_caught:
                log.error("not everything was closed within %g s: it is taken up at the next start", STOP_WITHIN_S)
            nursery.cancel_scope.cancel()


async def _hear(signals: AsyncIterator[int], orders: Orders, told: trio.Event) -> None:
    """To be told again to stop, while stopping, changes nothing."""
    async for number in signals:
        if number == signal.SIGUSR1:
            orders.release()
        elif number == signal.SIGUSR2:
            orders.resume()
        else:
            told.set()


class _Tree:
    """The actors and what runs between them."""

    def __init__(
        self, parts: Parts, probe: NvmlProbe, supervisor: Supervisor, say_ready: Callable[[str], None]
    ) -> None:
        config = parts.config
        self.parts, self.probe, self.supervisor, self.say_ready = parts, probe, supervisor, say_ready
        self.orders, self.clock, self.alarms = Orders(probe), HostClock(), Alarms()
        self.counted: dict[str, int] = {}
        self.readings = Mailbox[HostReading](READINGS_WAITING)
        self.vitals = Vitals(parts.notifier)
        self.in_writer = WriterThread()
        self.uplink = Uplink(parts.log, config.uplink, parts.host_id, __version__, self.in_writer, rules=parts.rules)
        self.metering = Metering(
            readings=self.readings,
            attributor=parts.attributor,
            keeper=Keeper(
                parts.log,
                self.in_writer,
                drop_oldest=parts.config.log.at_cap == "drop_oldest",
                signing=parts.signing,
            ),
            new_meter=self._new_meter,
            on_kept=self.uplink.wake,
            on_tick=self._on_tick,
            telemetry=parts.telemetry,
            claims=parts.claims,
            consumption=CgroupConsumption(config.attribution.proc, config.attribution.cgroup),
        )

    def start(self) -> None:
        start, config = self.supervisor.start, self.parts.config
        take = with_clock(self.probe.read, self.clock.look)
        cadence = make_cadence(config.sampling, config.metering)
        reopen = partial(self.in_writer, self.parts.log.reopen)
        start("uplink", partial(mending, self.uplink.run, reopen))
        start("credentials", self.uplink.watch_credentials)
        self.metered = start("metering", partial(mending, self.metering.run, reopen))
        self.sampled = start(
            "sampler", partial(sample, take, self.readings.offer, cadence, self.orders, self.vitals.miss)
        )
        start("retention", partial(retain, self.parts.log, self.in_writer, config.log.keep_acked_h))
        start("exits", partial(note_exits, self.parts.attributor))
        if self.parts.attributor.follower is not None:
            start("processes", partial(follow_processes, self.parts.attributor))
        if self.parts.rules is not None:
            start("rules", self.parts.rules.run)
        if self.parts.control is not None:
            commands = Commands(self.orders, self.metering).by_name()
            start("control", partial(serve, self.parts.control, self.describe, commands))

    async def stop(self) -> None:
        """Data reach their end: sources first, then each reader finishes its loop."""
        self.orders.stop()
        await self.sampled.wait()
        self.readings.close()
        await self.metered.wait()
        await self.uplink.drain(SAY_WITHIN_S)

    async def describe(self) -> dict[str, Any]:
        """What ``gputally status`` shows."""
        keeper = self.metering.keeper
        return {
            **status.describe_self(self.parts.host_id, self.vitals),
            "alarms": status.describe_alarms(self.alarms, self.uplink),
            "driver": {"state": self.orders.state, "since": self.orders.since},
            "clock": status.describe_clock(self.vitals.reading),
            "devices": status.describe_devices(self.metering.meter),
            "log": await status.describe_log(self.parts.log, len(keeper.waiting), keeper.refused),
            "signing": self.parts.signing.describe() if self.parts.signing else None,
            "uplink": status.describe_uplink(self.uplink),
            "attribution": {
                "processes": self.vitals.processes,
                "unattributed": self.vitals.unattributed,
                "rules_version": self.parts.attributor.rules_version,
                "rules_from_collector": self.parts.rules.describe() if self.parts.rules else None,
                **self.parts.attributor.describe(),
            },
            "cpu": {"nvml_child_pid": self.probe.child_pid},
            "restarts": dict(self.supervisor.restarts),
            "sampling": status.describe_sampling(self.vitals, self.readings.refused, self.probe.child_pid),
        }

    def _new_meter(self) -> Meter:
        metering = self.parts.config.metering
        rules_version = self.parts.attributor.rules_version
        return Meter(
            self.parts.host_id, self.parts.boot_id, seconds_ns(metering.window_s), metering.sharing, rules_version
        )

    def _on_tick(self, reading: HostReading, attribution: Attribution) -> None:
        self.vitals.tick(reading, attribution)
        if self.metering.meter is not None:
            self.alarms.look(self.metering.meter, reading)
        self._count_alarms()
        if not self.vitals.ready:
            self.vitals.ready = True
            self.say_ready(_readiness(self.parts, reading))
            self.parts.notifier.ready()
            _settle()

    def _count_alarms(self) -> None:
        """Telemetry hears of a change at the next tick."""
        now = status.count_alarms(self.alarms, self.uplink)
        if now != self.counted and self.parts.telemetry:
            guarded("telemetry", self.parts.telemetry.alarm, now)
        self.counted = now


def _settle() -> None:
    """What lives by now lives as long as the daemon: no collection need ever walk over it again.

    One that did cost more than a dozen ticks, in the middle of one.
    """
    gc.collect()
    gc.freeze()


def _readiness(parts: Parts, reading: HostReading) -> str:
    collector = ", ".join(parts.config.uplink.endpoints) or "no collector (uplink.endpoints is empty)"
    devices = f"no GPU can be read ({reading.trouble})" if reading.trouble else f"{len(reading.readings)} GPUs"
    return f"ready: host {parts.host_id}, {devices}, log {parts.config.log.path}, {collector}"


@asynccontextmanager
async def _probe(parts: Parts) -> AsyncGenerator[NvmlProbe]:
    sampling = parts.config.sampling
    evidence = Evidence(parts.boot_id, Path(sampling.sys))
    probe = NvmlProbe(sampling.deadline_s, evidence=evidence, accounting=sampling.accounting)
    try:
        yield probe
    finally:
        with trio.CancelScope(shield=True):
            await probe.aclose(PROBE_ENDS_WITHIN_S)
