"""Time that is not charged, through real frames and HTTP."""

from hashlib import sha256
from pathlib import Path
from typing import Any

from gputally.model.interval import Interval
from gputally.simulator.stream import SimulatedHost

from .folded import JUNE
from .running import HOUR_NS, JUNE_NS, RunningCollector, write_config
from .test_allocation import H100, ask
from .test_decisions import JUNE_1, post
from .test_golden import hours_from


def exclude(collector: RunningCollector, token: str | None = None, **body: Any) -> None:
    told: dict[str, Any] = {"id": "x", "kind": "maintenance", "approver": "kim", "why": "rack moved", "from_": JUNE_1}
    made = post(collector, "/v1/exclusions", token, **{**told, **body})
    assert made.status_code == 201, made.text


def two_tenants() -> SimulatedHost:
    host = SimulatedHost("gpu-01")
    host.hold("nvidia:GPU-0", H100, "A", hours_from(JUNE_NS, 10))
    host.hold("nvidia:GPU-1", H100, "B", hours_from(JUNE_NS, 4))
    return host


def test_overlapping_exclusions_exclude_once_and_each_has_its_part(collector: RunningCollector) -> None:
    collector.deliver(two_tenants())
    exclude(collector, id="m1", host_id="gpu-01", to="2025-06-01T02:00:00Z")
    exclude(collector, id="m2", tenant="A", from_="2025-06-01T01:00:00Z", to="2025-06-01T05:00:00Z", kind="goodwill")
    answer = ask(collector, "/v1/exclusions")
    assert answer["totals_by_org"] == {
        "A": {"gross_ns": str(10 * HOUR_NS), "excluded_ns": str(5 * HOUR_NS), "net_ns": str(5 * HOUR_NS)},
        "B": {"gross_ns": str(4 * HOUR_NS), "excluded_ns": str(2 * HOUR_NS), "net_ns": str(2 * HOUR_NS)},
    }
    assert answer["grand_total"]["net_ns"] == str(7 * HOUR_NS)
    first, second = answer["items"]
    assert (first["id"], first["excluded_ns"], second["excluded_ns"]) == ("m1", str(4 * HOUR_NS), str(3 * HOUR_NS))
    assert first["by_org"] == {"A": str(2 * HOUR_NS), "B": str(2 * HOUR_NS)}
    exclude(collector, id="m1", host_id="gpu-01", to="2025-06-01T02:00:00Z", ended=True)
    assert ask(collector, "/v1/exclusions")["totals_by_org"]["B"]["excluded_ns"] == "0"
    assert ask(collector, "/v1/exclusions", as_of=answer["as_of"])["grand_total"] == answer["grand_total"]


def test_a_record_that_an_exclusion_cuts_counts_in_proportion_and_is_floored_once(collector: RunningCollector) -> None:
    """Of each of three records of seven ns two are excluded."""
    host = SimulatedHost("gpu-01")
    for gpu in range(3):
        host.hold(f"nvidia:GPU-{gpu}", H100, "A", Interval(JUNE_NS, JUNE_NS + 7))
    collector.deliver(host)
    exclude(collector, to="2025-06-01T00:00:00.000000005Z", from_="2025-06-01T00:00:00.000000003Z")
    assert ask(collector, "/v1/exclusions")["grand_total"] == {"gross_ns": "21", "excluded_ns": "6", "net_ns": "15"}


def test_the_totals_of_usage_say_gross_excluded_and_net_if_asked(collector: RunningCollector) -> None:
    collector.deliver(two_tenants())
    plain = collector.usage()
    exclude(collector, device_id="nvidia:GPU-0", to="2025-06-01T03:00:00Z", kind="failed_node")
    answer = collector.usage(exclusions="show")
    assert answer["totals_by_org"]["A"] == {
        "usage": "10.00",
        "ns": str(10 * HOUR_NS),
        "gross_ns": str(10 * HOUR_NS),
        "excluded_ns": str(3 * HOUR_NS),
        "net_ns": str(7 * HOUR_NS),
    }
    assert (
        answer["totals_by_gpu_model"][H100]["excluded_ns"] == answer["grand_total"]["excluded_ns"] == str(3 * HOUR_NS)
    )
    assert {**collector.usage(), "as_of": ""} == {**plain, "as_of": ""}
    refused = collector.ask("/v1/usage", **JUNE, exclusions="show", meter="busy")
    assert (refused.status_code, refused.json()["parameter"]) == (400, "exclusions")


def tokens_for(folder: Path, *tenants: str) -> str:
    told = [("op", "operator", ""), *((f"t-{each}", "tenant", f'tenant = "{each}"\n') for each in tenants)]
    (folder / "tokens.toml").write_text(
        "".join(
            f'[[tokens]]\nname = "{name}"\nsha256 = "{sha256(name.encode()).hexdigest()}"\nrole = "{role}"\n{more}'
            for name, role, more in told
        )
    )
    return f'tokens = "{folder / "tokens.toml"}"'


def test_a_tenant_sees_its_own_part_of_an_exclusion_and_nobody_elses(tmp_path: Path) -> None:
    with RunningCollector(write_config(tmp_path, tokens_for(tmp_path, "A", "B"))) as collector:
        collector.deliver(two_tenants())
        exclude(collector, "op", id="site", host_id="gpu-01", to="2025-06-01T05:00:00Z", why="for umbrella")
        exclude(collector, "op", id="a", tenant="A", to="2025-06-01T10:00:00Z")
        collector.wait_until_folded()
        told = {"range_from": JUNE_1, "range_to": "2025-06-02T00:00:00Z"}
        for_b = collector.ask("/v1/exclusions", "t-B", **told)
        assert '"A"' not in for_b.text and "umbrella" not in for_b.text
        assert [item["id"] for item in for_b.json()["items"]] == ["site"]
        assert for_b.json()["grand_total"]["excluded_ns"] == str(4 * HOUR_NS)
        assert collector.ask("/v1/exclusions", "t-B", **told, tenant="A").status_code == 403
        mine = collector.ask("/v1/exclusions", "op", **told, tenant="B").json()
        assert mine["grand_total"] == for_b.json()["grand_total"]
