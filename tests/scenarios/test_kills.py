"""SIGKILL at random moments, of the daemon and of the collector: what stands in the ledger is what really happened.

Ten kills in the default run, 200 with --long. GPUTALLY_SEED=N repeats a run's choices; their moments
are the machine's. GPU 0 and 1 have the same holders all the time, so that every bridged nanosecond must be
credited as inferred and none be lost; on the others jobs come and go, and what a dead daemon could not see
is unobserved or within what the records say of their edges.
"""

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import pytest

from gputally.model.usage import Batch
from gputally.proto.convert import decode_batch
from gputally.simulator.rig import Job
from gputally.simulator.truth import slack_ns, true_shares
from gputally.storage.frame import read_frame
from gputally.storage.wal import Log

from .field import DOCKER, Field, S, a_field, stated_ns

SEED = int(os.environ.get("GPUTALLY_SEED", "20261123"))
CONSTANT, SHARED, LONE, VISITED = range(4)
"""GPUs: one holder; two holders; one job at a time; a holder that never leaves, and visitors."""


class Play:
    """What happens to a field, drawn from a seed."""

    def __init__(self, field: Field, seed: int) -> None:
        self.field, self.chance, self.born = field, random.Random(seed), 0
        self.visitors: dict[int, Job | None] = {LONE: None, VISITED: None}
        self.kept: set[int] = set()
        for tenant, gpu in (("always", CONSTANT), ("left", SHARED), ("right", SHARED), ("host", VISITED)):
            field.rig.start(tenant, DOCKER.format(tenant), gpu)

    def round(self) -> None:
        """Jobs come and go, something is killed, jobs come and go while it is dead, it is started again."""
        if self.field.daemon is None or self.field.daemon.process.poll() is not None:
            self.field.start_daemon()
        for _ in range(self.chance.randrange(3)):
            self.change(alive=True)
        time.sleep(self.chance.uniform(0, 1.5))
        what = self.chance.choice(("daemon", "daemon", "collector", "both", "daemon twice"))
        if what in ("collector", "both"):
            self.field.kill_collector()
        if what != "collector":
            self.field.kill_daemon()
        self.change(alive=what == "collector")
        time.sleep(self.chance.uniform(0, 0.7))
        if what in ("collector", "both"):
            self.field.start_collector()
        if what == "daemon twice":
            self.kill_during_start()

    def change(self, alive: bool) -> None:
        """One job comes or goes."""
        gpu = self.chance.choice((LONE, VISITED))
        job = self.visitors[gpu]
        if job is None:
            self.born += 1
            tenant = f"job{self.born}"
            self.visitors[gpu] = self.field.rig.start(tenant, DOCKER.format(tenant), gpu)
            if alive and self.chance.random() < 0.7:
                self.wait_until_kept(f"job{self.born}", self.visitors[gpu])
        elif self.has_been_kept(job, alive):
            self.field.rig.end(job)
            self.visitors[gpu] = None

    def has_been_kept(self, job: Job | None, alive: bool) -> bool:
        """One that nobody ever saw must not end: that it was there could be in no record."""
        if job is not None and alive and job.pid not in self.kept:
            (stay,) = job.stays
            self.wait_until_kept(stay.tenant, job)
        return job is not None and job.pid in self.kept

    def wait_until_kept(self, tenant: str, job: Job | None) -> None:
        """Seen by the daemon, and a tick has gone all the way to the log since."""
        assert job is not None
        ticks = eventually(lambda: self.ticks_when_seen(tenant))
        eventually(lambda: self.field.status()["sampling"]["ticks"] > ticks or None)
        self.kept.add(job.pid)

    def ticks_when_seen(self, tenant: str) -> int | None:
        told = self.field.status()
        seen = any(on["tenant"] == tenant for device in told["devices"] for on in device["tenants"])
        return int(told["sampling"]["ticks"]) if seen else None

    def kill_during_start(self) -> None:
        """At any moment before it is ready, and perhaps just after."""
        with (self.field.folder / "daemon.log").open("ab") as errors:
            started = subprocess.Popen(
                [sys.executable, "-m", "gputally.cli", "daemon", "--config", str(self.field.daemon_toml)],
                stdout=subprocess.DEVNULL, stderr=errors, env={**os.environ, **self.field.rig.environment},
            )  # fmt: skip
        time.sleep(self.chance.uniform(0, 2.0))
        started.kill()
        started.wait()


def eventually(told: Callable[[], int | None], within_s: float = 60) -> int:
    deadline_s = time.monotonic() + within_s
    while (found := told()) is None:
        assert time.monotonic() < deadline_s
        time.sleep(0.05)
    return found


def kill(folder: Path, kills: int, seed: int) -> None:
    print(f"GPUTALLY_SEED={seed}")  # shown when it fails
    with a_field(folder, gpus=4) as field:
        field.start_collector()
        play = Play(field, seed)
        for _ in range(kills):
            play.round()
        if field.daemon is None or field.daemon.process.poll() is not None:
            field.start_daemon()
        field.wait_for_frames(120)
        time.sleep(1)
        field.stop_daemon()
        field.assert_lawful()
        assert_nothing_lost_where_nothing_changed(field)
        assert_nobody_got_what_was_not_theirs(field)
        if kills > 5:
            assert sum(int(record["inferred_ns"]) for record in field.records()) > S


def test_kill_9_at_ten_random_moments_neither_loses_nor_doubles_a_nanosecond(tmp_path: Path) -> None:
    kill(tmp_path, 10, SEED)


@pytest.mark.long
def test_kill_9_at_200_random_moments_neither_loses_nor_doubles_a_nanosecond(tmp_path: Path) -> None:
    kill(tmp_path, 200, SEED + 1)


def assert_nothing_lost_where_nothing_changed(field: Field) -> None:
    metered, uuids = field.metered(), [device.uuid for device in field.rig.scenario.devices]
    rows = {told["device"].partition(":")[2]: told for told in field.conservation()["devices"]}
    for gpu in (CONSTANT, SHARED):
        assert rows[uuids[gpu]]["unobserved"] == {} and rows[uuids[gpu]]["idle_ns"] == "0", rows[uuids[gpu]]
    assert metered["always", uuids[CONSTANT]] == int(rows[uuids[CONSTANT]]["existed_ns"])
    left_ns, right_ns = metered["left", uuids[SHARED]], metered["right", uuids[SHARED]]
    assert left_ns + right_ns == int(rows[uuids[SHARED]]["existed_ns"])
    assert abs(left_ns - right_ns) < 1000  # one for each segment that could not be halved


def assert_nobody_got_what_was_not_theirs(field: Field) -> None:
    """Never more than what was held, and less only by what is unobserved; both within what the records state."""
    metered, records = field.metered(), field.records()
    rows = {told["device"].partition(":")[2]: told for told in field.conservation()["devices"]}
    for gpu in (LONE, VISITED):
        uuid = field.rig.scenario.devices[gpu].uuid
        stated = slack_ns(field.rig.stays, uuid) + stated_ns(records, uuid)
        unobserved_ns = sum(map(int, rows[uuid]["unobserved"].values()))
        assert set(rows[uuid]["unobserved"]) <= {"daemon_down"}, rows[uuid]
        truth = true_shares(field.rig.stays, uuid)
        for tenant in truth.keys() | {tenant for tenant, device in metered if device == uuid}:
            off_ns = metered.get((tenant, uuid), 0) - truth.get(tenant, Fraction(0))
            assert -unobserved_ns - stated <= off_ns <= stated, (
                tenant, gpu, float(off_ns) / S, unobserved_ns / S, stated / S,
            )  # fmt: skip


def batches(field: Field) -> Iterator[Batch]:
    """Everything that the host's log has held, in order."""
    log = Log.open(field.folder / "log", "sim-01", 16 << 20)
    try:
        yield from (decode_batch(read_frame(raw).payload()) for raw in log.read(1, 1 << 30, 1 << 30))
    finally:
        log.close()


@pytest.mark.parametrize("end", ["kill -9", "stop"])
def test_a_reboot_is_a_gap_with_its_reason_and_nothing_is_inferred_over_it(tmp_path: Path, end: str) -> None:
    """The very same processes are there before and after, which another boot's could only seem to be."""
    with a_field(tmp_path, gpus=2) as field:
        field.start_collector()
        field.rig.start("a", DOCKER.format("a"), 0)
        field.start_daemon()
        time.sleep(2)
        field.rig.start("b", DOCKER.format("b"), 1)  # an edge is kept at once: what came before is durable
        time.sleep(1.5)
        if end == "stop":
            field.stop_daemon()
        else:
            field.kill_daemon()
        time.sleep(1)
        field.rig.reboot()
        field.start_daemon()
        time.sleep(2)
        field.wait_for_frames()
        field.stop_daemon()
        field.assert_lawful()
        told = list(batches(field))
        before, after = dict.fromkeys(batch.boot_id for batch in told)
        assert all(record.inferred_ns == 0 for batch in told for record in batch.records)
        rows = {
            boot: [row for batch in told if batch.boot_id == boot for row in batch.rows] for boot in (before, after)
        }
        ended_ns = max(row.segment.wall_start_ns + row.segment.boot.length_ns for row in rows[before])
        began_ns = min(row.segment.wall_start_ns for row in rows[after])
        (gap,) = [gap for batch in told for gap in batch.host_gaps]
        assert (gap.reason, gap.former_boot_id) == ("reboot", before)
        assert set(gap.device_ids) == {f"nvidia:{device.uuid}" for device in field.rig.scenario.devices}
        assert abs(gap.wall.start_ns - ended_ns) < S // 100
        assert abs(gap.wall.end_ns - began_ns) < S
        assert gap.wall.length_ns > S
        assert "daemon_down" not in {reason for row in rows[after] for reason, _ in row.unobserved_ns}


def test_a_gpu_that_did_not_survive_the_reboot_is_missed(tmp_path: Path) -> None:
    with a_field(tmp_path, gpus=2) as field:
        field.start_collector()
        field.start_daemon()
        time.sleep(2)
        field.kill_daemon()
        gone = field.rig.scenario.devices[1].uuid
        field.rig.publish(field.rig.scenario.without_device(1))
        field.rig.reboot()
        for _ in range(2):  # a second restart does not forget it
            field.start_daemon()
            eventually(lambda: len(field.status()["alarms"]) or None)
            (alarm,) = field.status()["alarms"]
            assert (alarm["kind"], alarm["devices"]) == ("gpu_missing", [gone])
            field.stop_daemon()
        field.assert_lawful()
        assert field.daemon is not None
        assert field.daemon.logged().count("ALARM gpu_missing") == 2 and gone in field.daemon.logged()
