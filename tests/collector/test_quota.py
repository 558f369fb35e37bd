"""Quotas, policy and indicators: derived, and said to be."""

from pathlib import Path
from typing import Any

import pytest

from gputally.collector.routes_quota import month_of
from gputally.collector.routes_slo import answer_slo, ratio
from gputally.model.interval import Interval
from gputally.simulator.stream import MINUTE_NS, SimulatedHost, Use
from gputally.storage.projection_reader import snapshot
from gputally.storage.usage_query import Scope

from .folded import Folded
from .running import HOUR_NS, JUNE_NS, RunningCollector, write_config
from .test_allocation import H100, ask
from .test_decisions import JUNE_1, post
from .test_exclusions import tokens_for
from .test_golden import hours_from


def quota_of(collector: RunningCollector, tenant: str, at: str = "2025-06-10T00:00:00Z") -> Any:
    collector.wait_until_folded()
    answer = collector.ask(f"/v1/quota/{tenant}", at=at)
    assert answer.status_code == 200, answer.text
    return answer.json()


def set_quota(collector: RunningCollector, hours: int, meter: str = "allocated", token: str | None = None) -> None:
    made = post(collector, "/v1/quotas", token, tenant="A", meter=meter, limit_ns=str(hours * HOUR_NS), why="contract")
    assert made.status_code == 201, made.text


def test_a_quota_says_what_is_used_what_remains_and_how_stale_that_is(collector: RunningCollector) -> None:
    host = SimulatedHost("gpu-01")
    host.hold("nvidia:GPU-0", H100, "A", Interval(JUNE_NS - HOUR_NS, JUNE_NS + 216 * HOUR_NS), HOUR_NS)
    collector.deliver(host)
    set_quota(collector, 200)
    told = quota_of(collector, "A")
    assert (told["month_from"], told["month_to"], told["derived"]) == (JUNE_1, "2025-07-01T00:00:00Z", True)
    (item,) = told["items"]
    assert (item["used_ns"], item["limit_ns"], item["remaining_ns"]) == (
        str(216 * HOUR_NS), str(200 * HOUR_NS), str(-16 * HOUR_NS),
    )  # fmt: skip
    assert told["stale_ns"] == "0"
    later = quota_of(collector, "A", "2025-06-11T00:00:00Z")
    assert (later["stale_ns"], later["completeness"]["state"]) == (str(24 * HOUR_NS), "provisional")
    assert quota_of(collector, "A", "2025-05-31T23:59:59Z")["items"][0]["used_ns"] == str(HOUR_NS)
    set_quota(collector, 300)
    assert quota_of(collector, "A")["items"][0]["remaining_ns"] == str(84 * HOUR_NS)


def test_a_tenant_without_a_quota_has_no_limit_which_is_not_zero(shared_collector: RunningCollector) -> None:
    (item,) = quota_of(shared_collector, "nobody")["items"]
    assert item == {"meter": "allocated", "used_ns": "0", "limit_ns": None, "remaining_ns": None}
    assert quota_of(shared_collector, "nobody")["stale_ns"] is None  # no host has told of anything
    set_quota(shared_collector, 1, "tokens_in")
    tokens, allocated = quota_of(shared_collector, "A")["items"]
    assert (tokens["meter"], tokens["used_ns"], tokens["remaining_ns"]) == ("tokens_in", None, None)
    assert allocated["meter"] == "allocated"
    refused = shared_collector.ask("/v1/quota/A", at="2025-06-01T00:00:00")
    assert (refused.status_code, refused.json()["parameter"]) == (400, "at")
    assert shared_collector.ask("/v1/quota/A", month="06").status_code == 400


def test_a_tenant_sees_its_own_quota_leases_and_reservations_and_no_hosts(tmp_path: Path) -> None:
    with RunningCollector(write_config(tmp_path, tokens_for(tmp_path, "A", "B"))) as collector:
        host = SimulatedHost("gpu-01")
        host.hold("nvidia:GPU-0", H100, "A", hours_from(JUNE_NS, 2))
        host.hold("nvidia:GPU-1", H100, "B", hours_from(JUNE_NS, 2))
        collector.deliver(host)
        set_quota(collector, 5, token="op")
        for number, tenant in enumerate("AB"):
            body: dict[str, Any] = {"tenant": tenant, "gpu_model": H100, "gpus": 1, "from_": JUNE_1, "why": "sold"}
            made = post(collector, "/v1/leases", "op", id=f"l{number}", host_id="gpu-01",
                        device_ids=["nvidia:GPU-0"], **body)  # fmt: skip
            assert made.status_code == 201, made.text
            until = {"to": "2025-06-02T00:00:00Z"}
            assert post(collector, "/v1/reservations", "op", id=f"r{number}", **body, **until).status_code == 201
        collector.wait_until_folded()
        day = {"range_from": JUNE_1, "range_to": "2025-06-02T00:00:00Z"}
        assert collector.ask("/v1/quota/A", "t-A").json()["tenant"] == "A"
        assert collector.ask("/v1/quota/A", "t-B").status_code == 403
        assert collector.ask("/v1/quota/nobody", "t-B").status_code == 403
        for path in ("/v1/hosts", "/v1/slo"):
            assert collector.ask(path, "t-A", **(day if path == "/v1/slo" else {})).status_code == 403
        for path in ("/v1/leases/usage", "/v1/reservations/usage", "/v1/workloads"):
            answer = collector.ask(path, "t-A", **day)
            assert answer.status_code == 200 and '"B"' not in answer.text, answer.text
            assert "others_ns" not in answer.text
            assert collector.ask(path, "t-A", **day, tenant="B").status_code == 403
        assert "others_ns" in collector.ask("/v1/leases/usage", "op", **day).text
        seen = collector.ask("/v1/reservations/usage", "t-A", **day).json()["items"]
        assert seen == collector.ask("/v1/reservations/usage", "op", **day, tenant="A").json()["items"]
        assert collector.ask("/v1/policy", "t-A").status_code == 200


def test_the_path_of_a_quota_says_its_tenant_in_the_api_document(shared_collector: RunningCollector) -> None:
    told = shared_collector.ask("/openapi.json").json()["paths"]["/v1/quota/{tenant}"]["get"]["parameters"]
    assert [(each["name"], each["in"], each["required"]) for each in told] == [
        ("at", "query", False),
        ("tenant", "path", True),
    ]


def test_a_december_ends_with_its_year() -> None:
    december_ns = 1_765_000_000 * 10**9
    month = month_of(december_ns)
    assert month == Interval(1_764_547_200 * 10**9, 1_767_225_600 * 10**9)
    assert month_of(month.start_ns) == month_of(month.end_ns - 1) == month


def test_the_policy_says_how_numbers_are_made(shared_collector: RunningCollector) -> None:
    told = shared_collector.ask("/v1/policy").json()
    assert told["rounding"]["mode"] == "half_up" and told["closing"]["states"][0] == "open"
    assert told["ranges"]["half_open"] is True


def minute_of(host_id: str, device: str, org: str = "A", unobserved: str = "") -> SimulatedHost:
    host = SimulatedHost(host_id)
    span = Interval(JUNE_NS, JUNE_NS + MINUTE_NS)
    host.uses.append(Use(device, H100, None if unobserved else org, span, unobserved=unobserved))
    return host


def test_what_came_late_is_told_apart_from_what_came_at_once(tmp_path: Path) -> None:
    end_ns, s = JUNE_NS + MINUTE_NS, 10**9
    with Folded(tmp_path) as folded:
        folded.take("gpu-01", minute_of("gpu-01", "nvidia:GPU-1").batches(), now_ns=end_ns + 2 * s)
        with snapshot(folded.projection) as seen:
            alone = answer_slo(Scope(Interval(JUNE_NS, end_ns), seen.position), seen)
        folded.take("gpu-02", minute_of("gpu-02", "nvidia:GPU-2").batches(), now_ns=end_ns + 200 * s)
        with snapshot(folded.projection) as seen:
            both = answer_slo(Scope(Interval(JUNE_NS, end_ns), seen.position), seen)
    assert (alone["M1"]["live"]["p95_ns"], alone["M1"]["met"]) == (str(2 * s), True)
    assert alone["M1"]["replayed"] == {"count": 0, "p50_ns": None, "p95_ns": None, "max_ns": None}
    assert (alone["M5"]["p95_windows"], alone["M5"]["met"]) == ("0.033000", True)
    assert (both["M1"]["live"]["count"], both["M1"]["replayed"]["p50_ns"]) == (1, str(200 * s))
    assert (both["M5"]["p95_windows"], both["M5"]["met"]) == ("3.333000", False)
    assert both["M2"] == {
        "holes": 0,
        "quarantined": 0,
        "rejected_frames_ever": 0,
        "lost_frames_ever": 0,
        "met": True,
    }
    assert (both["M3"]["met"], both["M6"]["conservation_exact"], both["M6"]["met"]) == (True, True, None)


def test_time_of_nobody_lowers_the_attributed_share_and_no_usage_has_none(collector: RunningCollector) -> None:
    host = minute_of("gpu-01", "nvidia:GPU-1", "unattributed")
    host.uses.append(Use("nvidia:GPU-2", H100, "A", Interval(JUNE_NS, JUNE_NS + MINUTE_NS)))
    host.uses.append(Use("nvidia:GPU-3", H100, "A", Interval(JUNE_NS, JUNE_NS + MINUTE_NS)))
    collector.deliver(host)
    told = ask(collector, "/v1/slo")
    assert (told["M4"]["ratio"], told["M4"]["met"]) == ("0.666666", False)
    assert told["M4"]["attributed_ns"] == str(2 * MINUTE_NS)
    july = collector.ask("/v1/slo", range_from="2025-07-01T00:00:00Z", range_to="2025-07-02T00:00:00Z").json()
    assert (july["M4"]["ratio"], july["M4"]["met"], july["M1"]["met"], july["M5"]["met"]) == (None, None, None, None)


@pytest.mark.parametrize(("parts", "expected"), [((999_999_999, 10**9), "0.999999"), ((1, 1), "1.000000")])
def test_a_ratio_is_never_rounded_up_to_a_target(parts: tuple[int, int], expected: str) -> None:
    assert ratio(*parts) == expected
