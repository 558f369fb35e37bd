"""GET /v1/usage as a caller sees it: the exact answer, and problems that name the parameter and the cure."""

from typing import Any

import pytest

from gputally.model.interval import Interval
from gputally.model.workload import Workload
from gputally.simulator.stream import SimulatedHost, Use

from .running import HOUR_NS, JUNE_NS, RunningCollector

PATHS = ("/v1/usage", "/apis/billing.envmgmt.io/v1/metrics/partner/profile/kind/compute/usage")
JUNE = {"range_from": "2025-06-01T00:00:00Z", "range_to": "2025-07-01T00:00:00Z"}
MARCH_NS = 1_740_787_200 * 10**9  # 2025-03-01T00:00:00Z


def span(start_ns: int, hours: float, length: float) -> Interval:
    return Interval(start_ns + int(hours * HOUR_NS), start_ns + int((hours + length) * HOUR_NS))


@pytest.fixture(scope="module")
def june(shared_collector: RunningCollector) -> RunningCollector:
    """Three GPUs on two hosts: 30 h, 60 h and 10 h of three organisations; one is unobserved for an hour."""
    first, second = SimulatedHost("gpu-01"), SimulatedHost("gpu-02")
    first.hold("nvidia:GPU-1", "NVIDIA L40", "Org-A", span(JUNE_NS, 0, 30), HOUR_NS)
    first.hold("nvidia:GPU-1", "NVIDIA L40", "Org-B", span(JUNE_NS, 30, 60), HOUR_NS)
    first.uses.append(Use("nvidia:GPU-1", "NVIDIA L40", None, span(JUNE_NS, 90, 1), HOUR_NS, unobserved="nvml_hang"))
    first.hold("nvidia:GPU-1", "NVIDIA L40", None, span(JUNE_NS, 91, 629), HOUR_NS)
    second.hold("nvidia:GPU-2", "NVIDIA H100 80GB HBM3", "Org-C", span(JUNE_NS, 0, 10), HOUR_NS)
    second.hold("nvidia:GPU-3", "NVIDIA T4", "unattributed", span(JUNE_NS, 0, 1), HOUR_NS)
    for device, model, begins in (("2", "NVIDIA H100 80GB HBM3", 10), ("3", "NVIDIA T4", 1)):
        second.hold(f"nvidia:GPU-{device}", model, None, span(JUNE_NS, begins, 720 - begins), HOUR_NS)
    for host in (first, second):
        shared_collector.deliver(host)
    shared_collector.wait_until_folded()
    return shared_collector


def amount(hours: int) -> dict[str, str]:
    return {"usage": f"{hours}.00", "ns": str(hours * HOUR_NS)}


@pytest.mark.parametrize("path", PATHS)
def test_the_answer_is_exactly_the_documented_one(june: RunningCollector, path: str) -> None:
    answer = june.ask(path, **JUNE).json()
    assert answer.pop("as_of").isdecimal()
    assert answer == {
        "range_from": "2025-06-01T00:00:00Z",
        "range_to": "2025-07-01T00:00:00Z",
        "meter": "allocated",
        "unit": "GPU-Hours",
        "offset": 0,
        "limit": 100,
        "count": 3,
        "total_count": 3,
        "next": None,
        "completeness": {
            "state": "final",
            "hosts_expected": 2,
            "hosts_complete": 2,
            "complete_through": "2025-07-01T00:00:00Z",
            "unobserved_ns": str(HOUR_NS),
            "unattributed_ns": str(HOUR_NS),
            "quarantined": 0,
            "quarantined_ns": "0",
        },
        "rounding": {"mode": "half_up", "scale": 2, "stage": "total"},
        "items": [
            {
                "sku": "Large",
                "gpu_model": "NVIDIA H100 80GB HBM3",
                "orgs": [{"org": "Org-C", **amount(10)}],
                "total": amount(10),
            },
            {
                "sku": "Small",
                "gpu_model": "NVIDIA L40",
                "orgs": [{"org": "Org-A", **amount(30)}, {"org": "Org-B", **amount(60)}],
                "total": amount(90),
            },
            {
                "sku": "unassigned",
                "gpu_model": "NVIDIA T4",
                "orgs": [{"org": "unattributed", **amount(1)}],
                "total": amount(1),
            },
        ],
        "totals_by_gpu_model": {"NVIDIA H100 80GB HBM3": amount(10), "NVIDIA L40": amount(90), "NVIDIA T4": amount(1)},
        "totals_by_org": {
            "Org-A": amount(30),
            "Org-B": amount(60),
            "Org-C": amount(10),
            "unattributed": amount(1),
        },
        "grand_total": amount(101),
    }


def test_pages_count_skus_and_are_bound_to_one_version_of_the_ledger(june: RunningCollector) -> None:
    first = june.ask("/v1/usage", **JUNE, limit=2).json()
    assert (first["count"], first["total_count"], [item["sku"] for item in first["items"]]) == (
        2, 3, ["Large", "Small"],
    )  # fmt: skip
    assert f"as_of={first['as_of']}" in first["next"]
    last = june.ask(first["next"]).json()
    assert ([item["sku"] for item in last["items"]], last["next"]) == (["unassigned"], None)
    assert last["grand_total"] == first["grand_total"] == amount(101)
    beyond = june.ask("/v1/usage", **JUNE, offset=7).json()
    assert (beyond["items"], beyond["count"], beyond["total_count"]) == ([], 0, 3)


@pytest.mark.parametrize(
    ("group_by", "expected"),
    [
        ("org", [("Org-A", 30), ("Org-B", 60), ("Org-C", 10), ("unattributed", 1)]),
        ("host", [("gpu-01", 90), ("gpu-02", 11)]),
        ("device", [("nvidia:GPU-1", 90), ("nvidia:GPU-2", 10), ("nvidia:GPU-3", 1)]),
        ("sku", [("Large", 10), ("Small", 90), ("unassigned", 1)]),
        ("workload", [("docker:Org-A-job", 30), ("docker:Org-B-job", 60), ("docker:Org-C-job", 10)]),
        ("project", [("", 101)]),
    ],
)
def test_usage_is_grouped_by_any_key(june: RunningCollector, group_by: str, expected: list[tuple[str, int]]) -> None:
    items = june.ask("/v1/usage", **JUNE, group_by=group_by).json()["items"]
    assert [(item[group_by], item["ns"]) for item in items][: len(expected)] == [
        (name, str(hours * HOUR_NS)) for name, hours in expected
    ]


def test_tenant_is_another_name_of_org(june: RunningCollector) -> None:
    items = june.ask("/v1/usage", **JUNE, group_by="tenant,gpu_model").json()["items"]
    assert items[0] == {"tenant": "Org-A", "gpu_model": "NVIDIA L40", **amount(30)}


def test_flat_groups_are_paged_too(june: RunningCollector) -> None:
    seen: list[str] = []
    answer = june.ask("/v1/usage", **JUNE, group_by="org", limit=1).json()
    while True:
        seen += [item["org"] for item in answer["items"]]
        if answer["next"] is None:
            break
        answer = june.ask(answer["next"]).json()
    assert seen == ["Org-A", "Org-B", "Org-C", "unattributed"]
    assert june.ask("/v1/usage", **JUNE, group_by="org", offset=9).json()["total_count"] == 4


def test_windows_carry_their_start(june: RunningCollector) -> None:
    items = june.ask("/v1/usage", **JUNE, group_by="org", window="day").json()["items"]
    assert items[:2] == [
        {"org": "Org-A", "window_start": "2025-06-01T00:00:00Z", **amount(24)},
        {"org": "Org-A", "window_start": "2025-06-02T00:00:00Z", **amount(6)},
    ]
    month = june.ask("/v1/usage", **JUNE, window="month").json()["items"]
    assert month[0] == {
        "sku": "Large", "gpu_model": "NVIDIA H100 80GB HBM3", "org": "Org-C",
        "window_start": "2025-06-01T00:00:00Z", **amount(10),
    }  # fmt: skip


def test_days_and_months_follow_the_zone_and_its_clock_changes(collector: RunningCollector) -> None:
    """Berlin's 30 March has 23 hours; its March begins an hour before UTC's."""
    host = SimulatedHost("gpu-berlin")
    host.hold("nvidia:GPU-9", "NVIDIA L40", "Berlin", span(MARCH_NS, -24, 24 * 33), HOUR_NS)
    collector.deliver(host)
    collector.wait_until_folded()
    asked: dict[str, Any] = {
        "range_from": "2025-02-28T23:00:00Z", "range_to": "2025-03-31T22:00:00Z", "tz": "Europe/Berlin",
        "group_by": "org", "limit": 1000,
    }  # fmt: skip
    (month,) = collector.ask("/v1/usage", **asked, window="month").json()["items"]
    assert (month["window_start"], month["usage"]) == ("2025-03-01T00:00:00+01:00", "743.00")
    days = collector.ask("/v1/usage", **asked, window="day").json()["items"]
    assert [(day["window_start"], day["usage"]) for day in days[28:]] == [
        ("2025-03-29T00:00:00+01:00", "24.00"),
        ("2025-03-30T00:00:00+01:00", "23.00"),
        ("2025-03-31T00:00:00+02:00", "24.00"),
    ]


def test_hours_cannot_be_shown_where_a_zone_cuts_them(june: RunningCollector) -> None:
    asked = {**JUNE, "window": "day", "tz": "Asia/Kolkata"}
    problem = june.ask("/v1/usage", **asked)
    assert problem.status_code == 400 and problem.json()["parameter"] == "window"


def test_scale_says_how_many_places_and_ns_stay_exact(june: RunningCollector) -> None:
    answer = june.ask("/v1/usage", **JUNE, scale=0).json()
    assert answer["grand_total"] == {"usage": "101", "ns": str(101 * HOUR_NS)}
    assert june.ask("/v1/usage", **JUNE, scale=9).json()["grand_total"]["usage"] == "101.000000000"


@pytest.mark.parametrize("meter", ["held", "busy"])
def test_other_meters_are_summed_alike(june: RunningCollector, meter: str) -> None:
    answer = june.ask("/v1/usage", **JUNE, meter=meter).json()
    assert answer["meter"] == meter
    assert answer["grand_total"] == amount({"held": 101, "busy": 0}[meter])


@pytest.mark.parametrize(
    ("change", "parameter", "says"),
    [
        ({"range_from": None}, "range_from", "is missing"),
        ({"range_from": "2025-06-01T00:00:00"}, "range_from", "names no offset"),
        ({"range_from": "2025-06-01"}, "range_from", "RFC 3339"),
        ({"range_from": "2025-06-01T00:00:00 02:00"}, "range_from", "%2B"),
        ({"range_to": "2025-02-30T00:00:00Z"}, "range_to", "no time"),
        ({"range_to": "1899-01-01T00:00:00Z"}, "range_to", "1970"),
        ({"range_to": "2025-06-01T00:00:00Z"}, "range_to", "later than range_from"),
        ({"range_from": "2025-06-01T00:30:00Z"}, "range_from", "2025-06-01T00:00:00Z or 2025-06-01T01:00:00Z"),
        ({"range_to": "2025-06-30T23:59:59.5Z"}, "range_to", "off the grid of 3600 s"),
        ({"group_by": "colour"}, "group_by", "gpu_model"),
        ({"group_by": ""}, "group_by", "gpu_model"),
        ({"group_by": "org,tenant"}, "group_by", "twice"),
        ({"window": "week"}, "window", "month"),
        ({"window": "minute"}, "window", "cut records of 3600 s"),
        ({"window": "day", "tz": "Mars/Olympus"}, "tz", "IANA"),
        ({"window": "day", "tz": "../../etc/passwd"}, "tz", "IANA"),
        ({"tz": "Europe/Berlin"}, "tz", "window=day"),
        ({"meter": "wattage"}, "meter", "allocated"),
        ({"unit": "GPU-Days"}, "unit", "GPU-Hours"),
        ({"scale": "13"}, "scale", "from 0 to 12"),
        ({"scale": "2.5"}, "scale", "whole number"),
        ({"limit": "0"}, "limit", "from 1 to 1000"),
        ({"offset": "-1"}, "offset", "whole number"),
        ({"strict": "yes"}, "strict", "true or false"),
        ({"as_of": "99999999"}, "as_of", "newest"),
        ({"range_form": "x"}, "range_form", "did you mean range_from"),
        ({"limit": ["1", "2"]}, "limit", "more than once"),
    ],
)
def test_what_cannot_be_asked_is_a_problem_that_names_the_parameter_and_the_cure(
    june: RunningCollector, change: dict[str, Any], parameter: str, says: str
) -> None:
    asked = {name: value for name, value in {**JUNE, **change}.items() if value is not None}
    response = june.ask("/v1/usage", **asked)
    assert response.status_code == 400, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert problem["parameter"] == parameter and says in problem["detail"]
    assert problem["type"].startswith("urn:gputally:problem:") and problem["status"] == 400
    assert problem["title"] and problem["instance"] == "/v1/usage"


def test_strict_refuses_what_is_incomplete_and_names_host_and_interval(june: RunningCollector) -> None:
    asked = {"range_from": "2025-06-30T00:00:00Z", "range_to": "2025-07-02T00:00:00Z"}
    assert june.ask("/v1/usage", **asked).json()["completeness"]["state"] == "provisional"
    response = june.ask("/v1/usage", **asked, strict="true")
    assert response.status_code == 409
    assert response.headers["content-type"] == "application/problem+json"
    missing = {each["host"]: (each["from"], each["to"]) for each in response.json()["missing"]}
    assert missing["gpu-01"] == ("2025-07-01T00:00:00Z", "2025-07-02T00:00:00Z")
    assert "gpu-02" in response.json()["detail"]
    june_alone = june.ask("/v1/usage", range_from="2025-06-01T00:00:00Z", range_to="2025-06-30T00:00:00Z")
    assert june_alone.status_code == 200


def test_as_of_answers_from_an_older_version_of_the_ledger(collector: RunningCollector) -> None:
    early, late = SimulatedHost("gpu-01"), SimulatedHost("gpu-late")
    early.hold("nvidia:GPU-1", "NVIDIA L40", "A", span(JUNE_NS, 0, 720), HOUR_NS)
    late.hold("nvidia:GPU-late", "NVIDIA L40", "Late", span(JUNE_NS, 2, 1), HOUR_NS)
    collector.deliver(early)
    old = collector.usage()
    collector.deliver(late)
    new = collector.usage()
    assert new["totals_by_org"] == {"A": amount(720), "Late": amount(1)}
    assert new["completeness"]["state"] == "provisional"
    again = collector.usage(as_of=old["as_of"])
    assert again == old
    assert again["completeness"]["state"] == "final"


def test_an_empty_ledger_is_open_and_not_zero_in_disguise(collector: RunningCollector) -> None:
    answer = collector.usage()
    assert answer["completeness"]["state"] == "open"
    assert answer["completeness"]["complete_through"] is None
    assert (answer["items"], answer["grand_total"]) == ([], {"usage": "0.00", "ns": "0"})
    assert collector.ask("/v1/usage", **JUNE, strict="true").status_code == 409


def test_the_grid_is_a_minute_unless_all_windows_are_shorter(collector: RunningCollector) -> None:
    half = {"range_from": "2025-06-01T00:00:20Z", "range_to": "2025-06-01T00:01:00Z"}
    assert collector.ask("/v1/usage", **half).status_code == 400
    host = SimulatedHost("gpu-01")
    host.hold("nvidia:GPU-1", "NVIDIA L40", "A", span(JUNE_NS, 0, 1), 20 * 10**9)
    collector.deliver(host)
    answer = collector.usage(half["range_from"], half["range_to"])
    assert answer["grand_total"]["ns"] == str(40 * 10**9)


def test_a_record_of_any_length_may_not_be_cut(collector: RunningCollector) -> None:
    """Seven hours lie on no grid of the day: then it is the window itself that must not be cut."""
    host = SimulatedHost("gpu-01")
    start_ns = JUNE_NS - JUNE_NS % (7 * HOUR_NS)
    host.hold("nvidia:GPU-1", "NVIDIA L40", "A", Interval(start_ns, start_ns + 7 * HOUR_NS), 7 * HOUR_NS)
    collector.deliver(host)
    whole = collector.usage("2025-05-31T00:00:00Z", "2025-06-02T00:00:00Z")
    assert whole["grand_total"]["usage"] == "7.00"
    problem = collector.ask("/v1/usage", range_from="2025-06-01T00:00:00Z", range_to="2025-06-02T00:00:00Z").json()
    assert problem["parameter"] == "range_from" and "inside a window of 25200 s" in problem["detail"]


def test_a_project_and_a_workload_are_dimensions(collector: RunningCollector) -> None:
    host = SimulatedHost("gpu-01")
    for number, (project, pod) in enumerate((("vision", "p1"), ("vision", "p2"), ("speech", "p3"))):
        host.uses.append(
            Use(f"nvidia:GPU-{number}", "NVIDIA L40", "A", span(JUNE_NS, 0, 1), HOUR_NS, project, Workload("pod", pod))
        )
    collector.deliver(host)
    items = collector.usage(group_by="project")["items"]
    assert [(item["project"], item["usage"]) for item in items] == [("speech", "1.00"), ("vision", "2.00")]
    items = collector.usage(group_by="workload,project")["items"]
    assert [item["workload"] for item in items] == ["pod:p1", "pod:p2", "pod:p3"]
