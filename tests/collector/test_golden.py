"""The worked numbers, through the real path: frames over gRPC into the ledger, then the API."""

import json
from pathlib import Path
from typing import Any

import pytest

from gputally.model.interval import Interval
from gputally.simulator.stream import MINUTE_NS, SimulatedHost

from .running import HOUR_NS, JUNE_NS, RunningCollector

CASES: dict[str, Any] = {
    case["id"]: case["expect"]
    for case in json.loads((Path(__file__).parent.parent / "data" / "golden_usage.json").read_text())["cases"]
}


def hours_from(start_ns: int, hours: int) -> Interval:
    return Interval(start_ns, start_ns + hours * HOUR_NS)


def test_g1_hours_per_model_and_per_organisation(collector: RunningCollector) -> None:
    told = {"NVIDIA L40": (30, 60, 10), "NVIDIA A100": (10, 20, 30), "NVIDIA H100": (100, 40, 33)}
    host = SimulatedHost("gpu-01")
    for model, hours in told.items():
        for org, each in zip(("Org-A", "Org-B", "Org-C"), hours, strict=True):
            device = f"nvidia:GPU-{model}-{org}"
            host.hold(device, model, org, hours_from(JUNE_NS, each))
            host.hold(device, model, None, Interval(JUNE_NS + each * HOUR_NS, JUNE_NS + 720 * HOUR_NS), HOUR_NS)
    collector.deliver(host)
    answer = collector.usage()
    golden = CASES["G1"]
    assert {m: v["usage"] for m, v in answer["totals_by_gpu_model"].items()} == golden["per_model_hours"]
    assert {o: v["usage"] for o, v in answer["totals_by_org"].items()} == golden["per_org_hours"]
    assert answer["grand_total"] == {"usage": golden["total_hours"], "ns": golden["total_ns"]}
    assert answer["completeness"]["state"] == "final"
    assert [(item["sku"], item["gpu_model"]) for item in answer["items"]] == [
        ("Large", "NVIDIA H100"), ("Medium", "NVIDIA A100"), ("Small", "NVIDIA L40"),
    ]  # fmt: skip


def test_g2_five_gpus_for_twelve_hours(collector: RunningCollector) -> None:
    host = SimulatedHost("gpu-01")
    for gpu in range(5):
        host.hold(f"nvidia:GPU-{gpu}", "NVIDIA H100", "A", hours_from(JUNE_NS, 12))
    collector.deliver(host)
    answer = collector.usage(range_to="2025-06-01T12:00:00Z")
    assert answer["grand_total"] == {"usage": CASES["G2"]["hours"], "ns": CASES["G2"]["ns"]}
    records = collector.ask("/v1/conservation", range_from="2025-06-01T00:00:00Z", range_to="2025-06-02T00:00:00Z")
    assert records.status_code == 200, records.text
    assert records.json()["summary"]["records"] == 3_600
    assert records.json()["summary"]["exact"] is True


def test_g3_is_rounded_once_where_it_is_shown(collector: RunningCollector) -> None:
    host = SimulatedHost("gpu-01")
    for number, org in enumerate(("A", "B", "C")):
        start_ns = JUNE_NS + number * 20 * 10**9
        host.hold("nvidia:GPU-1", "NVIDIA L40", org, Interval(start_ns, start_ns + 20 * 10**9))
    collector.deliver(host)
    answer = collector.usage(range_to="2025-06-01T00:01:00Z")
    assert [org["usage"] for org in answer["items"][0]["orgs"]] == CASES["G3"]["rows"]
    assert answer["grand_total"]["usage"] == CASES["G3"]["total"]


def test_g4_a_month_of_minutes_is_a_month(collector: RunningCollector) -> None:
    host = SimulatedHost("gpu-01")
    host.hold("nvidia:GPU-1", "NVIDIA L40", "A", hours_from(JUNE_NS, 720))
    assert sum(len(batch.records) for batch in host.batches()) == 43_200
    collector.deliver(host)
    assert collector.usage()["grand_total"]["usage"] == CASES["G4"]["hours"]


def test_g10_time_is_cut_at_the_edge_of_the_month(collector: RunningCollector) -> None:
    start_ns = JUNE_NS - 500_000_000
    host = SimulatedHost("gpu-01")
    host.hold("nvidia:GPU-1", "NVIDIA L40", "A", Interval(start_ns, start_ns + 2 * 10**9))
    collector.deliver(host)
    may = collector.usage("2025-05-01T00:00:00Z", "2025-06-01T00:00:00Z")
    june = collector.usage("2025-06-01T00:00:00Z", "2025-07-01T00:00:00Z")
    assert may["grand_total"]["ns"] == CASES["G10"]["may_ns"]
    assert june["grand_total"]["ns"] == CASES["G10"]["june_ns"]


@pytest.mark.long
def test_g11_more_nanoseconds_than_64_bits_hold(collector: RunningCollector) -> None:
    may_ns = JUNE_NS - 744 * HOUR_NS
    for number in range(500):
        host = SimulatedHost(f"gpu-{number:03d}")
        for gpu in range(8):
            host.hold(f"nvidia:GPU-{number}-{gpu}", "NVIDIA H100", "A", hours_from(may_ns, 744), HOUR_NS)
        collector.deliver(host)
    collector.wait_until_folded(600)
    answer = collector.usage("2025-05-01T00:00:00Z", "2025-06-01T00:00:00Z")
    assert answer["grand_total"]["ns"] == CASES["G11"]["ns"]
    assert int(CASES["G11"]["ns"]) > 2**63
    assert answer["completeness"]["state"] == "final"
    checked = collector.ask("/v1/conservation", range_from="2025-05-01T00:00:00Z", range_to="2025-06-01T00:00:00Z")
    assert checked.json()["summary"]["exact"] is True


def test_minutes_of_g4_are_not_rounded_one_by_one() -> None:
    """The control: rounding each minute to a hundredth of an hour would make 864 hours of 720."""
    assert 43_200 * MINUTE_NS == 720 * HOUR_NS
    assert 43_200 * round(1 / 60, 2) == pytest.approx(864)
