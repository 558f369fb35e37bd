"""The worked numbers, through the real path: frames over gRPC into the ledger, then the API."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gputally.collector.rounding import hours
from gputally.model.interval import Interval
from gputally.model.usage import Batch, Partition, Slices
from gputally.simulator.stream import MINUTE_NS, SimulatedHost, Use
from gputally.simulator.uplink import Conversation, StreamEnded

from ..model.host import PaperHost, Run, S
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
    for model, of_each in told.items():
        for org, each in zip(("Org-A", "Org-B", "Org-C"), of_each, strict=True):
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


class Metered(SimulatedHost):
    """What a real meter made of a host on paper."""

    def __init__(self, paper: PaperHost) -> None:
        super().__init__(paper.meter.host_id)
        self.paper = paper

    def batches(self) -> Iterator[Batch]:
        yield from self.paper.batches


def mig(host: SimulatedHost, instances: int, compute: int, memory: int, hours: int) -> None:
    """One GPU in MIG mode, each of its instances with a tenant of its own."""
    span, gpu = hours_from(JUNE_NS, hours), "nvidia:GPU-1"
    stranded = 7 - instances * compute, 8 - instances * memory
    host.uses.append(Use(gpu, "NVIDIA A100", None, span, partition=Partition(7, 8), stranded=stranded))
    for number in range(instances):
        slices = Slices(gpu, compute, 7, memory, 8)
        host.uses.append(Use(f"nvidia:MIG-{number}", "NVIDIA A100 MIG", f"Org-{number}", span, slices=slices))


def test_g8_a_slice_of_seven_for_a_day_and_seven_of_them_are_a_gpu(collector: RunningCollector) -> None:
    host = SimulatedHost("gpu-01")
    mig(host, 7, 1, 1, 24)
    collector.deliver(host)
    answer, golden = collector.usage(), CASES["G8"]
    assert answer["totals_by_org"]["Org-0"]["usage"] == golden["one_hours"]
    assert answer["grand_total"] == {"usage": golden["seven_hours"], "ns": golden["seven_ns_exact"]}
    # Each is floored by itself where it is shown; their sum is not the sum of what is shown.
    assert sum(int(org["ns"]) for org in answer["totals_by_org"].values()) == int(golden["seven_ns_exact"]) - 1


def test_g9_two_instances_by_compute_and_by_memory_slices_and_what_is_stranded(collector: RunningCollector) -> None:
    host = SimulatedHost("gpu-01")
    mig(host, 2, 3, 4, 12)
    collector.deliver(host)
    golden = CASES["G9"]
    assert collector.usage()["grand_total"]["usage"] == golden["compute_hours"]
    assert collector.usage(meter="allocated_memory")["grand_total"]["usage"] == golden["memory_hours"]
    told = collector.ask("/v1/conservation", range_from="2025-06-01T00:00:00Z", range_to="2025-06-02T00:00:00Z").json()
    assert told["summary"]["exact"] is True
    stranded_ns = int(told["summary"]["mig"]["stranded_compute_ns"]) // 7
    assert hours(stranded_ns, 2) == golden["stranded_compute_hours"]
    # A GPU in MIG mode exists once, whatever its instances are.
    assert told["summary"]["existed_ns"] == told["summary"]["mig"]["existed_ns"] == str(12 * HOUR_NS)


def test_g12_a_leased_host_without_a_process(collector: RunningCollector) -> None:
    host = SimulatedHost("gpu-01")
    for gpu in range(8):
        host.uses.append(Use(f"nvidia:GPU-{gpu}", "NVIDIA H100", "acme", hours_from(JUNE_NS, 12), lease=True))
    collector.deliver(host)
    by_device = collector.usage(group_by="device")["items"]
    golden = CASES["G12"]
    assert [item["usage"] for item in by_device] == [golden["allocated_h_per_gpu"]] * 8
    for meter in ("held", "busy"):
        assert collector.usage(meter=meter)["grand_total"]["ns"] == golden[f"{meter}_ns"]


@pytest.mark.parametrize("count", [3, 7])
def test_g13_a_minute_shared_equally(collector: RunningCollector, count: int) -> None:
    """The meter divides it; its own batches go through the ledger."""
    paper = PaperHost([Run(n, f"t{n}", 0, 90 * S) for n in range(1, count + 1)], offset_ns=JUNE_NS)
    for tick in range(61):
        paper.tick(tick * S)
    collector.deliver(Metered(paper))
    answer = collector.usage(range_to="2025-06-01T00:01:00Z", group_by="org")
    golden = CASES["G13"]
    if count == 3:
        assert [item["ns"] for item in answer["items"]] == golden["three"]
    else:
        assert answer["grand_total"]["ns"] == golden["seven_sum"]


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


def test_g6_a_stream_three_times_out_of_order_with_an_outage_in_the_middle(collector: RunningCollector) -> None:
    host = SimulatedHost("gpu-01", records_per_frame=100)
    for gpu in range(5):
        host.hold(f"nvidia:GPU-{gpu}", "NVIDIA H100", "A", hours_from(JUNE_NS, 12))
    frames = list(host.frames())
    with Conversation(collector.intake) as stream:
        stream.hello(host.host_id, host.epoch)
        for frame in (*frames[3:5], *frames[:10]):
            stream.send(frame.to_bytes())
        assert stream.hear().resume.next_seq == 1
    collector.kill()  # three hours of frames wait at the host meanwhile
    collector.start()
    collector.deliver(host)
    with Conversation(collector.intake) as stream:
        stream.hello(host.host_id, host.epoch)
        for frame in frames:
            stream.send(frame.to_bytes())
        stream.goodbye()
        with pytest.raises(StreamEnded, match="OK"):
            while True:
                stream.hear()
    host.epoch = b"n" * 16  # and once more by a host that lost what it knew
    collector.deliver(host)
    golden = CASES["G6"]
    answer = collector.usage()
    assert answer["grand_total"]["usage"] == golden["hours"]
    (told,) = collector.ask("/v1/hosts").json()["items"]
    assert (told["duplicates"] == 7_200 and told["replayed_frames"] >= len(frames)) is golden["duplicates_counted"]
    checked = collector.ask("/v1/conservation", range_from="2025-06-01T00:00:00Z", range_to="2025-06-02T00:00:00Z")
    assert checked.json()["summary"]["holes"] == golden["holes"] and checked.json()["summary"]["exact"] is True


def test_g15_one_host_is_silent_for_a_day(collector: RunningCollector) -> None:
    for number in (1, 2):
        host = SimulatedHost(f"gpu-{number:02d}")
        until = 14 * 24 if number == 2 else 720
        host.hold(f"nvidia:GPU-{number}", "NVIDIA L40", "A", hours_from(JUNE_NS, until), HOUR_NS)
        collector.deliver(host)
    day = {"range_from": "2025-06-15T00:00:00Z", "range_to": "2025-06-16T00:00:00Z"}
    golden = CASES["G15"]
    assert collector.usage(**day)["completeness"]["state"] == golden["not_strict"]
    refused = collector.ask("/v1/usage", **day, strict="true")
    assert refused.status_code == golden["strict"]
    (missing,) = refused.json()["missing"]
    assert (missing["host"], missing["from"], missing["to"]) == ("gpu-02", *day.values())
    assert golden["names"] == ["host", "interval"]


def test_minutes_of_g4_are_not_rounded_one_by_one() -> None:
    """The control: rounding each minute to a hundredth of an hour would make 864 hours of 720."""
    assert 43_200 * MINUTE_NS == 720 * HOUR_NS
    assert 43_200 * round(1 / 60, 2) == pytest.approx(864)
