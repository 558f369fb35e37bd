"""`gputally verify`: whatever somebody did to a ledger after its hosts wrote it is found, at its exact place."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
import zstandard

from gputally.collector.audit import Pins, audit, count_missing_rows
from gputally.collector.audit_report import Absence, StreamReport
from gputally.collector.examine import examine
from gputally.model.usage import Batch
from gputally.plugins.ed25519 import check
from gputally.plugins.signing_key import make_key_file, write_key_file
from gputally.proto.convert import decode_batch
from gputally.storage.frame import Frame, genesis_hash, make_frame, make_skip, read_frame
from gputally.storage.ledger import Ledger
from gputally.storage.ledger_batch import FIRST_DIGEST, digest_of
from gputally.storage.ledger_copy import LedgerCopy
from gputally.storage.ledger_folder import LOG_FILE, LedgerError
from gputally.storage.ledger_rules import Offer, StreamId, Verdict
from gputally.storage.skip import Lost, Skip

from ..signed_host import HOST, SignedHost, changed, forging, into_ledger, put, rewrite, tampering


@pytest.fixture
def host(tmp_path: Path) -> Iterator[SignedHost]:
    made = SignedHost(tmp_path)
    yield made
    made.log.close()


@pytest.fixture
def ledger(tmp_path: Path, host: SignedHost) -> Path:
    host.write(20)
    return into_ledger(tmp_path / "ledger", host)


def reports(ledger: Path, pins: Pins | None = None) -> list[StreamReport]:
    return list(audit(ledger, None, pins or {}, check))


def broken(ledger: Path, pins: Pins | None = None) -> tuple[int, str]:
    """The one broken place there is."""
    (found,) = [report.broken for report in reports(ledger, pins) if report.broken]
    assert found is not None
    return found.seq, found.what


def pinned(host: SignedHost) -> Pins:
    return {HOST: frozenset({host.file.own.public_key})}


def test_what_nobody_touched_is_whole_and_signed_but_for_its_tail(ledger: Path, host: SignedHost) -> None:
    (report,) = reports(ledger)
    assert report.broken is None
    assert (report.frames, report.last_seq, report.tombstones, report.skips) == (20, 20, 0, 0)
    assert (report.signed_through, report.unsigned_tail, report.checkpoints) == (18, 2, 6)
    assert report.key_id == host.file.own.key_id and not report.pinned


def test_a_key_that_is_pinned_is_told_apart_from_one_that_was_seen_first(ledger: Path, host: SignedHost) -> None:
    assert reports(ledger, pinned(host))[0].pinned


def test_any_changed_bit_is_found_with_the_frames_of_its_batch(tmp_path: Path, ledger: Path, host: SignedHost) -> None:
    """Of two batches of two hosts the second is damaged: each stream says which of its frames are in doubt."""
    other = SignedHost(tmp_path, "gpu-02")
    other.write(3)
    into_ledger(ledger, other)
    into_ledger(ledger, other)  # replays add nothing
    chance = Random(7)
    for _ in range(1_000):
        with tampering(ledger) as db:
            log_id, column, value = chance.choice(
                [
                    (row[0], name, value)
                    for row in db.execute("SELECT id, digest, body FROM log")
                    for name, value in zip(("digest", "body"), row[1:], strict=True)
                ]
            )
            flipped = bytearray(value)
            flipped[chance.randrange(len(value))] ^= 1 << chance.randrange(8)
            db.execute(f"UPDATE log SET {column} = ? WHERE id = ?", (bytes(flipped), log_id))
        found = {report.host_id: report.broken for report in reports(ledger)}
        hurt, last = (HOST, 20) if log_id == 20 else ("gpu-02", 3)
        place = found[hurt]
        assert place is not None and (place.seq, place.log_id) == (1, log_id)
        assert place.what.startswith(f"frames 1 to {last}, in batch {log_id} of the log: its bytes do not have")
        with tampering(ledger) as db:
            db.execute(f"UPDATE log SET {column} = ? WHERE id = ?", (value, log_id))
    other.log.close()
    assert [report.broken for report in reports(ledger)] == [None, None]


def test_a_changed_time_of_arrival_is_found(ledger: Path) -> None:
    with tampering(ledger) as db:
        db.execute("UPDATE log SET received_ns = received_ns + 1")
    assert broken(ledger)[1].endswith("its bytes do not have the digest that is stored with them")


@pytest.mark.parametrize("forged", ["UPDATE run SET batch = 7", "UPDATE run SET last_seq = -1", "DELETE FROM run"])
def test_an_index_that_does_not_lead_to_all_frames_is_found(ledger: Path, forged: str) -> None:
    with tampering(ledger) as db:
        db.execute(forged)
    assert reports(ledger)[0].broken is not None


def test_a_changed_frame_with_a_hash_that_fits_it_breaks_the_link_behind_it(ledger: Path, host: SignedHost) -> None:
    with forging(ledger) as db:
        put(db, changed(host.frames()[6], Batch(HOST, "boot", complete_through_ns=10**18)))
    assert broken(ledger) == (8, "frame 8 does not follow the frame 7 that is there")


def test_a_changed_frame_with_everything_behind_it_made_to_fit_is_not_what_was_signed(
    ledger: Path, host: SignedHost
) -> None:
    frames = host.frames()
    frames[6] = changed(frames[6], replace(decode_batch(frames[6].payload()), complete_through_ns=10**18))
    rewrite(ledger, frames)
    seq, what = broken(ledger)
    assert seq == 10 and what.startswith("frame 10 signs another frame 9 than is there: between 6 and 9")


def test_a_removed_frame_is_missing(ledger: Path) -> None:
    with forging(ledger) as db:
        db.execute("DELETE FROM log WHERE seq = 5")
    assert broken(ledger) == (5, "frames 5 to 20, in batch 20 of the log: the batch before it is not there")
    assert count_missing_rows(ledger) == 1


def test_a_stream_that_was_removed_as_a_whole_leaves_a_hole(tmp_path: Path, ledger: Path, host: SignedHost) -> None:
    other = SignedHost(tmp_path, "gpu-02")
    other.write(3)
    into_ledger(ledger, other)
    other.log.close()
    assert count_missing_rows(ledger) == 0
    with forging(ledger) as db:
        db.execute("DELETE FROM log WHERE stream = 1")
        db.execute("DELETE FROM stream WHERE id = 1")
    assert [report.host_id for report in reports(ledger)] == ["gpu-02"]
    assert count_missing_rows(ledger) == 20


def test_a_removed_tail_is_missed_by_the_stream(ledger: Path) -> None:
    with forging(ledger) as db:
        db.execute("DELETE FROM log WHERE seq > 15")
    assert broken(ledger) == (15, "the stream says that frame 20 is its newest; its frames end at 15")


def test_frames_that_changed_places_are_found(ledger: Path, host: SignedHost) -> None:
    frames = host.frames()
    with forging(ledger) as db:
        put(db, replace(frames[3], seq=5))
        put(db, replace(frames[4], seq=4))
    assert broken(ledger) == (4, "frame 4 does not follow the frame 3 that is there")


def test_bodies_that_changed_places_are_found(ledger: Path, host: SignedHost) -> None:
    frames = host.frames()
    with forging(ledger) as db:
        for place, frame in ((4, frames[4]), (5, frames[3])):
            db.execute("UPDATE log SET hash = ?, body = ? WHERE seq = ?", (frame.hash, frame.to_bytes(), place))
    assert broken(ledger) == (5, "frame 4 is missing")


def test_rows_that_changed_places_are_found(ledger: Path) -> None:
    with forging(ledger) as db:
        db.execute("UPDATE log SET id = 1000 WHERE seq = 4")
        db.execute("UPDATE log SET id = 4 WHERE seq = 5")
        db.execute("UPDATE log SET id = 5 WHERE seq = 4")
    assert broken(ledger) == (5, "frame 4 is missing")


def test_a_forged_signature_is_found(ledger: Path, host: SignedHost) -> None:
    frames = host.frames()
    batch = decode_batch(frames[9].payload())
    (one,) = batch.checkpoints
    rewrite(ledger, [*frames[:9], changed(frames[9], replace(batch, checkpoints=(replace(one, signature=b"x" * 64),)))])
    with forging(ledger) as db:
        db.execute("DELETE FROM log WHERE seq > 10")
    assert broken(ledger) == (10, f"its signature is not that of key {host.file.own.key_id.hex()}")


def test_a_signature_of_another_host_is_forged(tmp_path: Path, ledger: Path, host: SignedHost) -> None:
    """Two hosts with the same key are still two."""
    other = SignedHost(tmp_path, "gpu-02", key=host.file)
    other.write(20)
    foreign = decode_batch(other.frames()[9].payload()).checkpoints
    other.log.close()
    frames = host.frames()
    frames[9] = changed(frames[9], replace(decode_batch(frames[9].payload()), checkpoints=foreign))
    rewrite(ledger, frames)
    assert broken(ledger)[0] == 10


def resign(tmp_path: Path, host: SignedHost, ledger: Path, from_seq: int) -> SignedHost:
    """A forger with a key of his own signs all from ``from_seq`` on, over frames that he has changed."""
    folder = tmp_path / "forger"
    folder.mkdir()
    forger = SignedHost(folder, HOST)
    frames: list[Frame] = []
    previous = host.frames()[0].previous_hash
    for frame in host.frames():
        batch = decode_batch(frame.payload())
        if frame.seq >= from_seq:
            batch = replace(batch, complete_through_ns=10**18)
            if batch.keys or batch.checkpoints:
                batch = replace(batch, keys=forger.file.introductions)
            if batch.checkpoints:
                signed = forger.signing._checkpoint(frame.epoch, frame.seq - 1, previous)
                batch = replace(batch, checkpoints=(signed,))
        frames.append(make_frame(frame.epoch, frame.seq, previous, 0, changed(frame, batch).payload()))
        previous = frames[-1].hash
    rewrite(ledger, frames)
    forger.log.close()
    return forger


def test_a_key_that_was_exchanged_on_the_way_is_found(tmp_path: Path, ledger: Path, host: SignedHost) -> None:
    forger = resign(tmp_path, host, ledger, from_seq=8)
    mine, his = host.file.own.key_id.hex(), forger.file.own.key_id.hex()
    assert broken(ledger) == (10, f"key {his} calls itself the first, after {mine}")


def test_a_ledger_written_anew_from_the_first_frame_is_found_by_the_pinned_key(
    tmp_path: Path, ledger: Path, host: SignedHost
) -> None:
    forger = resign(tmp_path, host, ledger, from_seq=1)
    (unpinned,) = reports(ledger)
    assert unpinned.broken is None and unpinned.key_id == forger.file.own.key_id and not unpinned.pinned
    (report,) = reports(ledger, pinned(host))
    assert report.checkpoints == 0 and not report.pinned, "nothing that the host's own key has signed"


def test_a_rotated_key_is_introduced_by_the_one_before_and_taken_up_by_a_running_daemon(
    tmp_path: Path, host: SignedHost
) -> None:
    host.write(9)
    first, pins = host.file.own.key_id, pinned(host)
    host.rotate()
    host.write(9)
    ledger = into_ledger(tmp_path / "ledger", host)
    (report,) = reports(ledger, pins)
    assert report.broken is None and report.pinned and report.signed_through == 15
    assert report.key_id == host.file.own.key_id != first


def test_a_key_that_has_retired_signs_nothing_more(tmp_path: Path, host: SignedHost) -> None:
    old = host.file
    host.write(3)
    host.rotate()
    host.write(3)
    write_key_file(host.key_path, old, replace=True)
    host.write(3)
    seq, what = broken(into_ledger(tmp_path / "ledger", host))
    assert seq == 7 and what.startswith(f"signed by key {old.own.key_id.hex()}, whose place")


def test_after_a_lost_key_the_next_first_key_must_be_pinned(tmp_path: Path, host: SignedHost) -> None:
    host.write(6)
    host.file = make_key_file()
    write_key_file(host.key_path, host.file, replace=True)
    host.write(6)
    ledger = into_ledger(tmp_path / "ledger", host)
    assert "calls itself the first" in broken(ledger)[1]
    (report,) = reports(ledger, pinned(host))
    assert report.broken is None and report.pinned and report.signed_through == 9


def test_a_tombstone_keeps_its_place_and_the_chain_behind_it_is_signed(tmp_path: Path, host: SignedHost) -> None:
    host.write(12)
    frames = host.frames()
    stream = StreamId(HOST, host.log.epoch)
    folder = tmp_path / "ledger"
    folder.mkdir()
    ledger = Ledger(folder)
    ledger.commit(
        [
            Offer(stream, f.seq, f.previous_hash, f.hash, f.to_bytes(), "poison" if f.seq in (5, 9) else "")
            for f in frames
        ],
        1,
    )
    ledger.close()
    (report,) = reports(folder)
    assert report.broken is None
    assert (report.frames, report.tombstones, report.signed_through) == (10, 2, 9)


@pytest.mark.parametrize(
    "forged", ["body = 5", "body = CAST(x'c3' AS TEXT)", "digest = 7", "count = 'x'", "count = 0", "received_ns = 'x'"]
)
def test_a_row_with_what_no_collector_writes_is_told_and_not_stumbled_over(ledger: Path, forged: str) -> None:
    with tampering(ledger) as db:
        db.execute(f"UPDATE log SET {forged} WHERE id = 20")
    seq, what = broken(ledger)
    assert seq == 1 and what.startswith("frames 1 to 20, in batch 20 of the log: ")
    assert count_missing_rows(ledger) == 0


def test_a_kind_that_no_collector_knows_is_told(ledger: Path) -> None:
    with tampering(ledger) as db:
        count, body = db.execute("SELECT count, body FROM log").fetchone()
        raw = bytearray(zstandard.ZstdDecompressor().decompress(body))
        raw[8 * count] = 9  # the first of the kinds, behind the streams
        forged = zstandard.ZstdCompressor().compress(bytes(raw))
        db.execute("UPDATE log SET digest = ?, body = ?", (digest_of(FIRST_DIGEST, count, count, 1, forged), forged))
    assert broken(ledger)[1].endswith("there is no entry of kind 9")


@pytest.mark.parametrize("seed", range(20))
def test_a_damaged_file_is_told_and_never_stumbled_over(ledger: Path, host: SignedHost, seed: int) -> None:
    """Bits and whole pages, anywhere: what can still be read is judged, or the file is called damaged."""
    chance = Random(seed)
    raw = bytearray((ledger / LOG_FILE).read_bytes())
    for _ in range(chance.randrange(1, 30)):
        place = chance.randrange(len(raw))
        raw[place : place + chance.choice((1, 1, 4096))] = chance.randbytes(1)
    (ledger / LOG_FILE).write_bytes(raw)
    try:
        found, missing = reports(ledger, pinned(host)), count_missing_rows(ledger)
    except LedgerError as error:
        assert str(ledger) in str(error)
        return
    if not missing and [(report.epoch, report.broken) for report in found] == [(host.log.epoch, None)]:
        with LedgerCopy(ledger) as copy:
            (stream,) = copy.streams()
            bodies = [row.body for row in copy.rows(stream, 0)[1]]
        assert bodies == [frame.to_bytes() for frame in host.frames()], "called whole, and it is not"


def test_a_ledger_in_use_is_read_beside_its_collector(ledger: Path, host: SignedHost) -> None:
    writing = Ledger(ledger)
    host.write(3)
    (frame,) = [f for f in host.frames() if f.seq == 21]
    offer = Offer(StreamId(HOST, frame.epoch), 21, frame.previous_hash, frame.hash, frame.to_bytes())
    writing.commit([offer], 1)
    (report,) = reports(ledger)
    assert report.broken is None and report.last_seq == 21
    writing.close()


def test_nothing_is_left_beside_a_copy_that_was_read(tmp_path: Path, ledger: Path) -> None:
    before = sorted(path.name for path in ledger.iterdir())
    assert reports(ledger)[0].broken is None
    assert sorted(path.name for path in ledger.iterdir()) == before, "nothing may be left beside it"


def test_a_skip_that_the_collector_took_is_named_and_what_follows_it_is_signed(
    tmp_path: Path, host: SignedHost
) -> None:
    host.write(12)
    frames = host.frames()
    lost = Lost("boot", "nvidia:GPU-0", 0, 5)
    skip = make_skip(host.log.epoch, 7, frames[2].hash, Skip(4, frames[6].hash, "buffer_full", (lost,)))
    stream = StreamId(HOST, host.log.epoch)
    (tmp_path / "ledger").mkdir()
    ledger = Ledger(tmp_path / "ledger")
    told = [*frames[:3], skip, *frames[7:]]
    rulings = ledger.commit([examine(frame.to_bytes(), stream, frame.seq) for frame in told], 1)
    ledger.close()
    assert {ruling.verdict for ruling in rulings} == {Verdict.COMMITTED}
    (report,) = reports(tmp_path / "ledger", pinned(host))
    assert report.broken is None and report.absences == (Absence(4, 7, "skip", "buffer_full"),)
    assert (report.frames, report.skips, report.skipped_frames) == (8, 1, 4)
    assert (report.signed_through, report.pinned) == (9, True)


def test_frames_said_again_in_a_new_epoch_bring_checkpoints_of_the_old_one(tmp_path: Path, host: SignedHost) -> None:
    """As after a fork or damage: their payloads are sealed anew, and what they sign is another chain."""
    host.write(7)
    stream = StreamId(HOST, b"n" * 16)
    ledger = into_ledger(tmp_path / "ledger", host)
    previous = genesis_hash(HOST, stream.epoch)
    offers: list[Offer] = []
    for frame in host.frames()[3:]:
        again = make_frame(stream.epoch, len(offers) + 1, previous, 0, frame.payload())
        offers.append(Offer(stream, again.seq, previous, again.hash, again.to_bytes()))
        previous = again.hash
    writing = Ledger(ledger)
    writing.commit(offers, 1)
    writing.close()
    first, second = reports(ledger)
    assert (first.broken, second.broken) == (None, None)
    assert (second.checkpoints, second.unchecked, second.signed_through) == (0, 2, 0)


def test_a_log_that_was_begun_anew_is_signed_anew(tmp_path: Path, host: SignedHost) -> None:
    host.write(7)
    ledger = into_ledger(tmp_path / "ledger", host)
    host.write(4)
    host.log.begin_epoch("fork")
    host.write(7)
    into_ledger(ledger, host)
    host.rotate()
    host.write(4)
    into_ledger(ledger, host)
    first, second = reports(ledger, {HOST: frozenset({host.file.introductions[0].public_key})})
    assert (first.broken, second.broken) == (None, None)
    assert (first.signed_through, second.pinned) == (6, True)
    assert second.signed_through == second.last_seq - 1 and second.unchecked > 0


def test_a_frame_is_read_as_it_was_written(ledger: Path, host: SignedHost) -> None:
    """The forger's tools leave alone what they are not told to change: else these tests prove nothing."""
    rewrite(ledger, host.frames())
    (report,) = reports(ledger)
    assert report.broken is None and report.signed_through == 18
    with forging(ledger) as db:
        (body,) = db.execute("SELECT body FROM log WHERE seq = 7").fetchone()
    assert read_frame(body) == host.frames()[6]
