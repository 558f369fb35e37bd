"""Following a chain: Skips and tombstones hold their places, and nothing else may be absent."""

import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from gputally.storage.chain import BrokenChain, Chain
from gputally.storage.frame import Codec, Frame, genesis_hash, make_frame, make_skip
from gputally.storage.ledger_copy import SKIP, TOMBSTONE, LedgerCopy, Row
from gputally.storage.ledger_folder import LOG_FILE, LedgerError
from gputally.storage.ledger_rules import StreamId
from gputally.storage.skip import Skip

STREAM = StreamId("gpu-01", b"e" * 16)
GENESIS = genesis_hash(STREAM.host_id, STREAM.epoch)


def frames(count: int) -> list[Frame]:
    made: list[Frame] = []
    for seq in range(1, count + 1):
        made.append(make_frame(STREAM.epoch, seq, made[-1].hash if made else GENESIS, 0, b"payload %d" % seq))
    return made


def row(frame: Frame) -> Row:
    return Row(frame.seq, frame.seq, SKIP if frame.skip else 0, frame.hash, frame.to_bytes())


def skip(these: list[Frame]) -> Frame:
    told = Skip(these[0].seq, these[-1].hash, "buffer_full")
    return make_skip(STREAM.epoch, these[-1].seq, these[0].previous_hash, told)


def follow(*rows: Row) -> Chain:
    chain = Chain(STREAM, 0, GENESIS)
    for each in rows:
        chain.follow(each)
    return chain


def test_a_skip_stands_for_its_range_and_the_chain_goes_on_behind_it() -> None:
    whole = frames(9)
    chain = follow(*map(row, [*whole[:3], skip(whole[3:6]), *whole[6:]]))
    assert (chain.seq, chain.frames, chain.skips, chain.skipped_frames) == (9, 6, 1, 3)
    assert chain.hash == whole[-1].hash


def test_a_skip_that_begins_before_what_is_there_says_less_than_the_ledger_knows() -> None:
    whole = frames(9)
    chain = follow(*map(row, [*whole[:5], skip(whole[3:7]), *whole[7:]]))
    assert (chain.seq, chain.frames, chain.skipped_frames) == (9, 7, 2)


def test_frames_before_a_skip_are_missed_where_it_does_not_reach_them() -> None:
    whole = frames(9)
    with pytest.raises(BrokenChain, match="frame 4 is missing"):
        follow(*map(row, [*whole[:3], skip(whole[4:6])]))


def test_a_skip_that_does_not_follow_breaks_the_chain() -> None:
    whole = frames(9)
    stranger = replace(skip(whole[3:6]), previous_hash=bytes(32))
    with pytest.raises(BrokenChain, match="frame 6 does not follow the frame 3"):
        follow(*map(row, [*whole[:3], stranger]))


def test_the_frame_behind_a_skip_must_name_the_last_it_stands_for() -> None:
    whole = frames(9)
    false_skip = make_skip(STREAM.epoch, 6, whole[2].hash, Skip(4, bytes(32), "damage"))
    with pytest.raises(BrokenChain, match="frame 7 does not follow the frame 6"):
        follow(*map(row, [*whole[:3], false_skip, *whole[6:]]))


def test_a_tombstone_stands_for_its_frame() -> None:
    whole = frames(5)
    rows = [row(frame) for frame in whole]
    rows[2] = Row(3, 3, TOMBSTONE, whole[2].hash, b"poison")
    chain = follow(*rows)
    assert (chain.frames, chain.tombstones, chain.hash) == (4, 1, whole[-1].hash)


@pytest.mark.parametrize("kind", [SKIP, 7])
def test_a_frame_stored_as_what_it_is_not_is_found(kind: int) -> None:
    (first,) = frames(1)
    if kind == SKIP:
        with pytest.raises(BrokenChain, match="stored as what it is not"):
            follow(replace(row(first), kind=kind))
    else:
        assert first.codec is not Codec.SKIP
        with pytest.raises(BrokenChain, match="stored as what it is not"):
            follow(replace(row(skip([first])), kind=0))


def test_a_ledger_of_format_2_and_one_from_before_skips_are_read_alike(tmp_path: Path) -> None:
    whole = frames(6)
    db = sqlite3.connect(tmp_path / LOG_FILE)
    db.execute("CREATE TABLE stream (id INTEGER PRIMARY KEY, host_id TEXT, epoch BLOB, committed_seq, head_hash)")
    db.execute("INSERT INTO stream VALUES (1, ?, ?, 6, ?)", (STREAM.host_id, STREAM.epoch, whole[-1].hash))
    db.execute("CREATE TABLE log (id INTEGER PRIMARY KEY, stream, seq, kind, hash, received_ns, body)")
    for each in map(row, [skip(whole[:3]), *whole[3:]]):
        db.execute(
            "INSERT INTO log (stream, seq, kind, hash, received_ns, body) VALUES (1, ?, ?, ?, 1, ?)",
            (each.seq, each.kind, each.hash, each.body),
        )
    kind = "kind"
    for column in ("tombstone", "kind"):
        db.execute(f"ALTER TABLE log RENAME COLUMN {kind} TO {column}")
        db.commit()
        kind = column
        with LedgerCopy(tmp_path) as ledger:
            (stream,) = ledger.streams()
            cursor, rows = ledger.rows(stream, 0)
            chain = follow(*rows)
            assert (chain.seq, chain.hash) == (cursor.committed_seq, cursor.head_hash)
            assert (chain.frames, chain.skipped_frames, ledger.rows_gone()) == (3, 3, 0)
    db.close()


@pytest.mark.parametrize("content", [None, b"", b"x" * 5_000])
def test_what_is_no_ledger_is_called_so(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / LOG_FILE).write_bytes(content)
    with pytest.raises(LedgerError, match=str(tmp_path)):
        LedgerCopy(tmp_path)
