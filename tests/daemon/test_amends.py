"""What a damaged log has lost is declared to the ns, through the real log and the real keeper."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import lmdb
import pytest
import trio

from gputally.daemon.amends import amends
from gputally.daemon.keeper import Keeper, WriterThread
from gputally.model.conservation import check_batch, tile
from gputally.model.interval import Interval
from gputally.model.meter import Meter
from gputally.model.refused import Refused
from gputally.model.usage import Batch
from gputally.proto.convert import decode_batch
from gputally.storage.frame import read_frame
from gputally.storage.wal import Entry, Log, LogFull
from gputally.storage.wal_salvage import salvage

from ..model.host import PaperHost, Run, S

CAP_BYTES = 1 << 22
HOST = "host"
DEVICES = tuple(f"nvidia:GPU-{n}" for n in range(3))


def kept(folder: Path, minutes: int = 20, acked: int = 0) -> tuple[Meter, list[Batch]]:
    """A log of so many windows that was closed; its meter, and what each frame says."""
    host = PaperHost([Run(n + 1, f"t{n}", 0, 10**15, name) for n, name in enumerate(DEVICES)], DEVICES)

    async def main() -> None:
        log = Log.open(folder, HOST, CAP_BYTES)
        keeper = Keeper(log, WriterThread())
        for tick in range(minutes * 60 + 25):
            host.tick(tick * S)
            for batch in host.batches[log.stat().last_seq :]:
                await keeper.keep(host.meter, batch)
        await keeper.keep(host.meter, None)
        log.acknowledge(acked, 1)
        log.close()

    trio.run(main)
    return host.meter, host.batches


def rub_out(folder: Path, *seqs: int) -> None:
    """Every copy of them: LMDB leaves older ones on pages that are free, and what is there is found."""
    found = salvage(folder / "data.mdb")
    raw = (folder / "data.mdb").read_bytes()
    for seq in seqs:
        part = found.read(found.frames[seq])[40:100]
        raw = raw.replace(part, bytes(len(part)))
    found.close()
    (folder / "data.mdb").write_bytes(raw)


def restored(folder: Path) -> tuple[list[Batch], Meter | None]:
    """What the new epoch says, and the meter that goes on."""

    async def main() -> tuple[list[Batch], Meter | None]:
        log = Log.open(folder, HOST, CAP_BYTES, mend=amends(HOST))
        assert log.recovery is not None
        frames = log.read(1, 100_000, 1 << 30)
        meter = await Keeper(log, WriterThread()).restore()
        log.close()
        return [decode_batch(read_frame(raw).payload()) for raw in frames], meter

    return trio.run(main)


def times(batches: Iterable[Batch], device: str) -> list[Interval]:
    return [row.segment.boot for batch in batches for row in batch.rows if row.segment.device_id == device]


def gaps(batches: Iterable[Batch]) -> dict[tuple[str, str], int]:
    """ns by device and reason."""
    sums: dict[tuple[str, str], int] = {}
    for batch in batches:
        for row in batch.rows:
            for reason, length_ns in row.unobserved_ns:
                key = row.segment.device_id, reason
                sums[key] = sums.get(key, 0) + length_ns
    return sums


def check_whole(batches: list[Batch], meter: Meter | None) -> None:
    """From the first row to what is open, no hole, nothing twice, and each row adds up."""
    assert meter is not None
    for device in DEVICES:
        still_open = Interval(meter.devices[device].book.open.start_ns, meter.devices[device].book.settled_ns)
        tiling = tile([*times(batches, device), still_open])
        assert (tiling.holes, tiling.overlaps) == ((), ())
    hosts = [window.boot for batch in batches for window in batch.hosts]
    assert (tile(hosts).holes, tile(hosts).overlaps) == ((), ())
    assert [what for batch in batches for what in check_batch(batch)] == []


def told_ns(batches: list[Batch], device: str, *seqs: int) -> int:
    return sum(each.length_ns for seq in seqs for each in times([batches[seq - 1]], device))


@pytest.mark.parametrize("lost", [(9,), (9, 10, 11), (5, 12, 13), (20,), (18, 19, 20), (3, 20)])
def test_lost_frames_become_a_gap_that_tiles_exactly_with_what_is_left(lost: tuple[int, ...], tmp_path: Path) -> None:
    folder = tmp_path / "log"
    _, said = kept(folder)
    assert len(said) >= 20
    rub_out(folder, *lost)
    batches, meter = restored(folder)
    check_whole(batches, meter)
    assert gaps(batches) == {(device, "log_damaged"): told_ns(said, device, *lost) for device in DEVICES}


def test_acknowledged_frames_that_are_still_held_tell_where_the_loss_begins(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    _, said = kept(folder, acked=8)
    rub_out(folder, 9)
    batches, meter = restored(folder)
    check_whole(batches, meter)
    assert gaps(batches) == {(device, "log_damaged"): told_ns(said, device, 9) for device in DEVICES}


def test_an_acknowledged_frame_that_is_damaged_is_no_loss(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    _, said = kept(folder, acked=8)
    rub_out(folder, 4)
    batches, meter = restored(folder)
    assert batches[1:] == said[4:], "what lies before it the ledger has"
    check_whole([*said[:4], *batches[1:]], meter)


def test_where_the_checkpoint_is_lost_too_the_next_reading_ends_the_gap(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    _, said = kept(folder)
    with lmdb.open(str(folder), max_dbs=5) as env, env.begin(write=True) as txn:
        txn.drop(env.open_db(b"checkpoint", txn=txn, create=False), delete=False)
    rub_out(folder, 19, 20)
    host = PaperHost([], DEVICES)

    async def main() -> list[Batch]:
        log = Log.open(folder, HOST, CAP_BYTES, mend=amends(HOST))
        assert log.recovery is not None
        keeper = Keeper(log, WriterThread())
        assert await keeper.restore() is None
        for tick in range(30 * 60, 32 * 60):
            host.tick(tick * S)
            await keeper.keep(host.meter, host.batches.pop() if host.batches else None)
        frames = log.read(1, 100_000, 1 << 30)
        log.close()
        return [decode_batch(read_frame(raw).payload()) for raw in frames]

    batches = trio.run(main)
    check_whole(batches, host.meter)
    until_ns = 30 * 60 * S - said[17].rows[0].segment.boot.end_ns
    lost = {device: told_ns(said, device, 19, 20) for device in DEVICES}
    assert min(lost.values()) < until_ns
    for device in DEVICES:
        assert gaps(batches)[device, "log_damaged"] in (until_ns, until_ns - told_ns(said, device, 21))


def test_the_gap_is_told_before_the_frames_that_are_left(tmp_path: Path) -> None:
    """Else a watermark among them would say that all is told, and it would not be so."""
    folder = tmp_path / "log"
    kept(folder)
    rub_out(folder, 9)
    batches, _ = restored(folder)
    assert gaps(batches[1:2]) != {} and gaps(batches[2:]) == {}


def test_a_frame_that_is_found_damaged_when_a_fork_begins_a_new_epoch_is_declared_too(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    meter, said = kept(folder)
    log = Log.open(folder, HOST, CAP_BYTES, mend=amends(HOST))
    rub_out_open(folder, 9)
    log.begin_epoch("fork")
    batches = [decode_batch(read_frame(raw).payload()) for raw in log.read(1, 100_000, 1 << 30)]
    assert log.recovery is not None and (log.recovery.reason, log.recovery.lost) == ("fork", ((9, 9),))
    log.begin_epoch("fork")
    assert log.recovery.lost == ((9, 9),), "one that loses nothing makes nobody forget it"
    log.close()
    check_whole(batches, meter)
    assert gaps(batches) == {(name, "log_damaged"): told_ns(said, name, 9) for name in DEVICES}


def rub_out_open(folder: Path, seq: int) -> None:
    """In its place, under those who have the file open."""
    found = salvage(folder / "data.mdb")
    place = found.frames[seq].offset
    found.close()
    with (folder / "data.mdb").open("r+b") as file:
        file.seek(place + 80)
        file.write(bytes(6))


def with_rubbish_for_a_checkpoint(folder: Path) -> Log:
    log = Log.open(folder, HOST, CAP_BYTES)
    log.append([], b"rubbish")
    return log


def test_what_a_lost_checkpoint_left_open_is_not_forgotten_by_lives_that_see_no_device(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    _, said = kept(folder)
    host = PaperHost([], ())

    async def main() -> list[Batch]:
        log = with_rubbish_for_a_checkpoint(folder)
        await (keeper := Keeper(log, WriterThread())).restore()
        for tick in range(30 * 60, 36 * 60):
            if tick == 33 * 60:
                keeper = Keeper(log, WriterThread())
                host.meter = await keeper.restore() or host.meter
                assert host.meter.uptime.start_ns is not None
            if tick == 34 * 60:
                host.devices = DEVICES
            host.tick(tick * S)
            await keeper.keep(host.meter, host.batches.pop() if host.batches else None)
        frames = log.read(1, 100_000, 1 << 30)
        log.close()
        return [decode_batch(read_frame(raw).payload()) for raw in frames]

    batches = trio.run(main)
    check_whole(batches, host.meter)
    until_ns = 34 * 60 * S - said[-1].rows[0].segment.boot.end_ns
    assert gaps(batches) == {(device, "log_damaged"): until_ns for device in DEVICES}


def test_what_was_refused_before_the_first_device_is_seen_is_declared_all_the_same(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    meter, said = kept(folder)

    async def main() -> Keeper:
        keeper = Keeper(log := with_rubbish_for_a_checkpoint(folder), WriterThread())
        await keeper.restore()
        keeper.refused = Refused().with_batch(replace(said[1], boot_id="another boot"))
        before = keeper.refused.stretches
        await keeper.keep(meter, None)
        assert before.items() <= keeper.refused.stretches.items()
        log.close()
        return keeper

    assert trio.run(main).refused


class FullNowAndThen(Log):
    is_full = False

    def append(self, entries: Sequence[Entry], checkpoint: bytes | None) -> int:
        if self.is_full and entries:
            raise LogFull("full")
        return super().append(entries, checkpoint)

    def has_room_to_spare(self) -> bool:
        return False


@pytest.mark.parametrize("lost", [(10,), (11,), (10, 11)])
def test_what_the_checkpoint_has_yet_to_declare_is_not_declared_as_damage_too(
    lost: tuple[int, ...], tmp_path: Path
) -> None:
    folder = tmp_path / "log"
    host = PaperHost([Run(n + 1, f"t{n}", 0, 10**15, name) for n, name in enumerate(DEVICES)], DEVICES)

    async def live() -> int:
        log = FullNowAndThen.open(folder, HOST, CAP_BYTES)
        assert isinstance(log, FullNowAndThen)
        keeper, said = Keeper(log, WriterThread()), 0
        for tick in range(20 * 60 + 25):
            host.tick(tick * S)
            for batch in host.batches[said:]:
                said += 1
                log.is_full = said in (11, 12, 13)
                await keeper.keep(host.meter, batch)
        await keeper.keep(host.meter, None)
        log.close()
        return sum(row.segment.boot.length_ns for row in keeper.refused.stretches["boot", DEVICES[0], 0])

    refused_ns = trio.run(live)
    rub_out(folder, *lost)

    async def next_life() -> tuple[list[Batch], Meter | None]:
        log = Log.open(folder, HOST, CAP_BYTES, mend=amends(HOST))
        frames = log.read(1, 100_000, 1 << 30)
        meter = await (keeper := Keeper(log, WriterThread())).restore()
        log.close()
        told = [decode_batch(read_frame(raw).payload()) for raw in frames]
        return [*told, *keeper.refused.batches(HOST)], meter

    batches, meter = trio.run(next_life)
    check_whole(batches, meter)
    assert {gaps(batches)[device, "buffer_full"] for device in DEVICES} == {refused_ns}
