"""What the log promises to those who write to it: order, durability, and that nothing unacknowledged ever goes."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import lmdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gputally.storage.frame import MAX_PAYLOAD_BYTES, genesis_hash, read_frame
from gputally.storage.wal import Buried, Entry, Log, LogBroken, LogFull
from gputally.storage.wal_clean import say_clean

MIB = 1024 * 1024
SMALLEST = 8 * MIB
"""The least that a configuration may say. Other tests take one MiB, which is full sooner."""
HOST = "gpu-01"
MINUTE_NS = 60 * 10**9
Open = Callable[[], Log]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.fixture
def log(folder: Path) -> Iterator[Log]:
    opened = Log.open(folder, HOST, MIB)
    yield opened
    opened.close()


def entries(count: int, payload_bytes: int = 200) -> list[Entry]:
    """Random payloads: what compresses away would never fill a log."""
    return [Entry(10, os.urandom(payload_bytes)) for _ in range(count)]


def fill(log: Log, payload_bytes: int = 1_500) -> None:
    with pytest.raises(LogFull):
        while True:
            log.append(entries(8, payload_bytes), None)


def read_all(log: Log, first_seq: int = 1) -> list[bytes]:
    return log.read(first_seq, 10**6, 10**9)


def test_frames_come_back_in_order_with_the_payload_that_went_in(log: Log) -> None:
    written = entries(20)
    assert log.append(written[:5], None) == 5
    assert log.append(written[5:], None) == 20
    frames = [read_frame(raw) for raw in read_all(log)]
    assert [frame.seq for frame in frames] == list(range(1, 21))
    assert [Entry(frame.record_count, frame.payload()) for frame in frames] == written


def test_each_frame_holds_the_hash_of_the_one_before_it(log: Log) -> None:
    log.append(entries(3), None)
    log.append(entries(3), None)
    before = genesis_hash(HOST, log.epoch)
    for raw in read_all(log):
        frame = read_frame(raw)
        assert frame.previous_hash == before
        before = frame.hash
    assert log.head_hash(6) == before


def test_a_restart_goes_on_in_the_same_epoch_behind_the_newest_frame(folder: Path) -> None:
    first = Log.open(folder, HOST, MIB)
    first.append(entries(3), b"open windows")
    first.acknowledge(2, MINUTE_NS)
    epoch, stat, head = first.epoch, first.stat(), first.head_hash(3)
    first.close()
    again = Log.open(folder, HOST, MIB)
    assert (again.epoch, again.stat(), again.checkpoint()) == (epoch, stat, b"open windows")
    again.append(entries(1), None)
    assert read_frame(again.read(4, 1, MIB)[0]).previous_hash == head
    again.close()


def test_a_checkpoint_alone_is_written_and_moves_no_frame(log: Log) -> None:
    assert log.checkpoint() is None
    log.append(entries(2), b"one")
    assert log.append([], b"two") == 2
    assert log.append(entries(1), None) == 3
    assert log.checkpoint() == b"two"


def test_an_entry_that_is_too_large_leaves_neither_its_neighbours_nor_the_checkpoint(log: Log) -> None:
    log.append(entries(1), b"before")
    too_large = Entry(1, os.urandom(MAX_PAYLOAD_BYTES + 1))
    with pytest.raises(ValueError, match="too much for one frame"):
        log.append([*entries(1), too_large], b"after")
    assert (log.stat().last_seq, log.checkpoint()) == (1, b"before")


def test_reading_stops_at_either_limit_but_always_gives_the_first_frame(log: Log) -> None:
    log.append(entries(10, 1_000), None)
    sizes = [len(raw) for raw in read_all(log)]
    assert len(log.read(1, 4, MIB)) == 4
    assert len(log.read(1, 10, sum(sizes[:3]))) == 3
    assert len(log.read(1, 10, sum(sizes[:3]) - 1)) == 2
    assert len(log.read(1, 10, 0)) == 1
    assert log.read(11, 10, MIB) == []


def test_the_whole_file_is_reserved_from_the_start(folder: Path, log: Log) -> None:
    found = (folder / "data.mdb").stat()
    assert found.st_size == MIB
    assert found.st_blocks * 512 >= MIB


def test_the_depth_of_the_log_is_told_in_frames_records_and_bytes(log: Log) -> None:
    empty = log.stat()
    assert (empty.first_seq, empty.last_seq, empty.unacked_frames, empty.unacked_records) == (0, 0, 0, 0)
    log.append(entries(5), None)
    log.acknowledge(2, MINUTE_NS)
    stat = log.stat()
    assert (stat.first_seq, stat.last_seq, stat.acked_seq) == (1, 5, 2)
    assert (stat.unacked_frames, stat.unacked_records) == (3, 30)
    assert empty.bytes < stat.bytes < stat.cap_bytes == MIB


def test_an_acknowledgement_that_comes_twice_or_late_changes_nothing(log: Log) -> None:
    log.append(entries(5), None)
    log.acknowledge(4, MINUTE_NS)
    before = log.stat()
    log.acknowledge(4, 2 * MINUTE_NS)
    log.acknowledge(1, 3 * MINUTE_NS)
    assert log.stat() == before


def test_an_acknowledgement_of_what_was_never_written_is_refused(log: Log) -> None:
    log.append(entries(2), None)
    with pytest.raises(ValueError, match="2 is the newest"):
        log.acknowledge(3, MINUTE_NS)
    assert log.stat().acked_seq == 0


def test_trimming_takes_what_is_acknowledged_and_past_its_retention_and_nothing_else(log: Log) -> None:
    log.append(entries(9), None)
    log.acknowledge(3, 10 * MINUTE_NS)
    log.acknowledge(6, 20 * MINUTE_NS)
    assert log.trim(10 * MINUTE_NS) == 0
    assert log.trim(10 * MINUTE_NS + 1) == 3
    assert (log.stat().first_seq, log.stat().acked_seq) == (4, 6)
    assert log.trim(10**18) == 3
    assert log.stat().first_seq == 7
    assert [read_frame(raw).seq for raw in read_all(log, 7)] == [7, 8, 9]


def test_trimming_tens_of_thousands_of_frames_works_in_steps(folder: Path) -> None:
    log = Log.open(folder, HOST, 16 * MIB)
    log.append([Entry(1, b"x" * 40)] * 12_345, None)
    log.acknowledge(12_000, MINUTE_NS)
    assert log.trim(2 * MINUTE_NS) == 12_000
    assert log.stat().first_seq == 12_001
    assert log.trim(2 * MINUTE_NS) == 0
    log.close()


def test_the_hash_of_a_place_is_known_from_the_last_trimmed_frame_to_the_newest(log: Log) -> None:
    log.append(entries(6), None)
    hashes = {seq: log.head_hash(seq) for seq in range(7)}
    assert hashes[0] == genesis_hash(HOST, log.epoch)
    assert len(set(hashes.values())) == 7
    log.acknowledge(4, MINUTE_NS)
    log.trim(2 * MINUTE_NS)
    assert {seq: log.head_hash(seq) for seq in range(4, 7)} == {seq: hashes[seq] for seq in range(4, 7)}
    assert [log.head_hash(seq) for seq in (0, 1, 3, 7)] == [None] * 4


def test_a_full_log_refuses_and_keeps_everything_it_had(log: Log) -> None:
    fill(log)
    stat, newest = log.stat(), read_all(log)[-1]
    with pytest.raises(LogFull, match=r"log\.cap_mib"):
        log.append(entries(20, 1_500), b"not written")
    assert (log.stat(), read_all(log)[-1], log.checkpoint()) == (stat, newest, None)
    assert stat.bytes <= 0.75 * MIB


def test_a_full_log_still_takes_a_checkpoint_that_says_what_was_refused(log: Log) -> None:
    fill(log)
    for size in (100, 5_000, 100):
        log.append([], bytes(size))
        assert log.checkpoint() == bytes(size)


@pytest.mark.parametrize("payload_bytes", [200, 1_500, 100_000])
def test_the_smallest_log_that_is_full_and_worn_still_takes_large_checkpoints(folder: Path, payload_bytes: int) -> None:
    """400 processes on each of 8 GPUs make some 300 KiB. The free pages no longer lie in a row."""
    log = Log.open(folder, HOST, SMALLEST)
    for round_number in range(4):
        with pytest.raises(LogFull):
            while True:
                log.append(entries(max(200_000 // payload_bytes, 1), payload_bytes), os.urandom(100_000))
        for size in (300_000, 500_000, 150_000, 500_000):
            checkpoint = os.urandom(size)
            log.append([], checkpoint)
            assert log.checkpoint() == checkpoint
        stat = log.stat()
        for seq in range(stat.acked_seq + 1, stat.acked_seq + 1 + stat.unacked_frames // 3, 40):
            log.acknowledge(seq, (round_number * 100_000 + seq) * MINUTE_NS)
    log.close()


def test_a_checkpoint_too_large_for_the_log_is_refused_and_the_log_goes_on(log: Log) -> None:
    log.append(entries(3), b"before")
    with pytest.raises(LogFull, match=r"2000000 bytes of open windows.*raise log\.cap_mib"):
        log.append([], os.urandom(2_000_000))
    assert (log.stat().last_seq, log.checkpoint()) == (3, b"before")
    assert log.append(entries(1), b"after") == 4
    assert len(read_all(log)) == 4 and log.checkpoint() == b"after"


def test_a_shorter_checkpoint_leaves_nothing_of_a_longer_one(log: Log) -> None:
    for size in (0, 1, 2_000, 2_001, 90_000, 4_000, 0):
        checkpoint = os.urandom(size)
        log.append([], checkpoint)
        assert log.checkpoint() == checkpoint


LOOKER = """
import lmdb, sys
with lmdb.open(sys.argv[1], readonly=True, max_dbs=5, lock=True).begin():
    print("looking", flush=True)
    sys.stdin.read()
"""


def test_a_log_that_somebody_looks_at_for_hours_fills_up_but_trimming_is_no_crash(folder: Path) -> None:
    """Whoever looks keeps every page of that moment. It ends with the one who looks, even by SIGKILL."""
    log = Log.open(folder, HOST, SMALLEST)
    log.append(entries(200, 1_500), None)
    looker = subprocess.Popen(
        [sys.executable, "-c", LOOKER, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert looker.stdout is not None and looker.stdout.readline() == "looking\n"
    for _ in range(50):
        log.append([], os.urandom(50_000))
    with pytest.raises(LogFull):
        for seq in range(1, 200):
            log.acknowledge(seq, seq)
    acked = log.stat().acked_seq
    assert (acked > 0, log.trim(MINUTE_NS)) == (True, 0)
    looker.kill()
    looker.communicate()
    assert log.trim(MINUTE_NS) == acked
    log.acknowledge(200, MINUTE_NS)
    log.append([], os.urandom(400_000))
    log.close()


def test_an_acknowledged_frame_that_is_gone_is_damage_and_is_named(folder: Path, log: Log) -> None:
    """It must not keep the search for room going round for ever."""
    fill(log)
    log.acknowledge(20, MINUTE_NS)
    log.close()
    with lmdb.open(str(folder), max_dbs=5) as env, env.begin(write=True) as txn:
        assert txn.delete((1).to_bytes(8, "big"), db=env.open_db(b"frames", txn=txn, create=False))
    say_clean(folder)  # a disk that forgets does not touch the file's times
    again = Log.open(folder, HOST, MIB)
    with pytest.raises(LogBroken, match="frame 1 should be held") as caught:
        again.append(entries(20, 1_500), None)
    assert caught.value.seq == 1
    again.close()


def test_at_the_cap_the_oldest_acknowledged_frames_give_way_before_their_time(log: Log) -> None:
    fill(log)
    last = log.stat().last_seq
    log.acknowledge(last // 2, MINUTE_NS)
    log.append(entries(8, 1_500), None)
    stat = log.stat()
    assert 1 < stat.first_seq <= last // 2 + 1
    assert stat.last_seq == last + 8
    assert len(read_all(log, stat.first_seq)) == stat.last_seq - stat.first_seq + 1


def test_a_log_that_was_full_to_the_brim_again_and_again_can_always_be_emptied(log: Log) -> None:
    for round_number in range(1, 12):
        fill(log, payload_bytes=1_700 if round_number % 2 else 30_000)
        last = log.stat().last_seq
        log.acknowledge(last, round_number * MINUTE_NS)
        assert log.trim(round_number * MINUTE_NS + 1) > 0
        assert log.append(entries(1, MAX_PAYLOAD_BYTES), b"checkpoint") == last + 1
        log.acknowledge(last + 1, round_number * MINUTE_NS)


def test_a_ledger_restored_from_a_backup_is_filled_up_from_what_is_still_held(log: Log) -> None:
    log.append(entries(9), None)
    log.acknowledge(3, 10 * MINUTE_NS)
    log.acknowledge(8, 20 * MINUTE_NS)
    log.take_back(5)
    assert (log.stat().acked_seq, log.stat().unacked_records) == (5, 40)
    assert log.trim(10**18) == 5
    assert [read_frame(raw).seq for raw in read_all(log, 6)] == [6, 7, 8, 9]


def test_going_back_to_what_was_trimmed_or_never_acknowledged_is_refused(log: Log) -> None:
    log.append(entries(9), None)
    log.acknowledge(5, MINUTE_NS)
    log.trim(2 * MINUTE_NS)
    for seq in (4, 6):
        with pytest.raises(ValueError, match="cannot go back"):
            log.take_back(seq)
    assert log.stat().acked_seq == 5


def test_a_frame_that_the_collector_refused_counts_as_acknowledged_and_is_counted(log: Log) -> None:
    log.append(entries(4), None)
    assert log.bury(2, "no batch", MINUTE_NS) is Buried.KEPT
    assert log.bury(2, "no batch", MINUTE_NS) is Buried.KNOWN
    log.take_back(1)
    assert log.bury(2, "no batch", MINUTE_NS) is Buried.AGAIN
    stat = log.stat()
    assert (stat.acked_seq, stat.unacked_records, stat.rejected_frames) == (2, 20, 1)


def test_a_refusal_first_heard_on_a_later_stream_is_still_counted(log: Log) -> None:
    log.append(entries(4), None)
    log.acknowledge(4, MINUTE_NS)
    log.bury(2, "no batch", 2 * MINUTE_NS)
    assert (log.stat().acked_seq, log.stat().rejected_frames) == (4, 1)


def test_refused_frames_never_take_the_log(log: Log) -> None:
    for seq in range(1, 200):
        log.append(entries(1, 3_000), None)
        log.bury(seq, "no batch", seq * MINUTE_NS)
    log.trim(10**18)
    assert log.stat().rejected_frames == 199
    assert log.stat().bytes < MIB // 8


def test_a_frame_whose_bytes_have_changed_is_named_and_never_sent(folder: Path, log: Log) -> None:
    payloads = entries(5, 1_000)
    log.append(payloads, None)
    log.close()
    file = folder / "data.mdb"
    raw = file.read_bytes()
    place = raw.index(payloads[2].payload) + 500
    file.write_bytes(raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :])
    say_clean(folder)  # a disk that forgets does not touch the file's times
    again = Log.open(folder, HOST, MIB)
    assert len(again.read(1, 2, MIB)) == 2
    for first_seq in (1, 3):
        with pytest.raises(LogBroken, match="frame 3") as caught:
            again.read(first_seq, 5, MIB)
        assert caught.value.seq == 3
    again.close()


def test_reading_a_frame_that_was_trimmed_is_an_error_not_a_silent_jump(log: Log) -> None:
    log.append(entries(5), None)
    log.acknowledge(3, MINUTE_NS)
    log.trim(2 * MINUTE_NS)
    with pytest.raises(LogBroken) as caught:
        log.read(2, 5, MIB)
    assert caught.value.seq == 2


def test_other_threads_read_whole_frames_while_one_writes_and_trims(tmp_path: Path) -> None:
    # With room: a reader that a busy machine stops inside its transaction keeps every page that is freed meanwhile.
    log = Log.open(tmp_path / "roomy", HOST, 16 * MIB)

    def write() -> None:
        for step in range(150):
            last = log.append(entries(4, 900), os.urandom(2_000))
            log.acknowledge(last - 3, step * MINUTE_NS)
            log.trim((step - 50) * MINUTE_NS)  # long enough that a slow reader still finds what it was told of

    def look() -> int:
        seen = 0
        while not writing.done():
            stat = log.stat()
            assert stat.last_seq - stat.acked_seq == stat.unacked_frames
            for seq, raw in enumerate(log.read(stat.acked_seq + 1, 3, MIB), stat.acked_seq + 1):
                assert read_frame(raw).hash == log.head_hash(seq)
                seen += 1
        return seen

    with ThreadPoolExecutor(3) as threads:
        writing = threads.submit(write)
        looking = [threads.submit(look) for _ in range(2)]
        writing.result()
        assert all(future.result() > 0 for future in looking)
    log.close()


def test_a_closed_log_says_so(log: Log) -> None:
    log.close()
    with pytest.raises(LogBroken):
        log.stat()
    with pytest.raises(LogBroken):
        log.append([], b"")


steps = st.one_of(
    st.tuples(st.just("append"), st.integers(0, 6)),
    st.tuples(st.just("acknowledge"), st.integers(0, 8)),
    st.tuples(st.just("trim"), st.integers(0, 40)),
    st.tuples(st.just("take_back"), st.integers(0, 8)),
    st.tuples(st.just("reopen"), st.just(0)),
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(steps, max_size=25))
def test_whatever_is_done_in_whatever_order_nothing_unacknowledged_is_ever_gone(
    tmp_path_factory: pytest.TempPathFactory, todo: list[tuple[str, int]]
) -> None:
    folder = tmp_path_factory.mktemp("any") / "log"
    log = Log.open(folder, HOST, MIB)
    written: list[bytes] = []
    acked, now_ns = 0, 0
    for what, number in todo:
        now_ns += MINUTE_NS
        if what == "append":
            new = entries(number)
            log.append(new, b"checkpoint")
            written += [entry.payload for entry in new]
        elif what == "acknowledge":
            acked = max(acked, min(number, len(written)))
            log.acknowledge(acked, now_ns)
        elif what == "trim":
            log.trim(number * MINUTE_NS)
        elif what == "take_back" and 0 < log.stat().first_seq <= number + 1 <= acked:
            log.take_back(number)
            acked = number
        elif what == "reopen":
            log.close()
            log = Log.open(folder, HOST, MIB)
        waiting = [read_frame(raw).payload() for raw in read_all(log, acked + 1)]
        assert waiting == written[acked:]
        assert (log.stat().last_seq, log.stat().acked_seq) == (len(written), acked)
    log.close()


def test_whatever_is_asked_of_a_log_that_could_not_be_opened_again_says_that_it_is_broken(
    folder: Path, log: Log
) -> None:
    log.append(entries(2), None)
    (folder / "data.mdb").rename(folder / "away")
    with pytest.raises(LogBroken):
        log.reopen()
    for ask in (log.stat, log.checkpoint, lambda: log.trim(1), lambda: log._settle(1), lambda: log.acknowledge(1, 1)):
        with pytest.raises(LogBroken):
            ask()
    (folder / "away").rename(folder / "data.mdb")
    log.reopen()
    assert log.stat().last_seq == 2


def test_what_is_said_of_an_epoch_that_has_ended_changes_nothing_in_the_next(log: Log) -> None:
    log.append(entries(20), None)
    old = log.epoch
    log.begin_epoch("damage")
    log.append(entries(3), None)
    log.acknowledge(30, MINUTE_NS, old)
    log.acknowledge(11, MINUTE_NS, old)
    assert log.bury(2, "no batch", MINUTE_NS, old) is Buried.KNOWN
    assert (log.stat().acked_seq, log.stat().rejected_frames, log.trim(10**18)) == (0, 0, 0)
    log.acknowledge(5, MINUTE_NS, log.epoch)
    log.take_back(30, old)
    log.take_back(2, old)
    assert log.stat().acked_seq == 5


def test_a_log_is_closed_only_when_those_who_are_reading_it_have_let_go(log: Log) -> None:
    """An open transaction would outlive its map."""
    log.append(entries(3), None)
    closing = threading.Thread(target=log.close)
    with log._reading() as txn:
        closing.start()
        closing.join(0.2)
        assert closing.is_alive()
        assert log._tables.state(txn).head.seq == 3
    closing.join()
    with pytest.raises(LogBroken):
        log.stat()


def dead_letters(log: Log) -> int:
    with log._reading() as txn:
        entries_held: int = txn.stat(log._tables._db["dead"])["entries"]
        return entries_held


def test_a_refused_frame_that_a_full_log_cannot_keep_aside_is_not_said_to_be_kept(log: Log) -> None:
    with pytest.raises(LogFull):
        while True:
            log.append(entries(1, 900), None)
    assert log.bury(1, "no batch", MINUTE_NS) is Buried.NOT_KEPT
    assert (dead_letters(log), log.stat().rejected_frames, log.stat().acked_seq) == (0, 1, 1)


def test_what_is_said_to_be_kept_aside_is_what_is_there(log: Log) -> None:
    log.append(entries(100, 3_000), None)
    kept = [log.bury(seq, "no batch", MINUTE_NS) for seq in range(1, 101)]
    assert 0 < kept.count(Buried.KEPT) == dead_letters(log) < 100
    assert kept.count(Buried.NOT_KEPT) == 100 - dead_letters(log)
