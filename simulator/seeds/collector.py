"""A collector in memory that commits each frame exactly once, and the host's side of its streams.

What may be said when is the daemon's own protocol value (daemon/replay.py); only
the network between is a simulated one.
"""

from collections.abc import Callable
from random import Random

import trio

from ...daemon.keeper import InWriter
from ...daemon.replay import Replay, Violation
from ...daemon.replay_events import (
    Acked,
    Acknowledge,
    Answer,
    Bury,
    Event,
    Fork,
    Left,
    Lost,
    Opened,
    Order,
    Rejected,
    Resumed,
    Said,
    TakeBack,
    TakenBack,
    Welcomed,
    Written,
)
from ...storage.frame import genesis_hash, read_frame
from ...storage.wal import Log
from .script import MS, S

LINGER_S = 5.0
RETRY_S = 2.0


class Collector:
    """The ledger: frames by stream, each follows the one before it."""

    def __init__(self) -> None:
        self.ledger: list[bytes] = []
        """Every frame in the order in which it was committed."""
        self._heads: dict[tuple[str, bytes], tuple[int, bytes]] = {}

    def head(self, host_id: str, epoch: bytes) -> tuple[int, bytes]:
        return self._heads.get((host_id, epoch), (0, genesis_hash(host_id, epoch)))

    def offer(self, host_id: str, raw: bytes) -> Answer:
        """Commits the frame if it is the next one; what was committed before is acknowledged again."""
        frame = read_frame(raw)
        seq, head = self.head(host_id, frame.epoch)
        if frame.seq <= seq:
            return Acked(seq)
        if frame.seq > seq + 1:
            return Resumed(seq + 1)
        if frame.previous_hash != head:
            return Rejected(frame.seq, "follows another frame")
        self.ledger.append(raw)
        self._heads[host_id, frame.epoch] = frame.seq, frame.hash
        return Acked(frame.seq)


class Uplink:
    """Stands where daemon/uplink.py stands; sends what the log holds, one stream at a time, in one task."""

    def __init__(
        self,
        log: Log,
        host_id: str,
        in_writer: InWriter,
        collector: Collector,
        wall_ns: Callable[[], int],
        rng: Random,
    ) -> None:
        self._log, self._host_id, self._in_writer = log, host_id, in_writer
        self._collector, self._wall_ns, self._rng = collector, wall_ns, rng
        self._replay = Replay()
        self._woken = trio.Event()
        self._draining = False
        self._drained = trio.Event()
        self.forks: list[str] = []

    def wake(self) -> None:
        """The log has grown."""
        self._woken.set()

    async def run(self) -> None:
        """Until drained."""
        while True:
            self._woken = trio.Event()
            if self._log.stat().unacked_frames:
                await self._converse()
            elif self._draining:
                self._drained.set()
                return
            else:
                await self._woken.wait()

    async def drain(self, within_s: float) -> None:
        self._draining = True
        self._woken.set()
        with trio.move_on_after(within_s):
            await self._drained.wait()

    async def _converse(self) -> None:
        """One stream, until everything is acknowledged or it breaks."""
        stat = self._log.stat()
        self._replay.take(Opened(stat.acked_seq, stat.last_seq))
        await self._pass()
        seq, head = self._collector.head(self._host_id, stat.epoch)
        await self._take(Welcomed(seq, head, self._log.head_hash(seq), 16, 1 << 20))
        while self._replay.room is not None:
            await self._say()
        self._replay.take(Left())
        self._replay.take(Lost())

    async def _say(self) -> None:
        room = self._replay.room
        assert room is not None
        for seq, raw in enumerate(self._log.read(room.first_seq, room.frames, room.size_bytes), room.first_seq):
            if not self._replay.may_say(seq, len(raw)):
                break
            self._replay.take(Said(seq, len(raw)))
            await self._pass()
            await self._take(self._collector.offer(self._host_id, raw))
        self._replay.take(Written(self._log.stat().last_seq))

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
            case Fork():
                self.forks.append(order.why)

    async def _pass(self) -> None:
        """The network takes its time."""
        await trio.sleep(self._rng.randrange(1, 50) * MS / S)
