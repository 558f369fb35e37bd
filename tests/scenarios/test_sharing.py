"""Shared GPUs, from the driver to the ledger: policies, MIG, MPS and leases, and every sum exact."""

import subprocess
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from gputally.simulator.audit import audit
from gputally.simulator.models import cut_into
from gputally.simulator.scenario import Fault, Scenario, SimProcess, boottime_ns

from .field import DOCKER, Field, S, a_field

GIB = 1 << 30
Record = dict[str, Any]


def pairs(field: Field) -> list[dict[str, Record]]:
    """Records by tenant, of each segment that both tenants held from its beginning to its end."""
    found: defaultdict[tuple[str, str], dict[str, Record]] = defaultdict(dict)
    for record in field.records():
        found[record["device"], record["segment_boot_start_ns"]][record["org"]] = record
    return [
        both
        for both in found.values()
        if len(both) == 2 and len({r["held_ns"] for r in both.values()}) == 1 and all_of_it(both)
    ]


def all_of_it(both: dict[str, Record]) -> bool:
    return sum(int(r["allocated_ns"]) for r in both.values()) == int(next(iter(both.values()))["held_ns"])


@pytest.mark.parametrize(("sharing", "parts"), [("equal", (1, 1)), ("memory", (3, 1)), ("busy", (1, 2))])
def test_two_tenants_on_one_gpu_share_by_the_policy_to_the_nanosecond(
    tmp_path: Path, sharing: str, parts: tuple[int, int]
) -> None:
    with a_field(tmp_path, gpus=1, metering={"window_s": 10, "sharing": sharing}) as field:
        field.start_collector()
        field.rig.start("a", DOCKER.format("a"), 0, memory_bytes=24 * GIB, sm_percent=30)
        field.rig.start("b", DOCKER.format("b"), 0, memory_bytes=8 * GIB, sm_percent=60)
        field.start_daemon()
        time.sleep(24)
        field.stop_daemon()
        field.assert_lawful()
        whole = pairs(field)
        assert whole
        for both in whole:
            a, b = both["a"], both["b"]
            assert abs(int(a["allocated_ns"]) * parts[1] - int(b["allocated_ns"]) * parts[0]) <= sum(parts)
            assert abs(int(a["energy_mj"]) * parts[1] - int(b["energy_mj"]) * parts[0]) <= sum(parts)
            assert a["sharing"] == sharing


def test_seven_mig_instances_are_one_gpu_to_the_nanosecond_and_the_millijoule(tmp_path: Path) -> None:
    with a_field(tmp_path, gpus=2) as field:
        layout = Scenario.host(2, "NVIDIA A100-SXM4-80GB").with_mig_layout(
            0, cut_into("NVIDIA A100-SXM4-80GB", *["1g.10gb"] * 7)
        )
        field.rig.publish(layout)
        field.start_collector()
        for number, instance in enumerate(layout.device(0).instances):
            start_in(field, f"t{number}", instance.gpu_instance)
        field.start_daemon()
        time.sleep(22)
        field.rig.publish(field.rig.scenario.without_mig_instance(0, layout.device(0).instances[6].gpu_instance))
        time.sleep(6)
        field.stop_daemon()
        assert audit(field.frames()) == []
        told = field.conservation()
        assert told["summary"]["exact"] is True, told
        mig = told["summary"]["mig"]
        assert (mig["gpus"], mig["instances"]) == (1, 7)
        assert int(mig["had_compute_ns"]) + int(mig["stranded_compute_ns"]) == int(mig["compute_ns"])
        assert 2 * S < int(mig["stranded_compute_ns"]) < 9 * S
        family = [d for d in told["devices"] if "parent" in d or "slices" in d]
        assert len(family) == 8 and all(d["exact"] and d["energy"] for d in family)
        records = [r for r in field.records() if r["slices"]]
        assert {r["slices"]["compute"] for r in records} == {1} and {r["slices"]["compute_of"] for r in records} == {7}
        assert {r["busy_known_ns"] for r in records} == {"0"}  # an A100 has no GPM
        assert {r["org"] for r in records} >= {f"t{number}" for number in range(7)}


def start_in(field: Field, tenant: str, gpu_instance: int, kind: str = "compute") -> None:
    """A process that holds one MIG instance of the first GPU."""
    before_ns = boottime_ns()
    process = subprocess.Popen(["sleep", "3600"], stdin=subprocess.DEVNULL)
    field.rig.write_proc(process.pid, f"0::{DOCKER.format(tenant)}\n")
    held = SimProcess(process.pid, before_ns, memory_bytes=2 * GIB, gpu_instance=gpu_instance, compute_instance=0)
    field.rig.hold(tenant, DOCKER.format(tenant), process, held, 0)


def test_mps_clients_share_the_gpu_and_the_server_has_none_of_it(tmp_path: Path) -> None:
    with a_field(tmp_path, gpus=1) as field:
        field.start_collector()
        for name, kind, cgroup in (
            ("server", "compute", "/"),
            ("a", "mps", DOCKER.format("a")),
            ("b", "mps", DOCKER.format("b")),
        ):
            before_ns = boottime_ns()
            process = subprocess.Popen(["sleep", "3600"], stdin=subprocess.DEVNULL)
            field.rig.write_proc(process.pid, f"0::{cgroup}\n")
            held = SimProcess(process.pid, before_ns, memory_bytes=GIB, sm_percent=20, kind=kind)  # type: ignore[arg-type]
            field.rig.hold(name, cgroup, process, held, 0)
        field.start_daemon()
        time.sleep(14)
        field.stop_daemon()
        field.assert_lawful()
        metered: defaultdict[str, int] = defaultdict(int)
        for record in field.records():
            metered[record["org"]] += int(record["allocated_ns"])
        assert abs(metered["a"] - metered["b"]) <= 4 and metered["a"] > 5 * S
        assert metered["unattributed"] == 0


def test_a_leased_gpu_is_allocated_without_a_process_and_blind_while_the_driver_hangs(tmp_path: Path) -> None:
    leases = tmp_path / "leases.toml"
    leases.write_text('[[leases]]\nid = "c-1"\ntenant = "acme"\ndevices = ["*"]\nfrom = 2026-01-01T00:00:00Z\n')
    leases.chmod(0o644)
    sampling = {"every_s": 0.5, "idle_every_s": 0.5, "deadline_s": 1.0}
    with a_field(tmp_path, gpus=2, leases={"file": str(leases)}, sampling=sampling) as field:
        field.start_collector()
        field.rig.start("thief", DOCKER.format("thief"), 1)
        field.start_daemon()
        time.sleep(8)
        field.rig.publish(field.rig.scenario.with_fault(Fault("nvmlDevice*", device=0, hang=True)))
        time.sleep(8)
        field.stop_daemon()
        field.assert_lawful()
        leased = [r for r in field.records() if r["claim"] == "lease"]
        assert {(r["org"], r["sharing"], r["held_ns"]) for r in leased} == {("acme", "claimed", "0")}
        for device in field.conservation()["devices"]:
            assert device["allocated_ns"] == device["existed_ns"] and device["unobserved_ns"] == "0"
        blind = {r["device"]: 0 for r in leased}
        for record in leased:
            blind[record["device"]] += int(record["blind_ns"])
        assert sorted(ns > S for ns in blind.values()) == [False, True]
        outside = [r for r in field.records() if r["org"] == "thief"]
        assert outside and all(r["outside_claim"] and r["allocated_ns"] == "0" for r in outside)
        assert sum(int(r["held_ns"]) for r in outside) > 5 * S
