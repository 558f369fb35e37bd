"""The host's side of a stream in simulated time, in one task, where daemon/uplink.py has threads and gRPC.

What may be said when is the daemon's own protocol value (daemon/replay.py); only the
network is another: it takes its time, it breaks, and what was said last is then
lost, or was heard and the answer is lost.
"""

from collections.abc import Callable
from random import Random

import trio

from ...daemon.keeper import InWriter
from ...daemon.replay import Replay
from ...daemon.replay_events import (
    Acknowledge,
    Bury,
    Event,
    Fork,
    Left,
    Lost,
    Opened,
    Order,
    Said,
    TakeBack,
    TakenBack,
    TakeRules,
    Welcomed,
    Written,
)
from ...daemon.replay_phases import Phase
from ...storage.frame import span_of
from ...storage.wal import Log
from .clocks import Clocks, LifeTime
from .collector import Collector
from .script import MS, S

WINDOW_FRAMES = 16
WINDOW_BYTES = 1 << 20
LINGER_S = 5.0
RETRY_S = 4.0


class Broken(Exception):
    """The stream is over; nobody knows what of it was heard."""


class Network:
    """Between one host and its collector."""

    def __init__(self, collector: Collector, breaks_percent: int, now_ns: Callable[[], int], rng: Random) -> None:
        self.collector, self._now_ns = collector, now_ns
        self._breaks_percent, self._rng = breaks_percent, rng

    async def carry(self) -> None:
        """A message on its way. Raises Broken where it does not arrive."""
        await trio.sleep(self._rng.randrange(1, 50) * MS / S)
        breaks = self._rng.randrange(100) < self._breaks_percent
        if self.collector.is_restored(self._now_ns()) or self.collector.is_away(self._now_ns()) or breaks:
            raise Broken

    def doubles(self) -> bool:
        """Whether a message arrives twice, as it may where something between sends it again."""
        return self._rng.randrange(100) < self._breaks_percent


class Uplink:
    """Sends what the log holds, one stream at a time."""

    def __init__(
        self, log: Log, host_id: str, in_writer: InWriter, network: Network, clocks: Clocks, time: LifeTime
    ) -> None:
        self._log, self._host_id, self._in_writer, self._network = log, host_id, in_writer, network
        self._clocks, self._time = clocks, time
        self._replay = Replay()
        self._woken = trio.Event()
        self._draining = False
        self._drained = trio.Event()
        self.forks: list[str] = []

    def wake(self) -> None:
        """The log has grown."""
        self._woken.set()

    async def run(self) -> None:
        """Until everything is out and ``drain`` was asked for."""
        while not (self._draining and not self._log.stat().unacked_frames) and not self.forks:
            self._woken = trio.Event()
            try:
                await self._converse()
            except Broken:
                self._replay.take(Lost())
                await self._rest(RETRY_S)
            else:
                await self._rest(None)
        self._drained.set()

    async def drain(self, within_s: float) -> None:
        self._draining = True
        self._woken.set()
        with trio.move_on_after(within_s):
            await self._drained.wait()

    async def _rest(self, seconds: float | None) -> None:
        """A while, or until there is something to say. Who is told to stop has no time to wait."""
        if self._draining:
            await trio.sleep(0.2)
        elif seconds is None:
            await self._woken.wait()
        else:
            await trio.sleep(seconds)

    async def _converse(self) -> None:
        """One stream: until nothing has been said for a while, or it breaks."""
        if not self._log.stat().unacked_frames:
            return
        await self._greet()
        while self._replay.phase is Phase.STREAMING:
            await self._say_all()
            with trio.move_on_after(0 if self._draining else LINGER_S):
                await self._woken.wait()
            self._woken = trio.Event()
            self._replay.take(Written(self._log.stat().last_seq))
            if self._replay.room is None:
                self._replay.take(Left())
        self._replay.take(Lost())

    async def _greet(self) -> None:
        stat = self._log.stat()
        self._replay.take(Opened(stat.acked_seq, stat.last_seq))
        await self._network.carry()
        seq, head = self._network.collector.head(self._host_id, stat.epoch)
        await self._network.carry()
        place = self._log.place(seq)
        await self._take(Welcomed(seq, head, place.hash, WINDOW_FRAMES, WINDOW_BYTES, place.goes_on_seq))

    async def _say_all(self) -> None:
        while (room := self._replay.room) is not None:
            for raw in self._log.read(room.first_seq, room.frames, room.size_bytes):
                first_seq, seq = span_of(raw)
                if not self._replay.may_say(seq, len(raw), first_seq):
                    break
                await self._say(Said(seq, len(raw), first_seq), raw)

    async def _say(self, said: Said, raw: bytes) -> None:
        self._replay.take(said)
        await self._network.carry()
        answer = self._network.collector.offer(self._host_id, raw, self._time.now_ns())
        if self._network.doubles():
            answer = self._network.collector.offer(self._host_id, raw, self._time.now_ns())
        await self._network.carry()
        await self._take(answer)

    async def _take(self, event: Event) -> None:
        order = self._replay.take(event)
        if order is not None:
            await self._obey(order)

    async def _obey(self, order: Order) -> None:
        match order:
            case Acknowledge():
                await self._in_writer(lambda: self._log.acknowledge(order.through_seq, self._wall_ns()))
            case TakeBack():
                await self._in_writer(lambda: self._log.take_back(order.through_seq))
                await self._take(TakenBack())
            case Bury():
                await self._in_writer(lambda: self._log.bury(order.seq, order.reason, self._wall_ns()))
                self.forks.append(f"frame {order.seq} was refused: {order.reason}")
            case Fork():
                self.forks.append(order.why)
            case TakeRules():
                raise AssertionError("this collector sends no rules")

    def _wall_ns(self) -> int:
        return self._clocks.wall_ns(self._time.now_ns())
