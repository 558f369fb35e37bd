"""Workloads, uptime and gaps of hosts, through real frames and HTTP."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from gputally.model.interval import Interval
from gputally.model.usage import Batch, Event, EventKind, HostGap, HostWindow, WorkloadWindow
from gputally.model.workload import Owner, Workload
from gputally.simulator.stream import MINUTE_NS, SimulatedHost

from .running import HOUR_NS, JUNE_NS, RunningCollector, write_config
from .test_allocation import H100, ask
from .test_golden import hours_from

POD, JOB = Workload("kubernetes", "pod-1"), Workload("slurm", "7")


def window(workload: Workload, number: int, **known: int) -> WorkloadWindow:
    """The minute of this number of June."""
    start_ns = JUNE_NS + number * MINUTE_NS
    boot = Interval(start_ns, start_ns + MINUTE_NS)
    owner = Owner("A" if workload == POD else "B", "p", "simulated")
    return WorkloadWindow(workload, owner, boot, start_ns, start_ns, MINUTE_NS, **known)


class Telling(SimulatedHost):
    """Says of its workloads, its uptime and a gap in a first frame."""

    def batches(self) -> Iterator[Batch]:
        pods = tuple(
            window(POD, minute, replica_ns=MINUTE_NS, replica_max=1, **({"cpu_us": 5} if minute else {}))
            for minute in range(3)
        )
        up = tuple(
            HostWindow(Interval(at_ns, at_ns + MINUTE_NS), at_ns, at_ns, MINUTE_NS)
            for at_ns in (JUNE_NS, JUNE_NS + MINUTE_NS)
        )
        gap = HostGap(Interval(JUNE_NS - HOUR_NS, JUNE_NS), "boot-0", "host_down", ("nvidia:GPU-0",))
        seen = Event(EventKind.WORKLOAD_SEEN, POD.subject_id, JUNE_NS, JUNE_NS)
        told = Batch(self.host_id, self.boot_id, workloads=(*pods, window(JOB, 1)), hosts=up, host_gaps=(gap,))
        yield replace(told, events=(seen,))
        yield from super().batches()


def telling() -> Telling:
    host = Telling("gpu-01")
    host.hold("nvidia:GPU-0", H100, "A", hours_from(JUNE_NS, 1))
    return host


def test_a_workload_says_how_long_it_ran_and_what_is_not_known_is_null(collector: RunningCollector) -> None:
    collector.deliver(telling())
    answer = ask(collector, "/v1/workloads")
    pod, job = answer["items"]
    assert (pod["workload"], pod["org"], pod["runtime_ns"], pod["hosts"]) == (
        "kubernetes:pod-1",
        "A",
        str(3 * MINUTE_NS),
        1,
    )
    assert (pod["first_seen"], pod["last_seen"]) == ("2025-06-01T00:00:00Z", "2025-06-01T00:03:00Z")
    assert (pod["cpu_us"], pod["replica_ns"], pod["replica_max"]) == ("10", str(3 * MINUTE_NS), 1)
    assert pod["unknown_ns"]["cpu_us"] == str(MINUTE_NS) and "replica_ns" not in pod["unknown_ns"]
    assert [job[name] for name in ("cpu_us", "memory_byte_ms", "io_read_bytes", "replica_max", "queue_wait_ns")] == [
        None
    ] * 5
    assert [item["workload"] for item in ask(collector, "/v1/workloads", tenant="B")["items"]] == ["slurm:7"]
    assert ask(collector, "/v1/workloads", workload="slurm:8")["total_count"] == 0


def test_a_host_says_how_long_it_was_up_and_its_gaps(collector: RunningCollector) -> None:
    collector.deliver(telling())
    collector.wait_until_folded()
    (host,) = collector.ask("/v1/hosts").json()["items"]
    assert (host["uptime_ns"], host["boots"], host["boot_id"]) == (str(2 * MINUTE_NS), 1, "boot-1")
    assert host["up_since"] == "2025-06-01T00:00:00Z"
    assert host["gaps"] == [
        {"from": "2025-05-31T23:00:00Z", "to": "2025-06-01T00:00:00Z", "reason": "host_down", "devices": 1}
    ]
    span = {"range_from": "2025-06-01T00:01:00Z", "range_to": "2025-06-01T00:02:00Z"}
    (ranged,) = collector.ask("/v1/hosts", **span).json()["items"]
    assert (ranged["uptime_ns"], ranged["gap_count"]) == (str(MINUTE_NS), 0)
    assert collector.ask("/v1/hosts", range_from="2025-06-01T00:01:00Z").status_code == 400


def test_what_is_said_again_in_another_epoch_counts_once(collector: RunningCollector) -> None:
    host = telling()
    collector.deliver(host)
    collector.deliver(replace(host, epoch=os.urandom(16)))
    assert ask(collector, "/v1/workloads")["items"][0]["runtime_ns"] == str(3 * MINUTE_NS)
    (told,) = collector.ask("/v1/hosts").json()["items"]
    assert (told["uptime_ns"], told["gap_count"]) == (str(2 * MINUTE_NS), 1)


def test_a_host_that_never_told_of_its_uptime_has_none(collector: RunningCollector) -> None:
    host = SimulatedHost("gpu-02")
    host.hold("nvidia:GPU-0", H100, "A", hours_from(JUNE_NS, 1))
    collector.deliver(host)
    collector.wait_until_folded()
    (told,) = collector.ask("/v1/hosts").json()["items"]
    assert (told["uptime_ns"], told["up_since"], told["boots"]) == (None, None, 0)


class Lying(SimulatedHost):
    def batches(self) -> Iterator[Batch]:
        far = WorkloadWindow(JOB, Owner("B"), Interval(2**62, 2**63 - 1), 2**62, 2**62, 2**62)
        up = HostWindow(Interval(0, 2**64 - 1), 0, 0, MINUTE_NS)
        yield Batch(self.host_id, self.boot_id, workloads=(far,), hosts=(up,))
        yield from super().batches()


def test_times_that_cannot_be_are_left_out_and_said(collector: RunningCollector) -> None:
    host = Lying("gpu-01")
    host.hold("nvidia:GPU-0", H100, "A", hours_from(JUNE_NS, 1))
    collector.deliver(host)
    assert ask(collector, "/v1/workloads")["total_count"] == 0
    assert collector.usage()["grand_total"]["usage"] == "1.00"
    assert "2 rows of workloads, uptime or gaps name times that cannot be" in collector.log.read_text()


def test_what_was_folded_of_hosts_is_the_same_when_folded_again(tmp_path: Path) -> None:
    with RunningCollector(write_config(tmp_path)) as collector:
        host = telling()
        collector.deliver(host)
        collector.deliver(replace(host, epoch=os.urandom(16)))
        before = [ask(collector, path) for path in ("/v1/workloads", "/v1/slo")]
        hosts = collector.ask("/v1/hosts").json()["items"][0]
        collector.stop()
        (tmp_path / "ledger" / "projection.duckdb").unlink()
        collector.start()
        assert [ask(collector, path) for path in ("/v1/workloads", "/v1/slo")] == before
        assert collector.ask("/v1/hosts").json()["items"][0] == hosts
