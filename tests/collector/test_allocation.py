"""Leases and reservations kept at the collector, beside what daemons metered."""

from typing import Any

import pytest

from gputally.simulator.stream import SimulatedHost, Use

from .running import HOUR_NS, JUNE_NS, RunningCollector
from .test_decisions import JUNE_1, JUNE_2, post
from .test_golden import CASES, hours_from

DAY = {"range_from": JUNE_1, "range_to": JUNE_2}
H100 = "NVIDIA H100 80GB HBM3"


def ask(collector: RunningCollector, path: str, **told: Any) -> Any:
    collector.wait_until_folded()
    answer = collector.ask(path, **{**DAY, **told})
    assert answer.status_code == 200, answer.text
    return answer.json()


def reserve(collector: RunningCollector, **body: Any) -> None:
    told: dict[str, Any] = {
        "id": "r",
        "tenant": "A",
        "gpu_model": H100,
        "gpus": 8,
        "from_": JUNE_1,
        "to": JUNE_2,
        "why": "sold",
    }
    made = post(collector, "/v1/reservations", **{**told, **body})
    assert made.status_code == 201, made.text


def lease(collector: RunningCollector, **body: Any) -> None:
    told: dict[str, Any] = {"id": "l", "tenant": "A", "host_id": "gpu-01", "gpu_model": H100, "gpus": 2}
    told |= {"from_": JUNE_1, "why": "sold"}
    made = post(collector, "/v1/leases", **{**told, **body})
    assert made.status_code == 201, made.text


def hours_of(item: dict[str, Any], *names: str) -> list[str]:
    return [item[name]["usage"] for name in names]


RESERVED = ("reserved", "used", "used_within", "reserved_unused", "overage")
LEASED = ("leased", "metered", "metered_by_claim", "lease_only")


def test_g5_eight_gpus_are_reserved_for_a_day_and_five_then_ten_are_used(collector: RunningCollector) -> None:
    host = SimulatedHost("gpu-01")
    for gpu in range(10):
        if gpu < 5:
            host.hold(f"nvidia:GPU-{gpu}", H100, "A", hours_from(JUNE_NS, 14))
        else:
            host.hold(f"nvidia:GPU-{gpu}", H100, "A", hours_from(JUNE_NS + 12 * HOUR_NS, 2))
    collector.deliver(host)
    reserve(collector)
    (item,) = ask(collector, "/v1/reservations/usage")["items"]
    golden = CASES["G5"]
    assert [int(item[name]["ns"]) for name in RESERVED] == [golden[f"{name}_h"] * HOUR_NS for name in RESERVED]


def test_a_reservation_by_pattern_takes_what_no_other_of_the_tenant_names(collector: RunningCollector) -> None:
    host = SimulatedHost("gpu-01")
    host.hold("nvidia:GPU-0", H100, "A", hours_from(JUNE_NS, 10))
    host.hold("nvidia:GPU-1", "NVIDIA H100 PCIe", "A", hours_from(JUNE_NS, 6))
    host.hold("nvidia:GPU-2", H100, "B", hours_from(JUNE_NS, 3))
    collector.deliver(host)
    reserve(collector, gpus=1)
    reserve(collector, id="any", gpu_model="NVIDIA H100*", gpus=1, to="2025-06-01T04:00:00Z")
    exact, pattern = ask(collector, "/v1/reservations/usage")["items"]
    assert exact["gpu_model"] == H100 and hours_of(exact, *RESERVED) == ["24.00", "10.00", "10.00", "14.00", "0.00"]
    assert pattern["gpu_model"] == "NVIDIA H100*"
    assert hours_of(pattern, *RESERVED) == ["4.00", "6.00", "4.00", "0.00", "2.00"]


def test_two_halves_of_a_gpu_are_one_reserved_gpu(collector: RunningCollector) -> None:
    from gputally.model.usage import Slices

    host = SimulatedHost("gpu-01")
    host.uses.append(Use("nvidia:MIG-0", "MIG", "A", hours_from(JUNE_NS, 7), slices=Slices("nvidia:GPU-1", 3, 7, 4, 8)))
    host.uses.append(Use("nvidia:MIG-1", "MIG", "A", hours_from(JUNE_NS, 7), slices=Slices("nvidia:GPU-1", 3, 7, 4, 8)))
    collector.deliver(host)
    reserve(collector, gpu_model="MIG", gpus=1, to="2025-06-01T07:00:00Z")
    (item,) = ask(collector, "/v1/reservations/usage")["items"]
    assert hours_of(item, *RESERVED) == ["7.00", "6.00", "6.00", "1.00", "0.00"]


def test_a_lease_without_any_daemon_is_metered_by_itself(collector: RunningCollector) -> None:
    lease(collector, host_id="dark", gpus=8, from_="2025-06-01T20:00:00Z")
    answer = ask(collector, "/v1/leases/usage")
    (item,) = answer["items"]
    assert hours_of(item, *LEASED) == ["32.00", "0.00", "0.00", "32.00"]
    assert (item["from"], item["to"]) == ("2025-06-01T20:00:00Z", JUNE_2)
    assert answer["totals_by_org"]["A"]["lease_only"] == {"usage": "32.00", "ns": str(32 * HOUR_NS)}


def test_what_a_daemon_meters_of_a_lease_is_not_counted_twice(collector: RunningCollector) -> None:
    host = SimulatedHost("gpu-01")
    host.uses.append(Use("nvidia:GPU-0", H100, "A", hours_from(JUNE_NS, 10), lease=True))
    host.hold("nvidia:GPU-1", H100, "A", hours_from(JUNE_NS, 4))
    host.hold("nvidia:GPU-1", H100, "B", hours_from(JUNE_NS + 4 * HOUR_NS, 1))
    collector.deliver(host)
    lease(collector, device_ids=["nvidia:GPU-0", "nvidia:GPU-1"], to="2025-06-01T12:00:00Z")
    (item,) = ask(collector, "/v1/leases/usage")["items"]
    assert hours_of(item, *LEASED) == ["24.00", "14.00", "10.00", "10.00"]
    assert item["others_ns"] == str(HOUR_NS)


def test_leases_that_name_no_devices_fill_up_one_after_another(collector: RunningCollector) -> None:
    host = SimulatedHost("gpu-01")
    for gpu in range(3):
        host.hold(f"nvidia:GPU-{gpu}", H100, "A", hours_from(JUNE_NS, 10))
    collector.deliver(host)
    for name in ("l1", "l2"):
        lease(collector, id=name, to="2025-06-01T12:00:00Z")
    first, second = ask(collector, "/v1/leases/usage")["items"]
    assert hours_of(first, *LEASED) == ["24.00", "20.00", "0.00", "4.00"]
    assert hours_of(second, *LEASED) == ["24.00", "10.00", "0.00", "14.00"]
    assert first["others_ns"] is None


def test_what_was_leased_as_of_an_older_version_of_the_ledger(collector: RunningCollector) -> None:
    lease(collector)
    before = ask(collector, "/v1/leases/usage")["as_of"]
    lease(collector, to="2025-06-01T01:00:00Z")
    assert hours_of(ask(collector, "/v1/leases/usage")["items"][0], "leased") == ["2.00"]
    assert hours_of(ask(collector, "/v1/leases/usage", as_of=before)["items"][0], "leased") == ["48.00"]


@pytest.mark.parametrize("path", ["/v1/leases/usage", "/v1/reservations/usage", "/v1/exclusions"])
@pytest.mark.parametrize(
    ("told", "parameter"),
    [
        ({"range_from": "2025-06-01T00:00:00"}, "range_from"),
        ({"range_to": "2025-06-01T00:00:30Z"}, "range_to"),
        ({"range_to": JUNE_1}, "range_to"),
        ({"tenent": "A"}, "tenent"),
        ({"scale": "x"}, "scale"),
        ({"as_of": str(2**50)}, "as_of"),
    ],
)
def test_a_parameter_that_cannot_be_taken_is_named(
    shared_collector: RunningCollector, path: str, told: dict[str, str], parameter: str
) -> None:
    refused = shared_collector.ask(path, **{**DAY, **told})
    assert (refused.status_code, refused.json()["parameter"]) == (400, parameter), refused.text
