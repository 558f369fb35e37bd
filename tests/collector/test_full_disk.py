"""A disk that fills up while hosts stream, and is freed again, under a collector that runs all the while."""

import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gputally.model.interval import Interval
from gputally.simulator.stream import SimulatedHost
from gputally.simulator.uplink import Conversation, StreamEnded
from gputally.storage.frame import Frame
from gputally.storage.ledger_reader import LedgerReader

from .running import JUNE_NS, RunningCollector, write_config

MIB = 1024 * 1024
DISK_MIB = 128
DEADLINE_S = 120.0
FRAMES = 400


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "ledger"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m", "tmpfs", folder], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("may not mount: needs CAP_SYS_ADMIN")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


class Sender:
    """A host that says again what was not acknowledged, until all is."""

    def __init__(self, address: str, host: SimulatedHost, frames: list[Frame]) -> None:
        self.acked = 0
        self.all_acked = threading.Event()
        self.ended = threading.Event()
        self._address, self._host, self._frames = address, host, frames
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while self.acked < len(self._frames) and not self.ended.is_set():
            try:
                self._converse()
            except (StreamEnded, AssertionError):
                time.sleep(0.1)
        self.all_acked.set()

    def _converse(self) -> None:
        with Conversation(self._address) as said:
            welcome = said.hello(self._host.host_id, self._host.epoch, 1, len(self._frames))
            assert welcome.committed_seq >= self.acked, "what was acknowledged is gone"
            self.acked = welcome.committed_seq
            for frame in self._frames[self.acked :]:
                said.send(frame.to_bytes())
                said.hear_ack(frame.seq)
                self.acked = frame.seq
                if self.ended.is_set():
                    return

    def stop(self) -> None:
        self.ended.set()
        self._thread.join(30)


def host_with_frames() -> tuple[SimulatedHost, list[Frame]]:
    host = SimulatedHost("host-01", records_per_frame=64)
    for gpu in range(8):
        span = Interval(JUNE_NS, JUNE_NS + FRAMES * 8 * 60 * 10**9)
        host.hold(f"nvidia:GPU-{gpu}", "NVIDIA H100 80GB HBM3", f"org-{gpu}", span)
    return host, list(host.frames())


def until(what: str, holds: Callable[[], bool]) -> None:
    end = time.monotonic() + DEADLINE_S
    while not holds():
        assert time.monotonic() < end, f"not within {DEADLINE_S:g} s: {what}"
        time.sleep(0.05)


def fill(folder: Path) -> None:
    with (folder / "ballast").open("ab", buffering=0) as ballast:
        try:
            while True:
                ballast.write(b"." * 4096)
        except OSError:
            return


def is_felt(collector: RunningCollector, disk: Path) -> bool:
    fill(disk)  # again and again: a checkpoint of SQLite's or DuckDB's may have made room
    return collector.ask("/readyz").status_code == 503


def test_a_disk_that_fills_up_during_ingest_costs_nothing_and_ingest_goes_on_when_it_is_freed(
    tmp_path: Path, disk: Path
) -> None:
    host, frames = host_with_frames()
    with RunningCollector(write_config(tmp_path)) as collector:
        pid = collector.pid
        sender = Sender(collector.intake, host, frames)
        try:
            until("some frames are acknowledged", lambda: sender.acked > 20)
            until("the disk is felt", lambda: is_felt(collector, disk))
            said = collector.ask("/readyz").json()
            assert said["ready"] is False and "no space left" in said["trouble"], said
            acked = sender.acked
            assert acked < len(frames), "the disk was never full: this test proves nothing"
            with LedgerReader(disk) as reader:
                (state,) = reader.streams(["host-01"])
            assert state.committed_seq >= acked
            (disk / "ballast").unlink()
            assert sender.all_acked.wait(DEADLINE_S), f"{sender.acked} of {len(frames)}"
        finally:
            sender.stop()
        until("it says that it is ready", lambda: collector.ask("/readyz").status_code == 200)
        assert collector.pid == pid, "it was not started again"
        told = collector.usage()
        assert told["grand_total"]["ns"] == str(sum(use.span.length_ns for use in host.uses))
