"""A storm of short processes, and that nobody is taken for another in it."""

import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from gputally.model.reading import DeviceReading, HostReading, PassedProcess
from gputally.plugins.attribution.attributor import CgroupAttributor, make_attributor
from gputally.plugins.attribution.connector import ConnectorUnusable
from gputally.simulator.scenario import Scenario
from gputally.simulator.storm import PaperGroups, RealGroups, Storm, StormJob, StormTenant

from ..plugins.attribution.real import V1, V2

S = 1_000_000_000
TEAMS = ("team-a", "team-b", "team-c")
JOBS_PER_S = 40
SECONDS = 2


def make_storm(folder: Path, places: PaperGroups | RealGroups) -> Storm:
    """Other runs have other groups."""
    tenants = [StormTenant(team, f"/docker/{secrets.token_hex(32)}") for team in TEAMS]
    return Storm(folder / "scenario", Scenario.host(gpus=4), tenants, places, per_s=JOBS_PER_S)


def rules(storm: Storm) -> list[dict[str, Any]]:
    return [{"match": {"path": tenant.cgroup}, "tenant": tenant.name} for tenant in storm.tenants]


def test_a_storm_knows_the_truth_of_each_of_its_jobs(tmp_path: Path) -> None:
    proc = tmp_path / "proc"
    proc.mkdir()
    storm = make_storm(tmp_path, PaperGroups(proc))
    before_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    storm.run(SECONDS)
    after_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    assert len(storm.jobs) == JOBS_PER_S * SECONDS
    assert {job.tenant for job in storm.jobs} == set(TEAMS)
    assert {job.device for job in storm.jobs} == {0, 1, 2, 3}
    for job in storm.jobs:
        assert job.end_ns is not None
        assert before_ns <= job.start_ns < job.end_ns <= after_ns
        assert job.life_ns >= S // 5
    assert sum(storm.busy_ns().values()) == sum(job.busy_ns for job in storm.jobs)
    assert not list(proc.iterdir())


def test_the_driver_is_told_of_each_job_with_its_end_and_forgets_when_told(tmp_path: Path) -> None:
    proc = tmp_path / "proc"
    proc.mkdir()
    storm = make_storm(tmp_path, PaperGroups(proc))
    storm.run(SECONDS)
    lines = [line for line in storm.path.read_text().splitlines() if line.startswith("process ")]
    last = max(storm.jobs, key=lambda job: job.end_ns or 0)
    (line,) = [line for line in lines if f"pid={last.pid} " in line and f"start={last.start_ns}" in line]
    assert f"end={last.end_ns}" in line
    assert f"device={last.device} " in line
    assert not any("follow" in line for line in lines)
    storm.clear()
    assert "process " not in storm.path.read_text()


@pytest.fixture(params=["v1", "v2"])
def places(request: pytest.FixtureRequest) -> Iterator[RealGroups]:
    mount = {"v1": V1, "v2": V2}[request.param]
    if mount is None:
        pytest.skip(f"no cgroup {request.param} is mounted")
    groups = RealGroups(mount)
    yield groups
    groups.remove()


def tick(attributor: CgroupAttributor, jobs: list[StormJob]) -> dict[str, int]:
    """How many of these ended jobs go to whom; a wrong one is an error."""
    found: dict[str, int] = {"right": 0, "nobody": 0}
    now_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    for job in jobs:
        device = DeviceReading("nvidia:GPU-0", now_ns, passed=(PassedProcess(job.pid, (job.start_ns + S // 10,)),))
        owner = attributor.attribute(HostReading(now_ns, 0, S, (device,))).passed[job.pid].holder.owner
        assert owner.tenant in (job.tenant, "unattributed"), "billed to somebody else"
        found["right" if owner.tenant == job.tenant else "nobody"] += 1
    return found


@pytest.mark.root
def test_in_a_storm_nobody_is_billed_for_another_ones_job(tmp_path: Path, places: RealGroups) -> None:
    storm = make_storm(tmp_path, places)
    try:
        attributor = make_attributor("/proc", "/sys/fs/cgroup", rules(storm), process_connector=True)
    except ConnectorUnusable as why:
        pytest.skip(f"no process connector: {why}")
    runner = threading.Thread(target=storm.run, args=(SECONDS,))
    with closing(attributor):
        runner.start()
        while runner.is_alive():
            attributor.note_happenings()
            time.sleep(0.02)
        runner.join()
        found = tick(attributor, storm.jobs)
        assert attributor.describe()["overruns"] == 0
    assert len(storm.jobs) == JOBS_PER_S * SECONDS
    # A busy machine may have looked too late for some, never for all.
    assert found["right"] > found["nobody"], found


@pytest.mark.root
def test_without_the_connector_the_jobs_of_a_storm_are_nobodys(tmp_path: Path, places: RealGroups) -> None:
    storm = make_storm(tmp_path, places)
    attributor = make_attributor("/proc", "/sys/fs/cgroup", rules(storm))
    with closing(attributor):
        storm.run(SECONDS)
        assert tick(attributor, storm.jobs) == {"right": 0, "nobody": len(storm.jobs)}
