"""A GPU-hour walks from the driver to the report, and nothing that happens on the way loses or doubles it."""

import time
from pathlib import Path

from gputally.simulator import demo
from gputally.simulator.scenario import Fault

from .field import DOCKER, Field, S, a_field


def load(field: Field, tenants: int = 3) -> None:
    """Every GPU is held, some by two tenants."""
    for gpu in range(len(field.rig.scenario.devices)):
        field.rig.start(f"t{gpu % tenants}", DOCKER.format(f"t{gpu % tenants}"), gpu)
    field.rig.start("shared", DOCKER.format("shared"), 0, 1)


def test_the_demo_is_exact_and_true(tmp_path: Path) -> None:
    told: list[float] = []
    outcome = demo.run(tmp_path, lambda done, what: told.append(done), run_s=9)
    assert outcome.exact
    assert outcome.truthful, (outcome.metered, outcome.truth, outcome.allowed_ns)
    assert {item["sku"] for item in outcome.usage["items"]} <= set(demo.SKUS)
    assert told == sorted(told) and told[-1] == 1.0


def test_a_collector_away_for_30_s_under_load_costs_nothing(tmp_path: Path) -> None:
    with a_field(tmp_path) as field:
        field.start_collector()
        field.start_daemon()
        load(field)
        time.sleep(3)
        field.kill_collector()
        for _ in range(10):
            late = field.rig.start("late", DOCKER.format("late"), 2, 3)
            time.sleep(1.5)  # long enough to be seen: what nobody saw is in no record
            field.rig.end(late)
            time.sleep(1.5)
        assert field.status()["log"]["unacked_frames"] > 0
        field.start_collector()
        field.wait_for_frames()
        field.end_jobs()
        field.stop_daemon()
        field.assert_lawful()
        field.assert_true()


def test_a_job_that_ends_while_the_daemon_is_dead_leaves_its_share_unobserved(tmp_path: Path) -> None:
    with a_field(tmp_path, gpus=1) as field:
        field.start_collector()
        field.start_daemon()
        time.sleep(1)
        job = field.rig.start("a", DOCKER.format("a"), 0)
        time.sleep(3)
        field.kill_daemon()
        time.sleep(0.5)
        field.rig.end(job)
        field.start_daemon()
        time.sleep(1)
        field.stop_daemon()
        field.assert_lawful()
        down_ns = int(field.conservation()["summary"]["unobserved"]["daemon_down"])
        assert S // 2 < down_ns < 6 * S
        field.assert_true(unobserved_allowed=True)


def test_a_hung_gpu_is_a_gap_and_the_other_seven_are_metered_without_one(tmp_path: Path) -> None:
    with a_field(tmp_path, sampling={"every_s": 0.5, "idle_every_s": 0.5, "deadline_s": 1.0}) as field:
        field.start_collector()
        field.start_daemon()
        load(field)
        time.sleep(2)
        field.rig.publish(field.rig.scenario.with_fault(Fault("nvmlDevice*", device=3, hang=True)))
        time.sleep(8)
        hung = field.rig.scenario.devices[3].uuid
        states = {device["uuid"]: device["gap_reason"] for device in field.status()["devices"]}
        assert [uuid for uuid, reason in states.items() if reason == "nvml_hang"] == [hung]
        began_s = time.monotonic()
        field.stop_daemon()
        assert time.monotonic() - began_s < 15
        field.assert_lawful()
        for device in field.conservation()["devices"]:
            unobserved = {reason: int(ns) for reason, ns in device["unobserved"].items()}
            if device["device"].endswith(hung):
                assert set(unobserved) == {"nvml_hang"} and unobserved["nvml_hang"] > 5 * S
            else:
                assert unobserved == {}


def test_a_missing_driver_is_a_gap_and_its_return_ends_it(tmp_path: Path) -> None:
    with a_field(tmp_path, gpus=2) as field:
        field.start_collector()
        field.start_daemon()
        field.rig.start("a", DOCKER.format("a"), 0)
        time.sleep(2)
        present = field.rig.scenario
        field.rig.publish(present.with_driver_missing())
        time.sleep(6)
        assert {d["state"] for d in field.status()["devices"]} == {"gap"}
        field.rig.publish(present)
        time.sleep(7)
        assert {d["state"] for d in field.status()["devices"]} == {"observed"}
        field.stop_daemon()
        field.assert_lawful()
        for device in field.conservation()["devices"]:
            reasons = set(device["unobserved"])
            assert reasons and reasons <= {"driver_missing", "driver_reload"}


def test_a_daemon_without_a_collector_meters_and_buffers(tmp_path: Path) -> None:
    with a_field(tmp_path, gpus=2) as field:
        field.start_daemon()
        field.rig.start("a", DOCKER.format("a"), 0)
        time.sleep(12)
        told = field.status()
        assert told["log"]["unacked_frames"] >= 1
        assert told["devices"][0]["tenants"][0]["tenant"] == "a"
        field.stop_daemon()
        field.start_collector()
        field.start_daemon()
        field.wait_for_frames()
        field.end_jobs()
        field.stop_daemon()
        field.assert_lawful()
        field.assert_true()
