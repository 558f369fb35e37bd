"""The thread that writes the ledger: if it dies, the collector ends and says why, instead of looking well."""

import sys
import threading
from pathlib import Path

import grpc
import pytest

from gputally.collector.writer import LedgerWriter
from gputally.model.interval import Interval
from gputally.simulator.stream import SimulatedHost
from gputally.simulator.uplink import StreamEnded
from gputally.storage.ledger import Ledger
from gputally.storage.ledger_folder import LedgerError
from gputally.storage.ledger_rules import Offer, Ruling, StreamId

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
