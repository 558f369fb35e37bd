"""A log that is damaged anywhere is opened all the same: what can be read goes on, what is lost is told exactly."""

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import lmdb
import pytest

from gputally.daemon.sure_log import SureLog
from gputally.proto.v1 import usage_pb2
from gputally.storage.checkpoint import encode
from gputally.storage.frame import Codec, make_skip, read_frame
from gputally.storage.skip import Skip
from gputally.storage.wal import Entry, HostIdChanged, Log, LogBroken
from gputally.storage.wal_clean import CLEAN, say_clean
from gputally.storage.wal_epoch import Damage
from gputally.storage.wal_offline import verify
from gputally.storage.wal_quarantine import QUARANTINE
from gputally.storage.wal_salvage import salvage

MIB = 1024 * 1024
HOST = "gpu-01"
PAGE = 4096


def written(
    folder: Path, count: int = 60, acked: int = 20, sizes: Sequence[int] = (300, 900, 1_500, 9_000)
) -> list[bytes]:
    """The payloads of frames 1 to ``count`` of a log that was closed."""
    log = Log.open(folder, HOST, MIB)
    payloads = [os.urandom(sizes[n % len(sizes)]) for n in range(count)]
    for start in range(0, count, 7):
        log.append([Entry(1, payload) for payload in payloads[start : start + 7]], encode(["open windows"] * 300))
    log.acknowledge(acked, 10)
    log.close()
    return payloads


def rub_out(folder: Path, payload: bytes) -> None:
    """Every copy of it: LMDB leaves older ones on pages that are free, and what is there is found."""
    file = folder / "data.mdb"
    raw = file.read_bytes()
    assert payload[:200] in raw
    file.write_bytes(raw.replace(payload[:200], bytes(200)))


def epoch_of(folder: Path) -> bytes:
    found = salvage(folder / "data.mdb")
    found.close()
    assert found.epoch is not None
    return found.epoch


def payloads_of(log: Log) -> list[bytes]:
    return [read_frame(raw).payload() for raw in log.read(1, 10**6, 10**9)]


def test_a_log_that_was_closed_says_so_and_one_that_is_open_or_was_killed_does_not(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    log = Log.open(folder, HOST, MIB)
    assert not (folder / CLEAN).exists()
    log.close()
    assert (folder / CLEAN).exists()


def test_a_frame_in_the_middle_that_is_rubbed_out_costs_that_frame_and_no_other(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    payloads = written(folder)
    rub_out(folder, payloads[40])
    epoch = epoch_of(folder)
    log = Log.open(folder, HOST, MIB)
    recovery = log.recovery
    assert recovery is not None
    assert (recovery.acked_seq, recovery.head_seq, recovery.lost) == (20, 60, ((41, 41),))
    assert (recovery.salvaged_frames, recovery.carried_from_seq) == (59, 1)
    assert recovery.quarantine is not None and (recovery.quarantine / "data.mdb").exists()
    first, *others = payloads_of(log)
    told = usage_pb2.Batch.FromString(first)
    assert told == usage_pb2.Batch(
        host_id=HOST,
        predecessor=usage_pb2.Predecessor(epoch=epoch, last_seq=60, reason="damage", carried_from_seq=1),
    )
    assert told.SerializeToString() == first
    assert others == [*payloads[:40], *payloads[41:]]
    assert log.epoch != epoch
    log.close()
    assert list(verify(folder)) == []


def test_the_open_windows_are_taken_along(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    log = Log.open(folder, HOST, MIB)
    payloads = [os.urandom(400) for _ in range(10)]
    log.append([Entry(1, payload) for payload in payloads], encode({"open": [1, 2]}))
    log.close()
    rub_out(folder, payloads[4])
    again = Log.open(folder, HOST, MIB)
    assert again.recovery is not None and again.recovery.lost == ((5, 5),)
    assert again.checkpoint() == encode({"open": [1, 2]})
    again.close()


def test_what_is_said_instead_of_the_lost_frames_is_in_the_new_epoch_before_all_else(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    payloads = written(folder)
    rub_out(folder, payloads[40])

    def mend(damage: Damage) -> list[Entry]:
        assert damage.lost == [(41, 41)]
        held = dict(damage.payloads())
        assert held == {seq: payload for seq, payload in enumerate(payloads, 1) if seq != 41}
        return [Entry(0, b"gap of one minute")]

    log = Log.open(folder, HOST, MIB, mend=mend)
    assert payloads_of(log)[1:3] == [b"gap of one minute", payloads[0]]
    log.close()


def test_damage_that_is_met_while_the_log_is_open_is_mended_when_it_is_opened_again(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    payloads = written(folder)
    rub_out(folder, payloads[40])
    say_clean(folder)  # a disk that forgets does not touch the file's times
    log = Log.open(folder, HOST, MIB)
    with pytest.raises(LogBroken, match="frame 41"):
        log.read(21, 100, MIB)
    log.reopen()
    assert log.recovery is not None and log.recovery.lost == ((41, 41),)
    assert payloads_of(log)[1:] == [*payloads[:40], *payloads[41:]]
    assert log.append([Entry(1, b"usage")], None) == 61
    log.close()


def test_a_new_epoch_after_a_fork_has_all_that_is_not_acknowledged(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    payloads = written(folder)
    log = Log.open(folder, HOST, MIB)
    epoch, checkpoint = log.epoch, log.checkpoint()
    log.begin_epoch("fork")
    stat = log.stat()
    assert (stat.last_seq, stat.acked_seq, stat.unacked_records) == (61, 0, 60)
    first, *others = payloads_of(log)
    assert usage_pb2.Batch.FromString(first).predecessor == usage_pb2.Predecessor(
        epoch=epoch, last_seq=60, reason="fork", carried_from_seq=1
    )
    assert others == payloads
    assert log.append([Entry(1, b"usage")], checkpoint) == 62
    assert log.epoch != epoch
    log.close()
    assert [path.name.endswith("-fork") for path in (folder / QUARANTINE).iterdir()] == [True]


def carried(log: Log) -> int:
    first = read_frame(log.read(1, 1, MIB)[0])
    return usage_pb2.Batch.FromString(first.payload()).predecessor.carried_from_seq


def test_acknowledged_frames_go_on_as_far_as_half_of_the_room_holds_them_the_newest_first(tmp_path: Path) -> None:
    log = Log.open(tmp_path, HOST, 4 * MIB)
    payloads = [os.urandom(1_500) for _ in range(1_000)]
    log.append([Entry(1, payload) for payload in payloads], None)
    log.acknowledge(900, 10)
    log.begin_epoch("fork")
    first = carried(log)
    assert 1 < first < 900
    assert payloads_of(log)[1:] == payloads[first - 1 :]
    limit_bytes = 3 * MIB  # a quarter of 4 MiB is kept free: see wal_room.py
    assert limit_bytes // 2 - 16_384 < log.stat().bytes < limit_bytes // 2 + 65_536
    log.close()


def test_all_that_is_not_acknowledged_goes_on_even_where_it_takes_more_than_half(tmp_path: Path) -> None:
    log = Log.open(tmp_path, HOST, 4 * MIB)
    payloads = [os.urandom(1_500) for _ in range(900)]
    log.append([Entry(1, payload) for payload in payloads], None)
    log.acknowledge(100, 10)
    log.begin_epoch("fork")
    assert (carried(log), payloads_of(log)[1:]) == (101, payloads[100:])
    log.close()


def test_behind_the_first_frame_that_goes_on_none_is_missing_without_a_word(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    payloads = written(folder)
    rub_out(folder, payloads[11])  # acknowledged
    log = Log.open(folder, HOST, MIB)
    assert log.recovery is not None and log.recovery.lost == ()
    assert (carried(log), payloads_of(log)[1:]) == (13, payloads[12:])
    log.close()


def test_where_all_is_acknowledged_and_the_newest_of_it_is_damaged_no_frame_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    payloads = written(folder, acked=60)
    rub_out(folder, payloads[59])
    log = Log.open(folder, HOST, MIB)
    assert (carried(log), payloads_of(log)[1:]) == (61, [])
    log.close()


def test_what_went_on_is_kept_for_its_time_after_it_is_acknowledged_anew(tmp_path: Path) -> None:
    log = Log.open(tmp_path, HOST, MIB)
    log.append([Entry(1, b"usage")] * 3, None)
    log.acknowledge(3, 10)
    log.begin_epoch("fork")
    assert log.stat().acked_seq == 0
    assert log.trim(10**18) == 0
    log.acknowledge(4, 50)
    assert (log.trim(50), log.trim(51)) == (0, 4)
    log.close()


def test_at_most_two_old_logs_are_kept(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    log = Log.open(folder, HOST, MIB)
    epochs: list[bytes] = []
    for _ in range(4):
        epochs.append(log.epoch)
        log.append([Entry(1, b"usage")], None)
        log.begin_epoch("fork")
    log.close()
    kept = [epoch_of(path) for path in sorted((folder / QUARANTINE).iterdir())]
    assert kept == epochs[-2:]


def test_a_damaged_log_of_another_host_is_left_as_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    payloads = written(folder)
    rub_out(folder, payloads[40])
    before = (folder / "data.mdb").read_bytes()
    with pytest.raises(HostIdChanged):
        Log.open(folder, "gpu-02", MIB)
    assert (folder / "data.mdb").read_bytes() == before


def test_a_skip_is_read_as_the_frames_it_stands_for(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    log = Log.open(folder, HOST, MIB)
    log.append([Entry(1, b"one"), Entry(1, b"two"), Entry(1, b"three")], None)
    frames = [read_frame(raw) for raw in log.read(1, 3, MIB)]
    skip = make_skip(log.epoch, 2, frames[0].previous_hash, Skip(1, frames[1].hash, "buffer_full"))
    log.close()
    put_skip(folder, skip.to_bytes(), skip.hash)
    log = Log.open(folder, HOST, MIB)
    assert log.recovery is None
    assert log.head_hash(2) == frames[1].hash
    assert [read_frame(raw).codec for raw in log.read(1, 3, MIB)] == [Codec.SKIP, frames[2].codec]
    log.close()
    assert list(verify(folder)) == []
    found = salvage(folder / "data.mdb")
    assert found.lost() == []
    found.close()


def put_skip(folder: Path, raw: bytes, its_hash: bytes) -> None:
    """In the place of frames 1 and 2."""
    first, second = (seq.to_bytes(8, "big") for seq in (1, 2))
    with lmdb.open(str(folder), max_dbs=5) as env, env.begin(write=True) as txn:
        frames = env.open_db(b"frames", txn=txn, create=False)
        assert txn.delete(first, db=frames)
        txn.put(second, its_hash + second + raw, db=frames)


def flip_bits(raw: bytearray, dice: random.Random, used: int) -> None:
    for _ in range(dice.randint(1, 30)):
        raw[dice.randrange(used)] ^= 1 << dice.randrange(8)


def wipe_pages(raw: bytearray, dice: random.Random, used: int) -> None:
    for _ in range(dice.randint(1, 6)):
        at = dice.randrange(used // PAGE) * PAGE
        raw[at : at + PAGE] = bytes(PAGE)


def swap_pages(raw: bytearray, dice: random.Random, used: int) -> None:
    for _ in range(dice.randint(1, 4)):
        one, other = (dice.randrange(used // PAGE) * PAGE for _ in range(2))
        raw[one : one + PAGE], raw[other : other + PAGE] = raw[other : other + PAGE], raw[one : one + PAGE]


def scribble(raw: bytearray, dice: random.Random, used: int) -> None:
    at = dice.randrange(used)
    part = dice.randbytes(dice.randint(1, 3 * PAGE))
    raw[at : at + len(part)] = part[: len(raw) - at]


def cut(raw: bytearray, dice: random.Random, used: int) -> None:
    del raw[dice.randrange(used) :]


DAMAGE: list[Callable[[bytearray, random.Random, int], None]] = [flip_bits, wipe_pages, swap_pages, scribble, cut]

OPEN = """
import sys, json
from pathlib import Path
from gputally.storage.wal import Log, Entry
from gputally.storage.frame import read_frame
for folder in sys.argv[1:]:
    log = Log.open(Path(folder), "gpu-01", 1 << 20)
    payloads = [read_frame(raw).payload().hex() for raw in log.read(log.stat().acked_seq + 1, 10**6, 10**9)]
    r = log.recovery
    log.append([Entry(1, b"usage")], b"checkpoint")
    log.close()
    told = None if r is None else [r.acked_seq, r.head_seq, r.lost, r.salvaged_frames, r.epoch.hex(), r.knows_head]
    told = told and [*told, r.carried_from_seq]
    print(json.dumps([told, payloads]), flush=True)
"""


@pytest.mark.parametrize("rounds", [12, pytest.param(200, marks=pytest.mark.long)])
@pytest.mark.parametrize("damage", DAMAGE, ids=lambda each: each.__name__)
def test_whatever_is_damaged_the_log_opens_and_acknowledged_salvaged_and_lost_are_all_there_was(
    damage: Callable[[bytearray, random.Random, int], None], rounds: int, tmp_path: Path
) -> None:
    whole = tmp_path / "whole"
    payloads = written(whole)
    raw = (whole / "data.mdb").read_bytes()
    used = max(at for at in range(0, len(raw), PAGE) if any(raw[at : at + PAGE])) + PAGE
    folders: list[Path] = []
    for seed in range(rounds):
        folder = tmp_path / f"{seed}"
        shutil.copytree(whole, folder)
        damaged = bytearray(raw)
        damage(damaged, random.Random(seed), used)
        (folder / "data.mdb").write_bytes(damaged)
        folders.append(folder)
    done = subprocess.run(
        [sys.executable, "-c", OPEN, *folders], capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, (done.returncode, done.stderr[-2000:])
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(answers) == rounds
    for seed, (told, held) in enumerate(answers):
        check_partition(seed, told, [bytes.fromhex(each) for each in held], payloads)


def check_partition(
    seed: int,
    told: tuple[int, int, list[tuple[int, int]], int, str, bool, int] | None,
    held: list[bytes],
    payloads: list[bytes],
) -> None:
    if told is None:
        assert held == payloads[20:], seed
        return
    acked, head, lost, salvaged, epoch, knows_head, carried_from = told
    if not epoch:
        assert (head, held) == (0, []), seed  # nothing at all could be read, and that is said
        return
    missing = {seq for first, last in lost for seq in range(first, last + 1)}
    expected = [payloads[seq - 1] for seq in range(carried_from, head + 1) if seq not in missing]
    assert carried_from <= acked + 1, seed
    assert held[1:] == expected, seed
    assert (len(expected), len(missing) + len(expected) + carried_from - 1) == (salvaged, head), seed
    assert head == 60 or not knows_head, seed


def test_a_damaged_frame_that_retention_meets_first_is_mended_when_the_log_is_opened_again(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    payloads = written(folder, acked=0)
    rub_out(folder, payloads[0])
    say_clean(folder)  # a disk that forgets does not touch the file's times
    log = Log.open(folder, HOST, MIB)
    sure = SureLog(log)
    sure.append_over([Entry(1, b"usage")], lambda _: ((), b"checkpoint"))
    assert log.recovery is not None and log.recovery.lost == ((1, 1),)
    assert read_frame(log.read(log.stat().last_seq, 1, MIB)[0]).payload() == b"usage"
    log.close()


@pytest.mark.parametrize(
    ("seq", "use"), [(1, lambda log: log._settle(MIB)), (30, lambda log: log.read(21, 100, MIB))], ids=["trim", "read"]
)
def test_a_frame_that_is_not_there_is_looked_into_when_the_log_is_opened_again(
    seq: int, use: Callable[[Log], object], tmp_path: Path
) -> None:
    folder = tmp_path / "log"
    written(folder)
    with lmdb.open(str(folder), max_dbs=5) as env, env.begin(write=True) as txn:
        assert txn.delete(seq.to_bytes(8, "big"), db=env.open_db(b"frames", txn=txn, create=False))
    say_clean(folder)
    log = Log.open(folder, HOST, MIB)
    with pytest.raises(LogBroken, match=f"frame {seq} "):
        use(log)
    log.reopen()
    assert log.recovery is not None and log.recovery.what == f"frames {seq} to {seq} are not there"
    log.close()


def test_a_state_that_cannot_be_read_any_more_is_found_again_when_the_log_is_opened_again(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    written(folder)
    log = Log.open(folder, HOST, MIB)
    with log._writing() as txn:
        txn.put(b"log", b"no state", db=log._tables._db["state"])
    with pytest.raises(LogBroken):
        log.stat()
    log.reopen()
    assert log.recovery is not None and log.stat().unacked_frames >= 40
    log.close()


def test_a_log_that_is_closed_while_it_is_known_to_be_damaged_is_checked_at_the_next_start(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    payloads = written(folder)
    rub_out(folder, payloads[40])
    say_clean(folder)
    log = Log.open(folder, HOST, MIB)
    with pytest.raises(LogBroken, match="frame 41"):
        log.read(21, 100, MIB)
    log.close()
    assert not (folder / CLEAN).exists()
    again = Log.open(folder, HOST, MIB)
    assert again.recovery is not None and again.recovery.lost == ((41, 41),)
    again.close()
    assert (folder / CLEAN).exists()
