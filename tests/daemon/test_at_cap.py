"""A full log while the collector is away: whatever gives way, every nanosecond is accounted for in the end."""

import random
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trio

from gputally.collector.examine import examine
from gputally.daemon.amends import amends
from gputally.daemon.keeper import Keeper, WriterThread
from gputally.model.conservation import check_batch, tile
from gputally.model.interval import Interval
from gputally.model.meter import Meter
from gputally.model.usage import Batch, DeviceWindow
from gputally.proto.convert import decode_batch
from gputally.simulator.stream import SimulatedHost
from gputally.storage.frame import read_frame, span_of
from gputally.storage.ledger import Ledger
from gputally.storage.ledger_reader import LedgerReader
from gputally.storage.ledger_rules import EntryKind, StreamId, Verdict
from gputally.storage.skip import Skip
from gputally.storage.wal import Log
from gputally.storage.wal_offline import verify
from gputally.storage.wal_platter import Platter

from ..model.host import PaperHost

CAP_BYTES = 1 << 20
HOST = "host"
UNFLUSHED = Platter(flush=False)  # nothing here is about power cuts
WINDOW_NS = 60 * 10**9
START_NS = 1_750_000_020 * 10**9
DEVICES = ("nvidia:GPU-0", "nvidia:GPU-1")


def window(number: int) -> Batch:
    """One window of both devices, about 2 KiB that cannot be compressed, so that a small log is full soon."""
    dice = random.Random(number)
    host = SimulatedHost(HOST, booted_ns=START_NS)
    start_ns = START_NS + number * WINDOW_NS
    for device in DEVICES:
        host.hold(device, "NVIDIA H100", dice.randbytes(900).hex(), Interval(start_ns, start_ns + WINDOW_NS))
    (batch,) = host.batches()
    return batch


class Away:
    """A host whose collector is away, with the ledger that takes everything up when it is back."""

    def __init__(self, folder: Path, *, drop_oldest: bool) -> None:
        self.folder = folder
        self.meter = Meter(HOST, "boot-1", WINDOW_NS)
        self.log = Log.open(folder / "log", HOST, CAP_BYTES, UNFLUSHED, amends(HOST))
        self.keeper = Keeper(self.log, WriterThread(), drop_oldest=drop_oldest)
        self.ledger = Ledger(folder)
        self.told: list[Batch] = []

    async def live(self, windows: int) -> None:
        for _ in range(windows):
            self.told.append(window(len(self.told)))
            await self.keeper.keep(self.meter, self.told[-1])

    async def restart(self) -> None:
        self.log.close()
        assert list(verify(self.folder / "log")) == []
        self.log = Log.open(self.folder / "log", HOST, CAP_BYTES, UNFLUSHED)
        self.keeper = Keeper(self.log, WriterThread(), drop_oldest=self.keeper.drop_oldest)
        meter = await self.keeper.restore()
        assert meter is not None
        self.meter = meter

    def deliver(self) -> None:
        """Everything in the log reaches the ledger and is acknowledged."""
        stream = StreamId(HOST, self.log.epoch)
        while raws := self.log.read(self.log.stat().acked_seq + 1, 64, 1 << 20):
            rulings = self.ledger.commit([examine(raw, stream, span_of(raw)[0]) for raw in raws], 1)
            assert {ruling.verdict for ruling in rulings} == {Verdict.COMMITTED}
            assert not any(ruling.rejected for ruling in rulings)
            self.log.acknowledge(rulings[-1].through_seq, 10**18)

    async def drain(self) -> None:
        for _ in range(100):
            self.deliver()
            if not self.keeper.refused:
                return
            await self.live(1)
        raise AssertionError("what was given up is never declared")

    def entries(self) -> Iterator[tuple[EntryKind, bytes]]:
        with LedgerReader(self.folder) as reader:
            yield from ((entry.kind, entry.body) for entry in reader.read(0, 10**6, 1 << 40))

    def batches(self) -> list[Batch]:
        return [decode_batch(read_frame(body).payload()) for kind, body in self.entries() if kind is EntryKind.FRAME]


def total_ns(rows: list[DeviceWindow]) -> int:
    return sum(row.segment.boot.length_ns for row in rows)


def gaps_ns(rows: list[DeviceWindow]) -> Counter[str]:
    found = Counter[str]()
    for row in rows:
        found.update(dict(row.unobserved_ns))
    return found


def check_conserved(away: Away) -> list[DeviceWindow]:
    """The rows in the ledger, which tile everything that was metered and obey the law."""
    batches = away.batches()
    assert [violation for batch in batches for violation in check_batch(batch)] == []
    rows = [row for batch in batches for row in batch.rows]
    for device in DEVICES:
        spans = [row.segment.boot for row in rows if row.segment.device_id == device]
        tiling = tile(spans)
        assert (tiling.holes, tiling.overlaps) == ((), ())
    metered = [row for batch in away.told for row in batch.rows]
    assert total_ns(rows) == total_ns(metered)
    return rows


def test_dropping_the_oldest_loses_exactly_what_it_says_and_says_exactly_what_it_lost(tmp_path: Path) -> None:
    async def main() -> Away:
        away = Away(tmp_path, drop_oldest=True)
        while not away.keeper.refused:
            await away.live(1)
        filled = len(away.told)
        assert filled > 100, "the log is too small: the test proves nothing"
        await away.live(19 * filled // 2)
        await away.restart()
        await away.live(19 * filled // 2)
        assert away.log.stat().unacked_frames > filled // 2, "the newest are kept"
        await away.drain()
        return away

    away = trio.run(main)
    rows = check_conserved(away)
    skips = [read_frame(body).skip for kind, body in away.entries() if kind is EntryKind.SKIP]
    assert len(skips) == 1, "neighbours merge into one"
    (skip,) = skips
    assert skip is not None and skip.first_seq == 1
    dropped_ns = gaps_ns(rows)["dropped"]
    assert dropped_ns == sum(lost.ns for lost in skip.lost) > total_ns(rows) // 2
    assert set(gaps_ns(rows)) == {"dropped"}
    assert {lost.device_id for lost in skip.lost} == set(DEVICES)


def test_refusing_the_newest_is_as_exact(tmp_path: Path) -> None:
    async def main() -> Away:
        away = Away(tmp_path, drop_oldest=False)
        while not away.keeper.refused:
            await away.live(1)
        filled = len(away.told)
        await away.live(19 * filled)
        await away.drain()
        return away

    away = trio.run(main)
    rows = check_conserved(away)
    assert set(gaps_ns(rows)) == {"buffer_full"}
    assert gaps_ns(rows)["buffer_full"] > total_ns(rows) // 2
    assert {kind for kind, _ in away.entries()} == {EntryKind.FRAME}


def skips_of(log: Log) -> list[Skip]:
    return [frame.skip for frame in map(read_frame, log.read(log.stat().first_seq, 10**6, 1 << 30)) if frame.skip]


def say_nothing(log: Log) -> None:
    """The epoch goes on."""


def begin_anew(log: Log) -> None:
    """Nothing is lost, and the Skips stay behind."""
    log.begin_epoch("fork")
    assert log.recovery is None


@pytest.mark.parametrize("go_on", [say_nothing, begin_anew])
def test_what_was_dropped_is_declared_even_if_the_checkpoint_that_remembered_it_is_damaged(
    go_on: Callable[[Log], None], tmp_path: Path
) -> None:
    """The rows before it are trimmed: what the Skip tells is all that is left."""

    dropped_ns: list[int] = []

    async def main() -> Away:
        away = Away(tmp_path, drop_oldest=True)
        await away.live(10)
        away.deliver()
        while not away.keeper.refused:
            await away.live(1)
        await away.live(10)
        away.log.append([], b"rubbish")
        dropped_ns.extend(lost.ns for skip in skips_of(away.log) for lost in skip.lost)
        go_on(away.log)
        away.keeper = Keeper(away.log, WriterThread(), drop_oldest=True)
        assert await away.keeper.restore() is None
        host = PaperHost([], DEVICES)
        host.meter = Meter(HOST, "boot-1", WINDOW_NS)
        now_ns = away.told[-1].rows[-1].segment.boot.end_ns + 5 * WINDOW_NS
        for tick in range(5):
            host.tick(now_ns + tick * WINDOW_NS)
            away.deliver()
            await away.keeper.keep(host.meter, host.batches.pop() if host.batches else None)
        away.deliver()
        assert not away.keeper.refused
        return away

    away = trio.run(main)
    rows = [row for batch in away.batches() for row in batch.rows]
    for device in DEVICES:
        tiling = tile([row.segment.boot for row in rows if row.segment.device_id == device])
        assert (tiling.holes, tiling.overlaps) == ((), ())
    assert gaps_ns(rows)["dropped"] == sum(dropped_ns) > 0
    assert min(row.segment.boot.start_ns for row in rows) == away.told[0].rows[0].segment.boot.start_ns
