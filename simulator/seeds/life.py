"""One life of the daemon: its parts wired as daemon/wiring.py wires them, with ports that never wait for a machine."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from random import Random

import trio

from ...daemon.attributing import FOLLOW_EVERY_S
from ...daemon.claims import Claims
from ...daemon.keeper import Keeper
from ...daemon.mailbox import Mailbox
from ...daemon.metering import Metering
from ...daemon.orders import Orders
from ...daemon.sampler import Cadence, sample
from ...daemon.supervisor import Supervisor
from ...daemon.wiring import READINGS_WAITING, SAY_WITHIN_S
from ...model.meter import Meter
from ...model.reading import HostReading
from ...model.usage import Sharing
from ...model.window import seconds_ns
from ...model.workload import Attribution
from ...storage.wal import Log, LogBroken
from .clocks import Clocks, LifeTime
from .collector import Collector
from .disk import Killed, Writer
from .driver import Driver, read_host
from .kernel import Processes
from .leases import LeaseSource
from .rules import RuledAttributor
from .script import Blind, Ending, Life, S, Script
from .uplink import Network, Uplink

HOST_ID = "simulated"
RETAIN_EVERY_S = 60.0
KEEP_ACKED_NS = 400 * S
"""And two windows: a ledger that was restored is noticed when there is something to say."""


@dataclass(slots=True)
class World:
    """What outlives the daemon: the machine it runs on, and the collector."""

    script: Script
    clocks: Clocks
    processes: Processes
    collector: Collector
    rng: Random
    ticks: int = 0


class Watchful(Cadence):
    """Reads more often where something is about to happen, so that ticks are spent where faults are."""

    def __init__(self, script: Script, is_near: Callable[[], bool]) -> None:
        super().__init__(script.every_s, script.idle_every_s, seconds_ns(script.window_s))
        self._fine_s, self._is_near = script.fine_s, is_near

    def after(self, reading: HostReading, now_s: float) -> float:
        after_s = super().after(reading, max(now_s, self.every_s))
        return self._fine_s if self._is_near() else after_s


class Daemon:
    """Built at the start of a life, and gone at its end but for what is in the log."""

    def __init__(self, world: World, life: Life, time: LifeTime, log: Log, attributor: RuledAttributor) -> None:
        self.world, self.life, self.time, self.log = world, life, time, log
        self.attributor = attributor
        self.happened = trio.Event()
        self.readings = Mailbox[HostReading](READINGS_WAITING)
        self.driver = Driver(world.script, world.clocks)
        self.orders = Orders(self.driver, wall_s=lambda: world.clocks.wall_ns(time.now_ns()) / S)
        self.stuck: set[Blind] = set()
        self.writer = Writer(world.script, time)
        network = Network(world.collector, world.script.breaks_percent, time.now_ns, world.rng)
        self.uplink = Uplink(log, HOST_ID, self.writer, network, world.clocks, time)
        self.metering = Metering(
            readings=self.readings,
            attributor=attributor,
            keeper=Keeper(log, self.writer),
            new_meter=self.new_meter,
            on_kept=self.uplink.wake,
            on_tick=_nothing,
            claims=Claims([LeaseSource(world.script, world.clocks.boot(life.start_ns).up_ns)]),
        )

    async def run(self) -> None:
        """Until the script ends this life. Raises Killed where it is killed."""
        async with trio.open_nursery() as nursery:
            supervisor = Supervisor(nursery, fatal=(LogBroken,))
            nursery.start_soon(self._turn_processes)
            nursery.start_soon(self._follow_processes)
            nursery.start_soon(self._retain)
            nursery.start_soon(self._order)
            supervisor.start("uplink", self.uplink.run)
            metered = supervisor.start("metering", self.metering.run)
            sampled = supervisor.start("sampler", self._sample)
            await trio.sleep_until(self.time.at_s(self.life.end_ns))
            await self._end(sampled.wait, metered.wait)
            nursery.cancel_scope.cancel()

    async def _end(self, sampled: Callable[[], Awaitable[None]], metered: Callable[[], Awaitable[None]]) -> None:
        match self.life.ending:
            case Ending.STOPPED:
                await self.stop(sampled, metered)
                return
            case Ending.KILLED_BEFORE_COMMIT:
                self.writer.kill_before = True
            case Ending.KILLED_AFTER_COMMIT:
                self.writer.kill_after = True
            case Ending.KILLED:
                self.writer.dead = True
                raise Killed
        await trio.sleep_until(self.time.at_s(self.life.latest_ns))
        self.writer.dead = True
        raise Killed

    async def stop(self, sampled: Callable[[], Awaitable[None]], metered: Callable[[], Awaitable[None]]) -> None:
        """Data reach their end, as daemon/wiring.py has it."""
        self.orders.stop()
        await sampled()
        self.readings.close()
        await metered()
        await self.uplink.drain(SAY_WITHIN_S)

    def _sample(self) -> Awaitable[None]:
        cadence = Watchful(self.world.script, self._is_near)
        return sample(self.read, self.readings.offer, cadence, self.orders, lambda _: None)

    async def read(self, interval_ns: int) -> HostReading:
        self.world.ticks += 1
        asked_ns = self.time.now_ns()
        self.world.processes.advance(asked_ns)
        parts = self.driver.look(asked_ns)
        await trio.sleep(self._answer_ns(asked_ns) / S)
        return read_host(self.driver, self.world.clocks, asked_ns, self.time.now_ns(), interval_ns, parts)

    def _answer_ns(self, asked_ns: int) -> int:
        """A device that begins to hang holds up the tick once, until somebody has had enough."""
        hanging = {each for each in self.driver.blinds_at(asked_ns) if each.reason == "nvml_hang"}
        fresh, self.stuck = hanging - self.stuck, hanging
        return self.world.script.hang_ns if fresh else self.world.script.answer_ns

    async def _turn_processes(self) -> None:
        """Whoever is watched and ends is noticed at once, as by a pidfd."""
        processes = self.world.processes
        while (next_ns := processes.next_edge_ns()) is not None:
            await trio.sleep_until(self.time.at_s(next_ns))
            processes.advance(self.time.now_ns())
            self.attributor.note_exits()
            self.happened.set()

    async def _follow_processes(self) -> None:
        """As daemon/attributing.py does, where the kernel tells."""
        while True:
            await self.happened.wait()
            self.happened = trio.Event()
            waiting = True
            while waiting:
                await trio.sleep(FOLLOW_EVERY_S)
                waiting = self.attributor.note_happenings()

    async def _order(self) -> None:
        """What an operator says: let go of the driver, and take it up again."""
        for stretch in self.world.script.releases:
            if stretch.from_ns >= self.life.start_ns:
                await trio.sleep_until(self.time.at_s(stretch.from_ns))
                self.orders.release()
                await trio.sleep_until(self.time.at_s(stretch.until_ns))
                self.orders.resume()

    async def _retain(self) -> None:
        while True:
            await trio.sleep(RETAIN_EVERY_S)
            kept_ns = KEEP_ACKED_NS + 2 * seconds_ns(self.world.script.window_s)
            keep_after_ns = self.world.clocks.wall_ns(self.time.now_ns()) - kept_ns
            await self.writer(partial(self.log.trim, keep_after_ns))

    def _is_near(self) -> bool:
        """Whether a fault is going on, or begins before the next coarse tick would be taken."""
        now_ns = self.time.now_ns()
        ahead_ns = round(2 * max(self.world.script.idle_every_s, self.world.script.every_s) * S)
        return any(fault.at_ns - ahead_ns <= now_ns < fault.until_ns + 5 * S for fault in self.world.script.faults)

    def new_meter(self) -> Meter:
        boot_id = self.world.clocks.boot(self.time.now_ns()).boot_id
        window_ns = seconds_ns(self.world.script.window_s)
        return Meter(HOST_ID, boot_id, window_ns, Sharing.EQUAL, self.attributor.rules_version)


def _nothing(_reading: HostReading, _attribution: Attribution) -> None:
    """Nobody asks this daemon how it is."""
