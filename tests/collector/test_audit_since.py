"""What was taken out of a ledger so that all that is left is whole: an epoch, or the end of one, with its traces."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gputally.cli.main import main
from gputally.collector.audit import audit, count_missing_rows
from gputally.collector.audit_report import CutEpoch, StreamReport
from gputally.collector.audit_since import BadResult, Change, Stood, changes, read_result
from gputally.collector.examine import examine
from gputally.model.predecessor import Predecessor
from gputally.model.usage import Batch
from gputally.plugins.ed25519 import check
from gputally.simulator.stream import chain
from gputally.storage.ledger import Ledger
from gputally.storage.ledger_copy import LedgerCopy
from gputally.storage.ledger_rules import StreamId

from ..signed_host import HOST, SignedHost, forging, into_ledger


@pytest.fixture
def host(tmp_path: Path) -> Iterator[SignedHost]:
    made = SignedHost(tmp_path)
    yield made
    made.log.close()


class TwoEpochs:
    """Ten frames of an epoch, all of which the collector has, two that it has not, and the epoch after it."""

    def __init__(self, folder: Path, host: SignedHost) -> None:
        self.first = host.log.epoch
        host.write(10)
        into_ledger(folder, host)
        host.log.acknowledge(10, 1)
        host.write(2)
        host.log.begin_epoch("fork")
        self.second = host.log.epoch
        host.write(3)
        self.folder = into_ledger(folder, host)


@pytest.fixture
def two(tmp_path: Path, host: SignedHost) -> TwoEpochs:
    return TwoEpochs(tmp_path / "ledger", host)


def reports(ledger: Path) -> list[StreamReport]:
    return list(audit(ledger, None, {}, check))


def remove(ledger: Path, epoch: bytes, from_seq: int = 1) -> None:
    """As somebody does it who knows the ledger: cursor put back, rows renumbered, no hole anywhere."""
    with LedgerCopy(ledger) as copy:
        found = copy.find(HOST, epoch)
        assert found is not None
        before = copy.row(found[0], from_seq - 1)
    with forging(ledger) as db:
        row = found[0].row
        db.execute("DELETE FROM log WHERE stream = ? AND seq >= ?", (row, from_seq))
        if before is None:
            db.execute("DELETE FROM stream WHERE id = ?", (row,))
        else:
            db.execute(
                "UPDATE stream SET committed_seq = ?, head_hash = ? WHERE id = ?", (before.seq, before.hash, row)
            )
        for new, (old,) in enumerate(db.execute("SELECT id FROM log ORDER BY id").fetchall(), 1):
            db.execute("UPDATE log SET id = ? WHERE id = ?", (new, old))


def test_frames_that_go_on_in_the_next_epoch_are_not_missed(two: TwoEpochs) -> None:
    """Two frames were never acknowledged: the ledger has them in the second epoch only, and that is whole."""
    first, second = reports(two.folder)
    assert (first.last_seq, first.broken, first.cut) == (10, None, ())
    assert (second.epoch, second.broken, second.cut) == (two.second, None, ())


def say_next(ledger: Path, told: Predecessor, epoch: bytes = b"n" * 16) -> None:
    """The epoch that continues another, as a host says it."""
    writing = Ledger(ledger)
    frames = chain(HOST, epoch, [Batch(HOST, "boot", predecessor=told), Batch(HOST, "boot")])
    writing.commit([examine(frame.to_bytes(), StreamId(HOST, epoch), frame.seq) for frame in frames], 1)
    writing.close()


@pytest.fixture
def one(tmp_path: Path, host: SignedHost) -> Path:
    host.write(10)
    return into_ledger(tmp_path / "ledger", host)


def test_an_epoch_that_was_removed_and_its_rows_renumbered_is_missed_by_the_next(one: Path, host: SignedHost) -> None:
    say_next(one, Predecessor(host.log.epoch, 12, "damage", carried_from_seq=11))
    assert [report.cut for report in reports(one)] == [(), ()]
    remove(one, host.log.epoch)
    assert count_missing_rows(one) == 0
    (second,) = reports(one)
    assert (second.broken, second.cut) == (None, (CutEpoch(host.log.epoch, 1, 10, is_there=False),))
    done = verify(one)
    assert done.exit_code == 1
    assert (
        f"  CUT        the ledger lacks frames 1 to 10 of the epoch before, {host.log.epoch.hex()}, "
        "nothing of which is there" in done.stdout.splitlines()
    )
    told = json.loads(verify(one, "--json").stdout)["streams"][0]["cut"]
    assert told == [{"epoch": host.log.epoch.hex(), "first_seq": 1, "last_seq": 10, "is_there": False}]


def test_an_ended_epoch_whose_tail_was_cut_is_missed_by_the_next(one: Path, host: SignedHost) -> None:
    say_next(one, Predecessor(host.log.epoch, 12, "damage", carried_from_seq=11))
    remove(one, host.log.epoch, from_seq=8)
    first, second = reports(one)
    assert (first.broken, second.cut) == (None, (CutEpoch(host.log.epoch, 8, 10, is_there=True),))


def test_an_epoch_that_came_to_nothing_may_be_nowhere_but_the_one_before_it_must_not(
    one: Path, host: SignedHost
) -> None:
    """Its first frame, which names the one before it, was never acknowledged, and so goes on in the third."""
    frames = [
        Batch(HOST, "boot", predecessor=Predecessor(b"m" * 16, 4, "fork", carried_from_seq=1)),
        Batch(HOST, "boot", predecessor=Predecessor(host.log.epoch, 10, "fork", carried_from_seq=11)),
    ]
    writing = Ledger(one)
    offers = [examine(f.to_bytes(), StreamId(HOST, b"n" * 16), f.seq) for f in chain(HOST, b"n" * 16, frames)]
    writing.commit(offers, 1)
    writing.close()
    assert [report.cut for report in reports(one)] == [(), ()]
    remove(one, host.log.epoch, from_seq=10)
    assert reports(one)[1].cut == (CutEpoch(host.log.epoch, 10, 10, is_there=True),)


@pytest.mark.parametrize("epoch", [b"", b"m" * 15, b"m" * 300])
def test_an_epoch_without_a_name_that_can_be_is_not_missed(one: Path, epoch: bytes) -> None:
    say_next(one, Predecessor(epoch, 12, "damage", carried_from_seq=2**64 - 1))
    assert [report.cut for report in reports(one)] == [(), ()]


def test_a_host_that_does_not_say_where_its_epoch_ended_here_is_not_held_to_it(one: Path, host: SignedHost) -> None:
    say_next(one, Predecessor(host.log.epoch, 12, "damage"))
    remove(one, host.log.epoch)
    assert [report.cut for report in reports(one)] == [()]


def verify(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["verify", *map(str, arguments)])


def earlier(tmp_path: Path, ledger: Path) -> Path:
    path = tmp_path / "earlier.json"
    path.write_text(verify(ledger, "--json").stdout)
    return path


def test_what_has_only_grown_since_is_whole(tmp_path: Path, two: TwoEpochs, host: SignedHost) -> None:
    before = earlier(tmp_path, two.folder)
    host.write(3)
    into_ledger(two.folder, host)
    done = verify(two.folder, "--since", before)
    assert done.exit_code == 0, done.stdout
    assert json.loads(verify(two.folder, "--since", before, "--json").stdout)["changes_since"] == []


def test_a_cut_tail_whose_cursor_was_put_back_is_found_by_an_earlier_result(tmp_path: Path, two: TwoEpochs) -> None:
    before = earlier(tmp_path, two.folder)
    remove(two.folder, two.second, from_seq=4)
    assert verify(two.folder).exit_code == 0, "the chain alone cannot tell"
    done = verify(two.folder, "--since", before)
    assert done.exit_code == 1
    last = json.loads(before.read_text())["streams"][1]["last_seq"]
    assert f"{HOST}  epoch {two.second.hex()}: frames 4 to {last} were there, and are gone" in done.stdout.splitlines()


def test_the_newest_epoch_that_was_removed_is_found_by_an_earlier_result(tmp_path: Path, two: TwoEpochs) -> None:
    before = earlier(tmp_path, two.folder)
    stood = read_result(before)
    remove(two.folder, two.second)
    assert verify(two.folder).exit_code == 0, "nothing that is left speaks of it"
    (change,) = changes(two.folder, HOST, stood)
    assert (change.epoch, change.last_seq) == (two.second, stood[1].last_seq)
    assert change.what.startswith("the epoch was there through frame")
    assert list(changes(two.folder, "gpu-02", stood)) == []
    assert json.loads(verify(two.folder, "--since", before, "--json").stdout)["changes_since"][0]["host_id"] == HOST


def test_a_host_that_is_gone_altogether_is_found_by_an_earlier_result(tmp_path: Path, two: TwoEpochs) -> None:
    before = earlier(tmp_path, two.folder)
    remove(two.folder, two.first)
    remove(two.folder, two.second)
    done = verify(two.folder, "--since", before, "--host", HOST)
    assert done.exit_code == 1 and done.stdout.count("and is gone") == 2


def test_another_frame_in_the_place_where_a_stream_stood_is_found(two: TwoEpochs) -> None:
    stood = [Stood(HOST, two.first, 10, b"x" * 32)]
    assert list(changes(two.folder, None, stood)) == [
        Change(HOST, two.first, 10, "frame 10, or one before it, is another than it was")
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is no result of"),
        ("[]", "is no result of"),
        ("{}", "it has no 'streams'"),
        ('{"streams": [{"host_id": "a", "epoch": "00", "last_seq": 1}]}', "it has no 'head_hash'"),
        ('{"streams": [{"host_id": "a", "epoch": "00", "last_seq": 1, "head_hash": "00"}]}', "00 is no hash"),
        ('{"streams": [{"host_id": "a", "epoch": 5, "last_seq": 1, "head_hash": "00"}]}', "is no result of"),
        ('{"streams": [{"host_id": "a", "epoch": "00", "last_seq": -1, "head_hash": "00"}]}', "as they must be"),
        ("[" * 100_000, "is no result of"),
    ],
)
def test_a_file_that_is_no_earlier_result_is_said_in_a_line(
    tmp_path: Path, two: TwoEpochs, text: str, words: str
) -> None:
    path = tmp_path / "earlier.json"
    path.write_text(text)
    done = verify(two.folder, "--since", path)
    assert done.exit_code == 66 and words in done.stderr and done.stderr.count("\n") == 1


def test_an_earlier_result_that_is_not_there_is_named(tmp_path: Path, two: TwoEpochs) -> None:
    with pytest.raises(BadResult, match=r"nowhere cannot be read: No such file"):
        read_result(tmp_path / "nowhere")
