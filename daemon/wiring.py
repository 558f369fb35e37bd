"""The whole daemon on one page: which parts there are, and what each is handed.

    probe -> sampler -> [readings] -> metering (attributor, meter, keeper) -> log -> uplink -> collector

The log is opened first and closed last. At a stop the sampler takes a last
reading and closes its mailbox; metering finishes what is in it, cuts and
commits; the uplink says what it can; and a deadline stands around it all.
"""

import logging
import signal
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import trio

from .. import __version__
from ..model.meter import Meter
from ..model.reading import HostReading
from ..model.settings import BadSettings, Problem
from ..model.window import seconds_ns
from ..model.workload import Attribution
from ..plugins.attribution.attributor import CgroupAttributor, make_attributor
from ..plugins.notify import Notifier
from ..plugins.nvml.probe import Evidence, NvmlProbe, check_namespaces
from ..plugins.otel import make_telemetry
from ..plugins.ports import Telemetry
from ..storage.wal import Log, LogBroken
from . import status
from .config import DaemonConfig
from .control import close_control, open_control, serve_status
from .host import derive_host_id, read_boot_id
from .keeper import Keeper, WriterThread, retain
from .mailbox import Mailbox
from .metering import Metering
from .sampler import Cadence, sample
from .supervisor import Supervisor
from .uplink import Uplink
from .vitals import Vitals

log = logging.getLogger(__name__)

MIB = 1024 * 1024
READINGS_WAITING = 8
"""Readings may be lost: what does not fit is a gap, and is counted."""
STOP_WITHIN_S = 15.0
"""All of a graceful stop; systemd's own limit leaves more room."""
SAY_WITHIN_S = 5.0
"""Of which the uplink may use this to say what is still unsaid."""
PROBE_ENDS_WITHIN_S = 3.0


@dataclass(slots=True)
class Parts:
    """What is opened before the first tick and closed after the last."""

    config: DaemonConfig
    host_id: str
    boot_id: str
    log: Log
    attributor: CgroupAttributor
    telemetry: Telemetry | None
    control: socket.socket | None
    notifier: Notifier


@contextmanager
def opened(config: DaemonConfig) -> Generator[Parts]:
    """Opens every part, the log last, so that a wrong setting touches nothing.

    Raises BadSettings, BadRules, TelemetryUnusable, ControlUnusable or LogUnusable.
    """
    attribution = config.attribution
    host_id, boot_id = config.host.id or derive_host_id(), read_boot_id(attribution.proc)
    _check_namespaces(attribution.proc)
    with ExitStack() as stack:
        attributor = make_attributor(
            proc=attribution.proc, cgroup=attribution.cgroup, rules=attribution.rules, plugins=attribution.plugins
        )
        stack.callback(attributor.close)
        telemetry = make_telemetry(config.telemetry, host_id)
        if telemetry is not None:
            stack.callback(telemetry.close)
        if config.log.at_cap != "refuse_new":
            log.warning(
                "log.at_cap = %s is not there yet: a full log refuses new usage, as exact gaps", config.log.at_cap
            )
        control = open_control(config.control.socket) if config.control.socket else None
        if control is not None:
            stack.callback(close_control, control)
        frames = Log.open(Path(config.log.path), host_id, config.log.cap_mib * MIB)
        stack.callback(frames.close)
        yield Parts(config, host_id, boot_id, frames, attributor, telemetry, control, Notifier())


async def run(parts: Parts, say_ready: Callable[[str], None]) -> None:
    """Runs until SIGTERM or SIGINT. Raises what another life of an actor could not mend."""
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with _probe(parts) as probe, trio.open_nursery() as nursery:
            tree = _Tree(parts, probe, Supervisor(nursery, fatal=(LogBroken,)), say_ready)
            tree.start()
            nursery.start_soon(_hear, signals, told := trio.Event())
            await told.wait()
            parts.notifier.stopping()
            with trio.move_on_after(STOP_WITHIN_S) as limit:
                await tree.stop()
            if limit.cancelled_caught:
                log.error("not everything was closed within %g s: it is taken up at the next start", STOP_WITHIN_S)
            nursery.cancel_scope.cancel()


async def _hear(signals: AsyncIterator[int], told: trio.Event) -> None:
    """To be told again to stop, while stopping, changes nothing."""
    async for _ in signals:
        told.set()


class _Tree:
    """The actors and what runs between them."""

    def __init__(
        self, parts: Parts, probe: NvmlProbe, supervisor: Supervisor, say_ready: Callable[[str], None]
    ) -> None:
        config = parts.config
        self.parts, self.probe, self.supervisor, self.say_ready = parts, probe, supervisor, say_ready
        self.stopping = trio.Event()
        self.readings = Mailbox[HostReading](READINGS_WAITING)
        self.vitals = Vitals(parts.notifier)
        self.in_writer = WriterThread()
        self.uplink = Uplink(parts.log, config.uplink, parts.host_id, __version__, self.in_writer)
        self.metering = Metering(
            readings=self.readings,
            attributor=parts.attributor,
            keeper=Keeper(parts.log, self.in_writer),
            new_meter=self._new_meter,
            on_kept=self.uplink.wake,
            on_tick=self._on_tick,
            telemetry=parts.telemetry,
        )

    def start(self) -> None:
        cadence = Cadence(self.parts.config.sampling.every_s, self.parts.config.sampling.idle_every_s)
        start = self.supervisor.start
        start("uplink", self.uplink.run)
        self.metered = start("metering", self.metering.run)
        self.sampled = start(
            "sampler", partial(sample, self.probe.read, self.readings.offer, cadence, self.stopping, self.vitals.miss)
        )
        start("retention", partial(retain, self.parts.log, self.in_writer, self.parts.config.log.keep_acked_h))
        start("exits", partial(note_exits, self.parts.attributor))
        if self.parts.control is not None:
            start("control", partial(serve_status, self.parts.control, self.describe))

    async def stop(self) -> None:
        """Data reach their end: sources first, then each reader finishes its loop."""
        self.stopping.set()
        await self.sampled.wait()
        self.readings.close()
        await self.metered.wait()
        await self.uplink.drain(SAY_WITHIN_S)

    def describe(self) -> dict[str, Any]:
        """What ``gputally status`` shows."""
        return {
            **status.describe_self(self.parts.host_id, self.vitals),
            "devices": status.describe_devices(self.metering.meter),
            "log": status.describe_log(self.parts.log),
            "uplink": status.describe_uplink(self.uplink),
            "attribution": {
                "processes": self.vitals.processes,
                "unattributed": self.vitals.unattributed,
                "rules_version": self.parts.attributor.rules_version,
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
        if not self.vitals.ready:
            self.vitals.ready = True
            self.say_ready(_readiness(self.parts, reading))
            self.parts.notifier.ready()


async def note_exits(attributor: CgroupAttributor) -> None:
    """Wakes only when a process that holds a GPU has ended."""
    while True:
        await trio.lowlevel.wait_readable(attributor.fileno())
        attributor.note_exits()


def _readiness(parts: Parts, reading: HostReading) -> str:
    collector = ", ".join(parts.config.uplink.endpoints) or "no collector (uplink.endpoints is empty)"
    devices = f"no GPU can be read ({reading.trouble})" if reading.trouble else f"{len(reading.readings)} GPUs"
    return f"ready: host {parts.host_id}, {devices}, log {parts.config.log.path}, {collector}"


@asynccontextmanager
async def _probe(parts: Parts) -> AsyncGenerator[NvmlProbe]:
    sampling = parts.config.sampling
    probe = NvmlProbe(sampling.deadline_s, evidence=Evidence(parts.boot_id, Path(sampling.sys)))
    try:
        yield probe
    finally:
        with trio.CancelScope(shield=True):
            await probe.aclose(PROBE_ENDS_WITHIN_S)


def _check_namespaces(proc: str) -> None:
    why = check_namespaces(proc)
    if why is not None:
        raise BadSettings([Problem("", "attribution.proc", why)])
