"""The collector killed with SIGKILL wherever it stands: nothing lost, nothing counted twice."""

import contextlib
import random
import shutil
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from gputally.model.interval import Interval
from gputally.simulator.stream import SimulatedHost
from gputally.simulator.uplink import Conversation, Delivery, StreamEnded, deliver
from gputally.storage.frame import Frame
from gputally.storage.ledger_folder import PROJECTION_FILE
from gputally.storage.ledger_reader import LedgerReader

from .running import HOUR_NS, JUNE_NS, RunningCollector, write_config

DAY = {"range_from": "2025-06-01T00:00:00Z", "range_to": "2025-06-02T00:00:00Z"}


def busy_host(name: str = "gpu-01", windows_ns: int = 10**10) -> SimulatedHost:
    """Two GPUs for half a day in windows of ten seconds: 8,640 records."""
    host = SimulatedHost(name)
    host.hold("nvidia:GPU-1", "NVIDIA L40", "A", Interval(JUNE_NS, JUNE_NS + 12 * HOUR_NS), windows_ns)
    host.hold("nvidia:GPU-2", "NVIDIA H100", "B", Interval(JUNE_NS, JUNE_NS + 12 * HOUR_NS), windows_ns)
    return host


def small_frames(host: SimulatedHost) -> list[Frame]:
    """The same in many small frames, so that there are many places to be killed at."""
    host.records_per_frame = 50
    return list(host.frames())


def check_exact(collector: RunningCollector) -> None:
    answer = collector.usage(**DAY)
    assert answer["grand_total"]["ns"] == str(24 * HOUR_NS)
    assert answer["totals_by_org"]["A"]["ns"] == str(12 * HOUR_NS)
    summary = collector.ask("/v1/conservation", **DAY).json()["summary"]
    assert (summary["records"], summary["holes"], summary["overlaps"], summary["exact"]) == (8_640, 0, 0, True)


def test_killed_between_commit_and_acknowledgement_nothing_is_lost_or_doubled(tmp_path: Path) -> None:
    host = busy_host()
    frames = small_frames(host)
    with RunningCollector(write_config(tmp_path)) as collector:
        with Conversation(collector.intake) as said, LedgerReader(tmp_path / "ledger") as reader:
            said.hello(host.host_id, host.epoch)
            for frame in frames[:40]:
                said.send(frame.to_bytes())
            while not reader.last_log_id():  # committed; no acknowledgement was ever heard
                time.sleep(0.001)
            collector.kill()
        collector.start()
        with Conversation(collector.intake) as said:
            welcome = said.hello(host.host_id, host.epoch)
        assert 1 <= welcome.committed_seq <= 40
        assert welcome.head_hash == frames[welcome.committed_seq - 1].hash
        deliver(collector.intake, host.host_id, host.epoch, frames)
        check_exact(collector)


def kill_while_streaming(collector: RunningCollector, host: SimulatedHost, frames: list[Frame], after_s: float) -> None:
    killer, heard = threading.Timer(after_s, collector.kill), Delivery()
    killer.start()
    with contextlib.suppress(StreamEnded):
        deliver(collector.intake, host.host_id, host.epoch, frames, delivery=heard)
    killer.join()
    collector.start()
    with Conversation(collector.intake) as said:
        # A host may have trimmed what was acknowledged: it must be there.
        assert said.hello(host.host_id, host.epoch).committed_seq >= heard.through_seq


def test_killed_again_and_again_while_streaming_nothing_is_lost_or_doubled(tmp_path: Path) -> None:
    host, chance = busy_host(), random.Random(7)
    frames = small_frames(host)
    with RunningCollector(write_config(tmp_path)) as collector:
        for _ in range(4):
            kill_while_streaming(collector, host, frames, chance.uniform(0.02, 0.25))
        deliver(collector.intake, host.host_id, host.epoch, frames)
        check_exact(collector)


@pytest.mark.long
def test_killed_sixty_times_nothing_is_lost_or_doubled(tmp_path: Path) -> None:
    host, chance = busy_host(), random.Random(11)
    frames = small_frames(host)
    with RunningCollector(write_config(tmp_path)) as collector:
        for _ in range(60):
            kill_while_streaming(collector, host, frames, chance.uniform(0.0, 0.3))
        deliver(collector.intake, host.host_id, host.epoch, frames)
        check_exact(collector)


def everything(collector: RunningCollector) -> list[Any]:
    collector.wait_until_folded()
    asked: list[tuple[str, dict[str, Any]]] = [
        ("/v1/usage", DAY),
        ("/v1/usage", {**DAY, "group_by": "device,org", "window": "hour", "limit": 1000}),
        ("/v1/conservation", DAY),
        ("/v1/hosts", {}),
        ("/v1/records", {**DAY, "limit": 1000}),
        ("/v1/quarantine", {}),
    ]
    return [collector.ask(path, **parameters).json() for path, parameters in asked]


def forget_connections(answers: list[Any]) -> list[Any]:
    for host in answers[3]["items"]:
        host.pop("connected")
    return answers


@pytest.mark.parametrize("damage", ["deleted", "damaged"])
def test_a_projection_made_again_from_the_log_answers_the_same(tmp_path: Path, damage: str) -> None:
    host = busy_host(windows_ns=60 * 10**9)
    with RunningCollector(write_config(tmp_path)) as collector:
        collector.deliver(host)
        # The same time metered under another name of the log: duplicates are part of the picture too.
        again = SimulatedHost(host.host_id, uses=host.uses)
        collector.deliver(again)
        before = forget_connections(everything(collector))
        assert collector.stop() == 0
        projection = tmp_path / "ledger" / PROJECTION_FILE
        shutil.copy(projection, tmp_path / "kept")
        if damage == "deleted":
            projection.unlink()
        else:
            projection.write_bytes(b"\0" * 4096 + projection.read_bytes()[4096:])
        collector.start()
        assert forget_connections(everything(collector)) == before
    assert before[3]["items"][0]["duplicates"] == 2 * 2 * 12 * 60


def test_a_ledger_restored_from_yesterday_is_filled_up_again_by_its_host(tmp_path: Path) -> None:
    host = busy_host()
    frames = small_frames(host)
    folder = tmp_path / "ledger"
    with RunningCollector(write_config(tmp_path)) as collector:
        deliver(collector.intake, host.host_id, host.epoch, frames[:60])
        assert collector.stop() == 0
        shutil.copytree(folder, tmp_path / "yesterday")
        collector.start()
        deliver(collector.intake, host.host_id, host.epoch, frames)
        collector.kill()
        # The log goes back; the projection, by mistake, does not.
        for file in (tmp_path / "yesterday").glob("log.sqlite*"):
            shutil.copy(file, folder / file.name)
        for file in folder.glob("log.sqlite-*"):
            if not (tmp_path / "yesterday" / file.name).exists():
                file.unlink()
        collector.start()
        deliver(collector.intake, host.host_id, host.epoch, frames)
        check_exact(collector)
