"""What every implementation of LedgerLog and LedgerReading does. Another database: another line in OPENED."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest

from gputally.storage.frame import genesis_hash, make_frame, make_skip
from gputally.storage.ledger import Ledger
from gputally.storage.ledger_folder import FolderLock, LedgerInUse
from gputally.storage.ledger_port import Entry, LedgerLease, LedgerLog, LedgerReading
from gputally.storage.ledger_reader import LedgerReader
from gputally.storage.ledger_rules import Cursor, EntryKind, Offer, StreamId, Verdict
from gputally.storage.skip import Skip

Place = Path
STREAMS = tuple(StreamId(f"gpu-{number:02d}", bytes([number]) * 16) for number in range(5))


@dataclass(frozen=True, slots=True)
class Opened:
    """How one kind of ledger is had: three ways into the same place."""

    write: Callable[[Place], LedgerLog]
    read: Callable[[Place], LedgerReading]
    lease: Callable[[Place], LedgerLease]


OPENED = {"sqlite": Opened(Ledger, LedgerReader, FolderLock)}


@pytest.fixture(params=OPENED)
def opened(request: pytest.FixtureRequest) -> Opened:
    return OPENED[request.param]


@pytest.fixture
def ledger(opened: Opened, tmp_path: Path) -> Iterator[LedgerLog]:
    with closing(opened.write(tmp_path)) as made:
        yield made


def chain(stream: StreamId, count: int, salt: int = 0) -> list[Offer]:
    offers: list[Offer] = []
    previous = genesis_hash(stream.host_id, stream.epoch)
    chance = Random(salt)
    for seq in range(1, count + 1):
        frame = make_frame(stream.epoch, seq, previous, 1, chance.randbytes(chance.choice((10, 3_000, 60_000))))
        offers.append(Offer(stream, seq, previous, frame.hash, frame.to_bytes()))
        previous = frame.hash
    return offers


def entries(opened: Opened, place: Path) -> list[Entry]:
    with closing(opened.read(place)) as reader:
        return reader.read(0, 100_000, 1 << 40)


def test_an_empty_ledger_has_a_name_and_nothing_else(opened: Opened, ledger: LedgerLog, tmp_path: Path) -> None:
    assert len(ledger.ledger_id) == 32
    with closing(opened.read(tmp_path)) as reader:
        assert (reader.last_log_id(), reader.read(0, 9, 9), reader.streams([STREAMS[0].host_id])) == (0, [], [])


def test_frames_of_many_streams_come_back_byte_for_byte_in_the_order_of_their_commit(
    opened: Opened, ledger: LedgerLog, tmp_path: Path
) -> None:
    chains = [chain(stream, 40, salt) for salt, stream in enumerate(STREAMS)]
    mixed = [offer for turn in zip(*chains, strict=True) for offer in turn]
    for at in range(0, len(mixed), 77):
        rulings = ledger.commit(mixed[at : at + 77], at)
        assert {ruling.verdict for ruling in rulings} == {Verdict.COMMITTED}
    found = entries(opened, tmp_path)
    assert [entry.log_id for entry in found] == list(range(1, 201))
    assert [(e.stream, e.seq, e.hash, e.body) for e in found] == [(o.stream, o.seq, o.hash, o.body) for o in mixed]
    assert [entry.received_ns for entry in found] == [at - at % 77 for at in range(200)]


@pytest.mark.parametrize("most", [1, 7, 63, 64, 65])
def test_reading_on_from_anywhere_leaves_nothing_out(
    opened: Opened, ledger: LedgerLog, tmp_path: Path, most: int
) -> None:
    ledger.commit(chain(STREAMS[0], 150), 1)
    with closing(opened.read(tmp_path)) as reader:
        seen: list[int] = []
        while found := reader.read(seen[-1] if seen else 0, most, 1 << 30):
            assert len(found) <= most
            seen += [entry.log_id for entry in found]
        assert seen == list(range(1, 151)) and reader.last_log_id() == 150
        assert len(reader.read(0, 100, 1)) == 1, "the first beyond the bytes ends it"


def test_a_replay_from_the_middle_of_old_commits_is_known_by_its_hash(ledger: LedgerLog) -> None:
    told = chain(STREAMS[0], 200)
    ledger.commit(told[:130], 1)
    ledger.commit(told[130:], 2)
    again = ledger.commit([told[seq] for seq in (0, 63, 64, 129, 130, 199)], 3)
    assert {(ruling.verdict, ruling.through_seq) for ruling in again} == {(Verdict.REPLAY, 200)}
    forged = chain(STREAMS[0], 70, salt=9)
    assert [ruling.verdict for ruling in ledger.commit([forged[3], forged[66]], 4)] == [Verdict.FORK] * 2


def test_a_replay_within_one_commit_is_known_too(ledger: LedgerLog) -> None:
    first, second = chain(STREAMS[0], 2)
    verdicts = [ruling.verdict for ruling in ledger.commit([first, first, second, first], 1)]
    assert verdicts == [Verdict.COMMITTED, Verdict.REPLAY, Verdict.COMMITTED, Verdict.REPLAY]


def test_where_a_stream_stood_before_an_entry_is_known_also_in_the_middle_of_a_commit(
    opened: Opened, ledger: LedgerLog, tmp_path: Path
) -> None:
    one, other = chain(STREAMS[0], 90), chain(STREAMS[1], 90)
    mixed = [offer for turn in zip(one, other, strict=True) for offer in turn]
    for at in range(0, 180, 37):
        ledger.commit(mixed[at : at + 37], 1)
    with closing(opened.read(tmp_path)) as reader:
        stood = [reader.held_through(STREAMS[0], log_id) for log_id in range(1, 182)]
        assert stood == [log_id // 2 for log_id in range(1, 182)]
        assert reader.held_through(STREAMS[2], 100) == 0


def test_tombstones_and_skips_keep_their_places(opened: Opened, ledger: LedgerLog, tmp_path: Path) -> None:
    stream, told = STREAMS[0], chain(STREAMS[0], 9)
    poison = Offer(stream, 2, told[1].previous_hash, told[1].hash, told[1].body, rejected="nicht zu lesen: \u00e4")
    before = told[3].previous_hash
    assert before is not None
    says = Skip(4, told[6].hash, "buffer_full")
    frame = make_skip(stream.epoch, 7, before, says)
    skip = Offer(stream, 7, before, frame.hash, frame.to_bytes(), skip=says)
    ledger.commit([told[0], poison, told[2], skip, *told[7:]], 1)
    kinds = [(entry.seq, entry.kind) for entry in entries(opened, tmp_path)]
    assert kinds[1:4] == [(2, EntryKind.TOMBSTONE), (3, EntryKind.FRAME), (7, EntryKind.SKIP)]
    assert ledger.tombstones(stream, 1) == [(2, poison.rejected)] and ledger.tombstones(stream, 3) == []
    again = ledger.commit([told[1], told[4], skip], 2)
    assert [(ruling.verdict, ruling.rejected) for ruling in again] == [
        (Verdict.REPLAY, poison.rejected),
        (Verdict.REPLAY, ""),
        (Verdict.REPLAY, ""),
    ]
    with closing(opened.read(tmp_path)) as reader:
        (state,) = reader.streams([stream.host_id])
    assert (state.committed_seq, state.tombstones, state.skipped, state.replays) == (9, 1, 4, 3)


def test_what_was_committed_is_there_after_a_reopening_and_in_the_next_life(
    opened: Opened, ledger: LedgerLog, tmp_path: Path
) -> None:
    told = chain(STREAMS[0], 3)
    ledger.commit(told[:1], 1)
    ledger.reopen()
    ledger.commit(told[1:2], 2)
    ledger.close()
    with closing(opened.write(tmp_path)) as next_life:
        assert next_life.ledger_id == ledger.ledger_id
        assert next_life.cursor(STREAMS[0]) == Cursor(2, told[1].hash)
        assert next_life.commit(told, 3)[-1].verdict is Verdict.COMMITTED
    assert [entry.body for entry in entries(opened, tmp_path)] == [offer.body for offer in told]


def test_only_one_at_a_time_has_the_lease(opened: Opened, tmp_path: Path) -> None:
    with ExitStack() as stack:
        first = opened.lease(tmp_path)
        stack.callback(first.release)
        with pytest.raises(LedgerInUse):
            opened.lease(tmp_path)
    opened.lease(tmp_path).release()
