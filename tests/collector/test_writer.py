"""The thread that writes the ledger: if it dies, the collector ends and says why, instead of looking well."""

import queue
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from random import Random

import grpc
import pytest

from gputally.collector.examine import examine
from gputally.collector.writer import LedgerWriter
from gputally.model.interval import Interval
from gputally.simulator.stream import SimulatedHost
from gputally.simulator.uplink import StreamEnded
from gputally.storage.frame import genesis_hash, make_frame, make_skip
from gputally.storage.ledger import Ledger
from gputally.storage.ledger_folder import LedgerError
from gputally.storage.ledger_reader import LedgerReader
from gputally.storage.ledger_rules import LARGEST_SEQ, Offer, Ruling, StreamId, Verdict
from gputally.storage.skip import Skip

from .running import HOUR_NS, JUNE_NS, RunningCollector, write_config

DYING = """
from gputally.storage.ledger import Ledger
def commit(*_):
    raise RuntimeError("what nobody foresaw")
Ledger.commit = commit
from gputally.cli.main import main
main()
"""


def test_a_writer_that_dies_takes_the_collector_with_it_and_says_so_once(tmp_path: Path) -> None:
    host = SimulatedHost("gpu-01")
    host.hold("nvidia:GPU-1", "NVIDIA L40", "A", Interval(JUNE_NS, JUNE_NS + HOUR_NS))
    with RunningCollector(write_config(tmp_path), (sys.executable, "-c", DYING)) as collector:
        with pytest.raises(StreamEnded) as ended:
            collector.deliver(host)
        assert ended.value.code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED), ended.value
        assert collector.wait() == 70
    (line,) = [line for line in collector.log.read_text().splitlines() if "CRITICAL" in line]
    assert "the ledger's writer died" in line and "what nobody foresaw" in line


class Doomed(Ledger):
    def commit(self, *_: object) -> list[Ruling]:
        raise MemoryError


def test_a_dead_writer_is_trouble_for_the_readiness_and_does_not_hold_up_the_stop(tmp_path: Path) -> None:
    ledger, died = Doomed(tmp_path), threading.Event()
    writer = LedgerWriter(ledger, lambda answer: answer(), died.set)
    writer.start(lambda: None)
    said: list[Ruling | LedgerError] = []
    writer.offer(Offer(StreamId("gpu-01", b"e" * 16), 1, None, b"h" * 32, b"frame"), said.append)
    assert died.wait(10)
    assert "MemoryError" in writer.trouble and not said
    writer.stop()
    ledger.close()


def frames(count: int) -> list[Offer]:
    """Frames that follow each other, each larger than a page of SQLite."""
    stream = StreamId("gpu-01", b"e" * 16)
    offers: list[Offer] = []
    previous = genesis_hash("gpu-01", stream.epoch)
    for seq in range(1, count + 1):
        frame = make_frame(stream.epoch, seq, previous, 0, Random(seq).randbytes(10_000))
        offers.append(Offer(stream, seq, previous, frame.hash, frame.to_bytes()))
        previous = frame.hash
    return offers


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = Ledger(tmp_path)
    yield opened
    opened.close()


def test_a_full_disk_is_trouble_until_a_frame_is_stored_again(ledger: Ledger) -> None:
    first, second, third = frames(3)
    answers: queue.Queue[Ruling | LedgerError] = queue.Queue()
    writer = LedgerWriter(ledger, lambda answer: answer(), lambda: None)
    grown: list[None] = []
    writer.start(lambda: grown.append(None))

    def become_of(offer: Offer) -> Ruling | LedgerError:
        writer.offer(offer, answers.put)
        return answers.get(timeout=10)

    def verdict(offer: Offer) -> Verdict:
        ruling = become_of(offer)
        assert isinstance(ruling, Ruling), ruling
        return ruling.verdict

    try:
        assert verdict(first) is Verdict.COMMITTED
        ledger._db.execute("PRAGMA max_page_count = 1")  # of this connection; the writer takes another after an error
        assert isinstance(become_of(second), LedgerError)
        assert "no space left" in writer.trouble
        assert (verdict(third), verdict(first)) == (Verdict.OUT_OF_ORDER, Verdict.REPLAY)
        assert "no space left" in writer.trouble and len(grown) == 1
        assert verdict(second) is Verdict.COMMITTED
        assert writer.trouble == "" and len(grown) == 2
    finally:
        writer.stop()


def test_a_thousand_replays_that_wait_are_counted_with_one_commit(ledger: Ledger, tmp_path: Path) -> None:
    told = frames(2)
    ledger.commit(told, 1)
    writer = LedgerWriter(ledger, lambda answer: answer(), lambda: None)
    said: list[Ruling | LedgerError] = []
    for offer in told * 500:
        writer.offer(offer, said.append)
    writer.start(lambda: None)
    writer.stop()
    assert (len(said), writer.statistics.replays, writer.statistics.commits) == (1000, 1000, 1)
    with LedgerReader(tmp_path) as reader:
        (state,) = reader.streams(["gpu-01"])
    assert (state.replays, state.committed_seq) == (1000, 2)


def test_a_host_that_counts_to_the_end_of_all_numbers_does_not_stop_the_ledger_for_the_others(ledger: Ledger) -> None:
    stream = StreamId("gpu-02", b"f" * 16)
    genesis = genesis_hash(stream.host_id, stream.epoch)
    skip = make_skip(stream.epoch, LARGEST_SEQ, genesis, Skip(1, b"x" * 32, "buffer_full"))
    writer = LedgerWriter(ledger, lambda answer: answer(), lambda: None)
    said: list[Ruling | LedgerError] = []
    to_the_end = examine(skip.to_bytes(), stream, 1)
    for offer in (to_the_end, examine(b"garbage", stream, to_the_end.seq + 1), *frames(1)):
        writer.offer(offer, said.append)
    writer.start(lambda: None)
    writer.stop()
    verdicts = [ruling.verdict for ruling in said if isinstance(ruling, Ruling)]
    assert (verdicts, writer.trouble) == ([Verdict.COMMITTED, Verdict.FORK, Verdict.COMMITTED], "")
