import errno
import sqlite3
import threading
from collections.abc import Iterator
from itertools import pairwise, product
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gputally.storage.frame import genesis_hash, make_frame, make_skip
from gputally.storage.ledger import Ledger
from gputally.storage.ledger_folder import (
    LOG_FILE,
    FolderLock,
    LedgerBroken,
    LedgerInUse,
    LedgerUnusable,
    explain_os_error,
    prepare_folder,
)
from gputally.storage.ledger_reader import LedgerReader
from gputally.storage.ledger_rules import Cursor, EntryKind, Offer, Stored, StreamId, Verdict, decide
from gputally.storage.skip import Skip

STREAM = StreamId("gpu-01", b"e" * 16)
OTHER = StreamId("gpu-02", b"f" * 16)


def chain(stream: StreamId, count: int, salt: bytes = b"") -> list[Offer]:
    """Frames 1 to ``count`` that follow each other; what they say is of no matter here."""
    offers: list[Offer] = []
    previous = genesis_hash(stream.host_id, stream.epoch)
    for seq in range(1, count + 1):
        frame = make_frame(stream.epoch, seq, previous, 0, salt)
        offers.append(Offer(stream, seq, previous, frame.hash, frame.to_bytes()))
        previous = offers[-1].hash
    return offers


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = Ledger(tmp_path)
    yield opened
    opened.close()


def verdicts(ledger: Ledger, *offers: Offer) -> list[Verdict]:
    return [ruling.verdict for ruling in ledger.commit(offers, now_ns=1)]


def bodies(folder: Path) -> list[bytes]:
    with LedgerReader(folder) as reader:
        return [entry.body for entry in reader.read(0, 10_000, 2**30)]


def test_frames_are_kept_exactly_as_received_in_the_order_of_their_commit(ledger: Ledger, tmp_path: Path) -> None:
    first, second = chain(STREAM, 2)
    (other,) = chain(OTHER, 1)
    assert verdicts(ledger, first, other, second) == [Verdict.COMMITTED] * 3
    assert bodies(tmp_path) == [first.body, other.body, second.body]
    assert ledger.cursor(STREAM) == Cursor(2, second.hash)
    assert ledger.cursor(OTHER) == Cursor(1, other.hash)


def test_a_stream_never_seen_stands_at_its_genesis(ledger: Ledger) -> None:
    assert ledger.cursor(STREAM) == Cursor(0, genesis_hash("gpu-01", STREAM.epoch))


def test_a_replay_is_acknowledged_again_and_stored_once(ledger: Ledger, tmp_path: Path) -> None:
    offers = chain(STREAM, 3)
    ledger.commit(offers, 1)
    rulings = ledger.commit(offers, 2)
    assert [ruling.verdict for ruling in rulings] == [Verdict.REPLAY] * 3
    assert {ruling.through_seq for ruling in rulings} == {3}
    assert len(bodies(tmp_path)) == 3


def test_replays_are_counted_and_are_no_news_of_the_stream(ledger: Ledger, tmp_path: Path) -> None:
    offers = chain(STREAM, 4)
    ledger.commit(offers, 1)
    ledger.commit(offers[:3], 2)
    ledger.commit(offers[2:], 3)
    with LedgerReader(tmp_path) as reader:
        (state,) = reader.streams(["gpu-01"])
    assert (state.replays, state.committed_seq, state.last_received_ns) == (5, 4, 1)


def test_a_frame_ahead_of_its_turn_is_never_stored(ledger: Ledger, tmp_path: Path) -> None:
    first, _, third = chain(STREAM, 3)
    assert verdicts(ledger, first, third) == [Verdict.COMMITTED, Verdict.OUT_OF_ORDER]
    assert bodies(tmp_path) == [first.body]


@pytest.mark.parametrize("seq", [1, 2, 3])
def test_another_history_is_a_fork_wherever_it_differs(ledger: Ledger, tmp_path: Path, seq: int) -> None:
    ledger.commit(chain(STREAM, 2), 1)
    forged = chain(STREAM, 3, salt=b"other")[seq - 1]
    assert verdicts(ledger, forged) == [Verdict.FORK]
    assert len(bodies(tmp_path)) == 2


def test_a_tombstone_takes_the_place_of_a_frame_and_says_why_for_ever(ledger: Ledger, tmp_path: Path) -> None:
    first, second, third = chain(STREAM, 3)
    poison = Offer(STREAM, 2, second.previous_hash, second.hash, second.body, rejected="not a batch")
    ledger.commit([first, poison, third], 1)
    assert bodies(tmp_path) == [first.body, b"not a batch", third.body]
    assert ledger.tombstones(STREAM, 1) == [(2, "not a batch")]
    assert ledger.tombstones(STREAM, 3) == []
    (again,) = ledger.commit([second], 2)
    assert (again.verdict, again.rejected) == (Verdict.REPLAY, "not a batch")


def skip_of(offers: list[Offer], first: int, last: int, reason: str = "buffer_full") -> Offer:
    """What a host says that has these frames no more."""
    before, told = offers[first - 1].previous_hash, Skip(first, offers[last - 1].hash, reason)
    assert before is not None
    frame = make_skip(STREAM.epoch, last, before, told)
    return Offer(STREAM, last, before, frame.hash, frame.to_bytes(), skip=told)


def test_a_skip_takes_the_place_of_a_range_and_the_chain_goes_on_behind_it(ledger: Ledger, tmp_path: Path) -> None:
    offers = chain(STREAM, 9)
    skip = skip_of(offers, 3, 7)
    assert verdicts(ledger, *offers[:2], skip, *offers[7:]) == [Verdict.COMMITTED] * 5
    assert ledger.cursor(STREAM) == Cursor(9, offers[8].hash)
    with LedgerReader(tmp_path) as reader:
        assert [(entry.seq, entry.kind) for entry in reader.read(0, 9, 2**20)][2] == (7, EntryKind.SKIP)
        assert reader.streams(["gpu-01"])[0].skipped == 5


def test_a_skip_that_comes_again_and_a_frame_of_its_range_that_comes_late_are_replays(ledger: Ledger) -> None:
    offers = chain(STREAM, 9)
    skip = skip_of(offers, 3, 7)
    ledger.commit([*offers[:2], skip], 1)
    assert verdicts(ledger, skip, *offers[2:7]) == [Verdict.REPLAY] * 6
    assert verdicts(ledger, skip_of(offers, 1, 7), skip_of(offers, 4, 6)) == [Verdict.REPLAY] * 2
    assert ledger.cursor(STREAM) == Cursor(7, offers[6].hash)


def test_a_skip_over_what_the_ledger_partly_has_moves_the_cursor_and_counts_what_is_missing(
    ledger: Ledger, tmp_path: Path
) -> None:
    offers = chain(STREAM, 9)
    ledger.commit(offers[:5], 1)
    assert verdicts(ledger, skip_of(offers, 3, 7), *offers[7:]) == [Verdict.COMMITTED] * 3
    with LedgerReader(tmp_path) as reader:
        assert reader.streams(["gpu-01"])[0].skipped == 2
        assert [entry.seq for entry in reader.read(0, 99, 2**20)] == [1, 2, 3, 4, 5, 7, 8, 9]


def test_a_skip_of_another_history_is_a_fork(ledger: Ledger) -> None:
    offers, other = chain(STREAM, 9), chain(STREAM, 9, salt=b"other")
    ledger.commit(offers[:4], 1)
    assert verdicts(ledger, skip_of(other, 5, 7), skip_of(other, 2, 4)) == [Verdict.FORK] * 2
    assert verdicts(ledger, skip_of(offers, 7, 9)) == [Verdict.OUT_OF_ORDER]


@pytest.mark.parametrize("first", [1, 3, 5])
def test_a_skip_of_another_history_is_a_fork_also_where_it_begins_before_the_cursor(
    ledger: Ledger, tmp_path: Path, first: int
) -> None:
    offers, other = chain(STREAM, 9), chain(OTHER, 9, salt=b"other")
    ledger.commit(offers[:5], 1)
    assert verdicts(ledger, skip_of(other, first, 7), *other[7:8]) == [Verdict.FORK, Verdict.OUT_OF_ORDER]
    assert ledger.cursor(STREAM) == Cursor(5, offers[4].hash)
    assert verdicts(ledger, skip_of(offers, first, 7)) == [Verdict.COMMITTED]


def test_a_skip_that_begins_inside_another_follows_from_nothing_and_is_a_fork(ledger: Ledger) -> None:
    offers = chain(STREAM, 9)
    ledger.commit([*offers[:2], skip_of(offers, 3, 7)], 1)
    assert verdicts(ledger, skip_of(offers, 5, 9)) == [Verdict.FORK]
    assert verdicts(ledger, skip_of(offers, 3, 9)) == [Verdict.COMMITTED]


def test_what_is_committed_is_there_in_the_next_life(tmp_path: Path) -> None:
    offers = chain(STREAM, 5)
    first = Ledger(tmp_path)
    first.commit(offers[:3], 1)
    first.close()
    second = Ledger(tmp_path)
    assert second.ledger_id == first.ledger_id
    assert second.cursor(STREAM) == Cursor(3, offers[2].hash)
    assert verdicts(second, *offers[2:]) == [Verdict.REPLAY, Verdict.COMMITTED, Verdict.COMMITTED]
    second.close()


def test_the_log_refuses_to_be_changed_or_cut(ledger: Ledger, tmp_path: Path) -> None:
    ledger.commit(chain(STREAM, 1), 1)
    meddler = sqlite3.connect(tmp_path / LOG_FILE)
    for statement in ("UPDATE log SET body = x'00'", "DELETE FROM log"):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            meddler.execute(statement)
    meddler.close()


def test_a_failed_commit_leaves_nothing_behind_and_the_next_one_succeeds(ledger: Ledger, tmp_path: Path) -> None:
    offers = chain(STREAM, 2)
    blocker = sqlite3.connect(tmp_path / LOG_FILE)
    blocker.execute("CREATE TRIGGER full BEFORE INSERT ON log WHEN NEW.seq = 2 BEGIN SELECT RAISE (ABORT, 'x'); END")
    with pytest.raises(LedgerBroken):
        ledger.commit(offers, 1)
    assert ledger.cursor(STREAM).committed_seq == 0
    blocker.execute("DROP TRIGGER full")
    blocker.close()
    ledger.reopen()
    assert verdicts(ledger, *offers) == [Verdict.COMMITTED] * 2


def test_a_read_is_bounded_in_entries_and_bytes(ledger: Ledger, tmp_path: Path) -> None:
    ledger.commit(chain(STREAM, 20), 1)
    with LedgerReader(tmp_path) as reader:
        assert [entry.log_id for entry in reader.read(5, most=3, most_bytes=2**30)] == [6, 7, 8]
        assert len(reader.read(0, most=20, most_bytes=100)) < 5
        assert reader.read(20, 10, 10) == []
        assert reader.last_log_id() == 20


def test_a_reader_goes_on_while_another_thread_commits(ledger: Ledger, tmp_path: Path) -> None:
    offers = chain(STREAM, 300)
    seen: list[int] = []

    def follow() -> None:
        with LedgerReader(tmp_path) as reader:
            while len(seen) < 300:
                seen.extend(entry.seq for entry in reader.read(len(seen), 50, 2**20))

    follower = threading.Thread(target=follow)
    follower.start()
    for offer in offers:
        ledger.commit([offer], 1)
    follower.join(20)
    assert seen == list(range(1, 301))


def test_two_collectors_on_one_folder_are_refused(tmp_path: Path) -> None:
    lock = FolderLock(tmp_path)
    with pytest.raises(LedgerInUse, match=rf"{tmp_path} is in use by another collector \(process \d+\)"):
        FolderLock(tmp_path)
    lock.release()
    FolderLock(tmp_path).release()


def test_a_file_where_the_folder_should_be_is_told_as_such(tmp_path: Path) -> None:
    (tmp_path / "ledger").write_text("")
    with pytest.raises(LedgerUnusable, match="is not a folder"):
        prepare_folder(tmp_path / "ledger")


def test_a_full_disk_is_told_as_such_and_loses_nothing_that_was_committed(ledger: Ledger) -> None:
    offers = chain(STREAM, 400)
    ledger.commit(offers[:10], 1)
    ledger._db.execute("PRAGMA max_page_count = 1")  # rounded up to what there is: not one page more
    with pytest.raises(LedgerBroken, match="no space left"):
        ledger.commit(offers[10:], 2)
    ledger.reopen()
    assert ledger.cursor(STREAM).committed_seq == 10
    assert set(verdicts(ledger, *offers[10:])) == {Verdict.COMMITTED}


def test_errors_of_the_disk_are_sorted_by_their_cure(tmp_path: Path) -> None:
    assert isinstance(explain_os_error(tmp_path, OSError(errno.ENOSPC, "")), LedgerBroken)
    assert isinstance(explain_os_error(tmp_path, OSError(errno.EIO, "")), LedgerBroken)
    assert isinstance(explain_os_error(tmp_path, OSError(errno.EROFS, "read-only")), LedgerUnusable)


def test_a_damaged_log_is_told_with_its_cure(tmp_path: Path) -> None:
    (tmp_path / LOG_FILE).write_bytes(b"this is no database" * 1000)
    with pytest.raises(LedgerBroken, match=r"damaged.*backup"):
        Ledger(tmp_path)


@pytest.mark.parametrize("forged", ["body = zeroblob(length(body))", "digest = x'00'", "count = 'x'", "body = NULL"])
def test_a_damaged_batch_is_told_and_nothing_of_it_is_read(tmp_path: Path, forged: str) -> None:
    ledger = Ledger(tmp_path)
    ledger.commit(chain(STREAM, 3), 1)
    ledger.commit(chain(STREAM, 6), 2)
    ledger.close()
    db = sqlite3.connect(tmp_path / LOG_FILE)
    db.execute("DROP TRIGGER log_is_never_changed")
    db.execute("PRAGMA ignore_check_constraints = 1")
    if "NULL" in forged:
        db.execute("PRAGMA writable_schema = 1")
        db.execute("UPDATE sqlite_master SET sql = replace(sql, 'body BLOB NOT NULL', 'body BLOB')")
        db.commit()
        db.close()
        db = sqlite3.connect(tmp_path / LOG_FILE)
    db.execute(f"UPDATE log SET {forged} WHERE id = 6")
    db.commit()
    db.close()
    with LedgerReader(tmp_path) as reader:
        assert [entry.seq for entry in reader.read(0, 3, 2**20)] == [1, 2, 3]
        with pytest.raises(LedgerBroken, match=r"ends with entry 6.*backup"):
            reader.read(3, 9, 2**20)


def test_a_log_of_a_newer_format_is_left_alone(tmp_path: Path) -> None:
    Ledger(tmp_path).close()
    newer = sqlite3.connect(tmp_path / LOG_FILE)
    newer.execute("UPDATE meta SET value = '4' WHERE key = 'format'")
    newer.commit()
    newer.close()
    with pytest.raises(LedgerUnusable, match="has format 4"):
        Ledger(tmp_path)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(says=st.lists(st.integers(1, 12), max_size=80), cuts=st.lists(st.integers(0, 80), max_size=6))
def test_whatever_is_said_in_whatever_order_each_frame_is_there_once(
    tmp_path_factory: pytest.TempPathFactory, says: list[int], cuts: list[int]
) -> None:
    """Doubled, reordered, in any grouping: the log holds a prefix of the chain, each frame once."""
    folder = tmp_path_factory.mktemp("ledger")
    ledger, offers = Ledger(folder), chain(STREAM, 12)
    edges = sorted({0, len(says), *(cut for cut in cuts if cut < len(says))})
    for start, end in pairwise(edges):
        ledger.commit([offers[seq - 1] for seq in says[start:end]], 1)
    expected = 0
    for seq in says:
        expected += seq == expected + 1
    assert bodies(folder) == [offer.body for offer in offers[:expected]]
    assert ledger.cursor(STREAM).committed_seq == expected
    ledger.close()


HEAD, OWN, THERE, CHAIN = (letter * 32 for letter in (b"h", b"o", b"t", b"c"))
STORED = {
    "inside a skip": None,
    "the same": Stored(OWN, OWN),
    "a skip to the same frame": Stored(THERE, OWN),
    "the same skip": Stored(OWN, CHAIN),
    "the last frame of this skip": Stored(CHAIN, CHAIN),
    "another": Stored(THERE, THERE),
}


def expected(cursor: int, first: int, last: int, follows: bool, there: str) -> Verdict:
    """The table in the module's docstring, told again in other words."""
    if last > cursor:
        if first > cursor + 1:
            return Verdict.OUT_OF_ORDER
        return Verdict.COMMITTED if follows else Verdict.FORK
    if there == "inside a skip":
        return Verdict.REPLAY
    frame_matches = there in ("the same", "a skip to the same frame")
    skip_matches = there in ("the same skip", "the last frame of this skip")
    if first == last:
        return Verdict.REPLAY if frame_matches or there == "the same skip" else Verdict.FORK
    return Verdict.REPLAY if skip_matches or there == "the same" else Verdict.FORK


@pytest.mark.parametrize("follows", [True, False])
@pytest.mark.parametrize("there", STORED)
def test_the_decision_is_the_table(there: str, follows: bool) -> None:
    for cursor, first, last in product(range(5), range(1, 8), range(1, 8)):
        if first > last:
            continue
        skip = Skip(first, CHAIN, "buffer_full") if first < last else None
        offer = Offer(STREAM, last, HEAD if follows else b"x" * 32, OWN, b"", skip=skip)
        places = dict.fromkeys(range(last), Stored(OWN, HEAD)) | {last: STORED[there]}
        verdict = decide(Cursor(cursor, HEAD), offer, places.get)
        assert verdict is expected(cursor, first, last, follows, there), (cursor, first, last)
