"""The keeper: frames and the checkpoint that no longer holds them are one; a full log is an exact gap."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import trio

from gputally.daemon.keeper import Keeper, WriterThread
from gputally.daemon.mailbox import Mailbox
from gputally.daemon.metering import Metering
from gputally.model.conservation import check_batch, tile
from gputally.model.meter import Meter
from gputally.model.refused import Refused
from gputally.model.usage import Batch
from gputally.plugins.attribution.attributor import make_attributor
from gputally.proto.convert import decode_batch
from gputally.storage.checkpoint import encode
from gputally.storage.frame import read_frame
from gputally.storage.wal import Entry, Log, LogFull

from ..model.host import PaperHost, Run, S

CAP_BYTES = 1 << 20


def kept(log: Log) -> list[Batch]:
    return [decode_batch(read_frame(raw).payload()) for raw in log.read(log.stat().first_seq, 100_000, 1 << 30)]


def host_at(seconds: int, devices: int = 1) -> PaperHost:
    names = tuple(f"nvidia:GPU-{n}" for n in range(devices))
    host = PaperHost([Run(n + 1, f"t{n}", 0, 10**15, names[n]) for n in range(devices)], names)
    for tick in range(seconds + 1):
        host.tick(tick * S)
    return host


def test_what_was_kept_comes_back_and_what_was_open_goes_on(tmp_path: Path) -> None:
    host = host_at(90)

    async def main() -> tuple[list[Batch], Meter | None]:
        log = Log.open(tmp_path / "log", "host", CAP_BYTES)
        keeper = Keeper(log, WriterThread())
        for batch in host.batches:
            await keeper.keep(host.meter, batch)
        log.close()
        log = Log.open(tmp_path / "log", "host", CAP_BYTES)
        return kept(log), await Keeper(log, WriterThread()).restore()

    batches, meter = trio.run(main)
    assert batches == host.batches
    assert meter is not None and meter.devices["nvidia:GPU-0"].book.settled_ns == 90 * S


def test_a_full_log_becomes_an_exact_gap_once_there_is_room(tmp_path: Path) -> None:
    host = host_at(60 * 40, devices=8)

    async def main() -> list[Batch]:
        log = Log.open(tmp_path / "log", "host", CAP_BYTES)
        keeper = Keeper(log, WriterThread())
        filled = 0
        for batch in host.batches * 40:  # more than fits: the same minutes again and again, to fill the disk
            await keeper.keep(host.meter, batch)
            filled += 1
            if keeper.refused.stretches:
                break
        assert keeper.refused.stretches, "the log never filled up: the test proves nothing"
        refused = host.batches[(filled - 1) % len(host.batches)]
        again = Keeper(log, WriterThread())
        assert await again.restore() is not None
        assert again.refused == keeper.refused, "a restart must remember what it refused"
        log.acknowledge(log.stat().last_seq, 10**18)
        log.trim(2 * 10**18)
        await again.keep(host.meter, Batch("host", "boot", complete_through_ns=1))
        last = kept(log)[-2]
        assert [row.segment for row in last.rows] == [row.segment for row in refused.rows]
        return [last]

    (last,) = trio.run(main)
    assert {reason for row in last.rows for reason, _ in row.unobserved_ns} == {"buffer_full"}
    assert check_batch(last) == []


class FullByTurns(Log):
    """Never with room to spare."""

    is_full = False

    def append(self, entries: Sequence[Entry], checkpoint: bytes | None) -> int:
        if self.is_full and entries:
            raise LogFull("full")
        return super().append(entries, checkpoint)

    def has_room_to_spare(self) -> bool:
        return False


def test_a_log_that_is_full_by_turns_refuses_more_rather_than_declare_what_it_kept(tmp_path: Path) -> None:
    host = host_at(60 * 80)

    async def main() -> list[Batch]:
        log = FullByTurns.open(tmp_path / "log", "host", CAP_BYTES)
        assert isinstance(log, FullByTurns)
        keeper = Keeper(log, WriterThread())
        for number, batch in enumerate(host.batches):
            log.is_full = number % 2 == 1
            await keeper.keep(host.meter, batch)
        return [*kept(log), *keeper.refused.batches("host")]

    tiling = tile(row.segment.boot for batch in trio.run(main) for row in batch.rows)
    assert (tiling.holes, tiling.overlaps) == ((), ())


def test_a_checkpoint_of_another_version_is_an_error_and_not_a_crash(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> Meter | None:
        log = Log.open(tmp_path / "log", "host", CAP_BYTES)
        log.append([], b"not a checkpoint")
        return await Keeper(log, WriterThread()).restore()

    assert trio.run(main) is None
    assert "is lost" in caplog.text


def test_rows_of_a_life_and_the_next_tile_without_hole_or_overlap(tmp_path: Path) -> None:
    host = host_at(95)

    async def main() -> None:
        log = Log.open(tmp_path / "log", "host", CAP_BYTES)
        await Keeper(log, WriterThread()).keep(host.meter, None)
        meter = await Keeper(log, WriterThread()).restore()
        assert meter is not None
        host.meter = meter

    trio.run(main)
    for tick in range(120, 200):
        host.tick(tick * S)
    host.stop()
    assert tile(row.segment.boot for row in host.rows).holes == ()
    assert tile(row.segment.boot for row in host.rows).overlaps == ()


def test_a_batch_too_large_for_one_frame_becomes_several(tmp_path: Path) -> None:
    names = tuple(f"nvidia:GPU-{n}" for n in range(8))
    runs = [Run(d * 200 + w + 1, f"{w:03d}" + "t" * 250, 0, 10**15, names[d]) for d in range(8) for w in range(100)]
    host = PaperHost(runs, names)
    for tick in range(61):
        host.tick(tick * S)

    async def main() -> list[Batch]:
        log = Log.open(tmp_path / "log", "host", 4 * CAP_BYTES)
        await Keeper(log, WriterThread()).keep(host.meter, host.batches[-1])
        return kept(log)

    parts = trio.run(main)
    assert len(parts) > 1 and all(check_batch(part) == [] for part in parts)
    assert tuple(r for part in parts for r in part.records) == host.batches[-1].records


def test_what_a_boot_refused_goes_out_under_that_boot_even_if_nothing_was_open(tmp_path: Path) -> None:
    """The stop left nothing open, then the host was rebooted: the old boot's gaps must not become the new one's."""
    host = host_at(60)
    refused = host.batches[-1]

    async def main() -> list[Batch]:
        log = Log.open(tmp_path / "log", "host", CAP_BYTES)
        keeper = Keeper(log, WriterThread(), Refused().with_batch(refused))
        await keeper.keep(host.meter, None)
        metering = a_metering(keeper := Keeper(log, WriterThread()), Meter("host", "next boot", 60 * S))
        metering.readings.close()
        await metering.run()
        assert keeper.refused == Refused()
        return kept(log)

    batches = trio.run(main)
    assert [batch.boot_id for batch in batches if batch.rows] == ["boot"]


def test_a_checkpoint_of_another_kind_is_an_error_and_not_a_crash_loop(tmp_path: Path) -> None:
    async def main() -> Meter | None:
        log = Log.open(tmp_path / "log", "host", CAP_BYTES)
        log.append([], encode({"version": 0, "meter": []}))
        return await Keeper(log, WriterThread()).restore()

    assert trio.run(main) is None


def a_metering(keeper: Keeper, meter: Meter) -> Metering:
    attributor = make_attributor("/proc", "/sys/fs/cgroup", [])
    return Metering(Mailbox(8), attributor, keeper, lambda: meter, lambda: None, lambda *_: None)
