"""Conservation, records, hosts, quarantine, health: what else the API answers, and to whom."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gputally.model.identity import records_digest
from gputally.model.interval import Interval
from gputally.model.usage import Batch
from gputally.simulator.stream import SimulatedHost, Use, chain
from gputally.simulator.uplink import deliver

from .running import HOUR_NS, JUNE_NS, SKUS, RunningCollector, write_config

JUNE = {"range_from": "2025-06-01T00:00:00Z", "range_to": "2025-07-01T00:00:00Z"}


def span(hours: float, length: float) -> Interval:
    return Interval(JUNE_NS + int(hours * HOUR_NS), JUNE_NS + int((hours + length) * HOUR_NS))


def two_hosts() -> list[SimulatedHost]:
    first, second = SimulatedHost("gpu-01"), SimulatedHost("gpu-02")
    first.hold("nvidia:GPU-1", "NVIDIA L40", "A", span(0, 2))
    first.uses.append(Use("nvidia:GPU-1", "NVIDIA L40", None, span(2, 1), unobserved="gpu_lost"))
    first.hold("nvidia:GPU-1", "NVIDIA L40", None, span(3, 1))
    second.hold("nvidia:GPU-2", "NVIDIA H100", "B", span(0, 4))
    return [first, second]


@pytest.fixture(scope="module")
def filled(shared_collector: RunningCollector) -> RunningCollector:
    for host in two_hosts():
        shared_collector.deliver(host)
    shared_collector.wait_until_folded()
    return shared_collector


def test_conservation_accounts_for_every_nanosecond_of_a_device(filled: RunningCollector) -> None:
    answer = filled.ask("/v1/conservation", **JUNE).json()
    first = answer["devices"][0]
    assert first == {
        "host": "gpu-01",
        "device": "nvidia:GPU-1",
        "gpu_model": "NVIDIA L40",
        "existed_ns": str(4 * HOUR_NS),
        "allocated_ns": str(2 * HOUR_NS),
        "voided_ns": "0",
        "idle_ns": str(HOUR_NS),
        "unobserved_ns": str(HOUR_NS),
        "unobserved": {"gpu_lost": str(HOUR_NS)},
        "records": 120,
        "rows": 240,
        "holes": [],
        "overlaps": [],
        "energy": None,
        "exact": True,
    }
    assert answer["summary"] == {
        "devices": 2,
        "existed_ns": str(8 * HOUR_NS),
        "allocated_ns": str(6 * HOUR_NS),
        "voided_ns": "0",
        "idle_ns": str(HOUR_NS),
        "unobserved_ns": str(HOUR_NS),
        "unobserved": {"gpu_lost": str(HOUR_NS)},
        "records": 360,
        "rows": 480,
        "holes": 0,
        "overlaps": 0,
        "more_faults": False,
        "exact": True,
    }


def test_conservation_is_asked_of_one_host_and_in_pages(filled: RunningCollector) -> None:
    one = filled.ask("/v1/conservation", **JUNE, host="gpu-02").json()
    assert [device["host"] for device in one["devices"]] == ["gpu-02"]
    assert one["summary"]["existed_ns"] == str(4 * HOUR_NS)
    page = filled.ask("/v1/conservation", **JUNE, offset=1, limit=1).json()
    assert ([device["host"] for device in page["devices"]], page["device_count"]) == (["gpu-02"], 2)
    assert page["summary"]["devices"] == 2


def energetic(host: SimulatedHost, minute: int) -> Batch:
    """A minute of which 700 of 1000 mJ are the workload's; the counter goes up from minute to minute."""
    batch = next(host.batches())
    record, row = replace(batch.records[minute], energy_mj=700), batch.rows[minute]
    row = replace(
        row, records_digest=records_digest([record]), energy_start_mj=minute * 1000,
        energy_end_mj=(minute + 1) * 1000, idle_energy_mj=250, unobserved_energy_mj=50,
    )  # fmt: skip
    return Batch(host.host_id, host.boot_id, (record,), (row,))


def test_conservation_shows_holes_and_energy(collector: RunningCollector) -> None:
    host = SimulatedHost("gpu-01")
    host.hold("nvidia:GPU-1", "NVIDIA L40", "A", span(0, 1))
    frames = chain(host.host_id, host.epoch, [energetic(host, minute) for minute in (0, 1, 3)])
    deliver(collector.intake, host.host_id, host.epoch, frames)
    collector.wait_until_folded()
    (device,) = collector.ask("/v1/conservation", **JUNE).json()["devices"]
    assert [hole["ns"] for hole in device["holes"]] == [str(60 * 10**9)]
    assert device["exact"] is False
    assert device["energy"] == {
        "start_mj": "0", "end_mj": "4000", "counted_mj": "3000",
        "attributed_mj": "2100", "voided_mj": "0", "idle_mj": "750", "unobserved_mj": "150",
    }  # fmt: skip


def test_records_are_paged_by_cursor_in_the_order_of_the_log(filled: RunningCollector) -> None:
    seen: list[dict[str, Any]] = []
    cursor: dict[str, Any] = {}
    while True:
        page = filled.ask("/v1/records", **JUNE, limit=100, **cursor).json()
        assert page["count"] == len(page["items"]) <= 100
        seen += page["items"]
        if page["next"] is None:
            break
        cursor = {"after": page["next"]}
    assert len(seen) == len({each["usage_key"] for each in seen}) == 360
    assert sum(int(each["allocated_ns"]) for each in seen) == 6 * HOUR_NS
    assert seen[0]["window_start"] == "2025-06-01T00:00:00Z" and seen[0]["org"] == "A"
    assert seen[0]["energy_mj"] is None  # not known is not zero
    only = filled.ask("/v1/records", **JUNE, host="gpu-02", limit=1000).json()["items"]
    assert {each["host"] for each in only} == {"gpu-02"} and len(only) == 240
    assert filled.ask("/v1/records", **JUNE, after="soon").json()["parameter"] == "after"


def test_hosts_show_how_far_they_are_and_their_streams(filled: RunningCollector) -> None:
    answer = filled.ask("/v1/hosts").json()
    first, second = answer["items"]
    assert (first["host"], second["host"], answer["total_count"]) == ("gpu-01", "gpu-02", 2)
    assert first["complete_through"] == "2025-06-01T04:00:00Z"
    assert first["first_window"] == "2025-06-01T00:00:00Z" and first["last_frame_at"]
    (stream,) = first["streams"]
    assert stream["committed_seq"] >= 1 and len(stream["head_hash"]) == 64
    assert filled.ask("/v1/hosts", offset=1, limit=1).json()["items"] == [second]


def test_what_is_put_aside_can_be_looked_at(collector: RunningCollector) -> None:
    host = two_hosts()[0]
    (batch,) = list(host.batches())
    wrong = replace(batch, rows=(replace(batch.rows[0], idle_ns=5), *batch.rows[1:]))
    deliver(collector.intake, host.host_id, host.epoch, chain(host.host_id, host.epoch, [wrong]))
    collector.wait_until_folded()
    (item,) = collector.ask("/v1/quarantine").json()["items"]
    assert (item["host"], item["device"], item["from"]) == ("gpu-01", "nvidia:GPU-1", "2025-06-01T00:00:00Z")
    assert (item["records"], item["allocated_ns"]) == (1, str(60 * 10**9)) and "accounts for" in item["what"]
    assert "quarantined: host gpu-01" in collector.log.read_text()


def test_health_is_for_anybody_and_unknown_pages_are_problems(filled: RunningCollector) -> None:
    assert filled.ask("/healthz").json()["alive"] is True
    assert filled.ask("/readyz").json()["ready"] is True
    lost = filled.ask("/v2/usage")
    assert lost.status_code == 404 and lost.headers["content-type"] == "application/problem+json"
    assert "/v1/usage" in lost.json()["detail"]
    documented = filled.ask("/openapi.json").json()["paths"]
    assert {"/v1/usage", "/v1/records", "/v1/conservation", "/v1/hosts", "/healthz"} <= set(documented)
    names = {parameter["name"] for parameter in documented["/v1/usage"]["get"]["parameters"]}
    assert {"range_from", "range_to", "group_by", "strict", "as_of"} <= names


TOKENS = {"op": ("operator", None), "aud": ("auditor", None), "a": ("tenant", "A")}


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("guarded")
    lines: list[str] = []
    for secret, (role, tenant) in TOKENS.items():
        digest = hashlib.sha256(secret.encode()).hexdigest()
        lines += ["[[tokens]]", f'name = "{secret}"', f'sha256 = "{digest}"', f'role = "{role}"']
        lines += [f'tenant = "{tenant}"'] if tenant else []
    (folder / "tokens.toml").write_text("\n".join(lines))
    config = write_config(folder, SKUS)
    config.write_text(config.read_text().replace("[api]", f'[api]\ntokens = "{folder / "tokens.toml"}"'))
    with RunningCollector(config) as running:
        for host in two_hosts():
            running.deliver(host)
        running.wait_until_folded()
        yield running


@pytest.mark.parametrize("token", [None, "wrong", ""])
def test_without_a_known_token_nothing_is_answered(guarded: RunningCollector, token: str | None) -> None:
    for path in ("/v1/usage", "/v1/records", "/v1/conservation", "/v1/hosts", "/v1/quarantine"):
        response = guarded.ask(path, token=token, **JUNE)
        assert response.status_code == 401 and response.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("token", ["op", "aud"])
def test_operators_and_auditors_see_the_whole_site(guarded: RunningCollector, token: str) -> None:
    assert guarded.ask("/v1/usage", token=token, **JUNE).json()["grand_total"]["usage"] == "6.00"
    assert guarded.ask("/v1/hosts", token=token).json()["total_count"] == 2


def test_a_tenant_sees_only_itself_totals_included(guarded: RunningCollector) -> None:
    answer = guarded.ask("/v1/usage", token="a", **JUNE).json()
    assert (list(answer["totals_by_org"]), answer["grand_total"]["usage"]) == (["A"], "2.00")
    assert list(answer["totals_by_gpu_model"]) == ["NVIDIA L40"]
    items = guarded.ask("/v1/records", token="a", **JUNE, limit=1000).json()["items"]
    assert {each["org"] for each in items} == {"A"}
    for path in ("/v1/conservation", "/v1/hosts", "/v1/quarantine"):
        parameters = JUNE if path == "/v1/conservation" else {}
        assert guarded.ask(path, token="a", **parameters).status_code == 403


def test_who_asked_is_in_the_access_log_and_no_token_is(guarded: RunningCollector) -> None:
    guarded.ask("/v1/usage", token="aud", **JUNE)
    guarded.ask("/v1/usage", token="not-a-token", **JUNE)
    log = guarded.log.read_text()
    assert "gputally.access: aud GET" in log and "no known token" in log
    assert "not-a-token" not in log


def test_the_golden_file_is_whole() -> None:
    cases = json.loads((Path(__file__).parent.parent / "data" / "golden_usage.json").read_text())["cases"]
    assert [case["id"] for case in cases] == [f"G{number}" for number in range(1, 17)]
