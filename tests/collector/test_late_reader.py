"""A host that says much and reads late: what it has to be told waits for it, bounded, and nothing of it is dropped."""

import asyncio
from pathlib import Path

from gputally.collector.budget import Budget
from gputally.collector.intake_stream import HostStream
from gputally.collector.writer import LedgerWriter
from gputally.proto.v1 import uplink_pb2 as wire
from gputally.storage.ledger import Ledger

FRAMES = 2_000


class LateReader:
    """A host's end of the wire. Its first rejection it reads only when the collector takes no more frames."""

    def __init__(self) -> None:
        self.stream: HostStream | None = None
        self.said = 0
        self.rejected: list[int] = []

    async def read(self) -> wire.HostMessage:
        if self.said == FRAMES:
            return wire.HostMessage(goodbye=wire.Goodbye())
        self.said += 1
        return wire.HostMessage(frame=b"garbage %d" % self.said)

    async def write(self, message: wire.CollectorMessage, /) -> None:
        if message.HasField("reject"):
            while not self.rejected and not self._is_held_up:
                await asyncio.sleep(0.001)
            self.rejected.append(message.reject.seq)

    @property
    def _is_held_up(self) -> bool:
        assert self.stream is not None
        return self.said == FRAMES or (self.stream._window.locked() and not self.stream._in_flight)


def test_a_host_that_reads_late_hears_of_every_rejection(tmp_path: Path) -> None:
    ledger, host = Ledger(tmp_path), LateReader()

    async def converse() -> None:
        writer = LedgerWriter(ledger, asyncio.get_running_loop().call_soon_threadsafe, lambda: None)
        writer.start(lambda: None)
        host.stream = HostStream(host, wire.Hello(host_id="gpu-01", epoch=b"e" * 16), writer, Budget(1_000_000))
        await host.stream.run()
        await asyncio.to_thread(writer.stop)

    asyncio.run(converse())
    assert host.rejected == list(range(1, FRAMES + 1))
    ledger.close()
