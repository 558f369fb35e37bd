"""Periods: closed once every host has passed them or its gap is declared; sealed with a root for all records."""

from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import pytest

from gputally.collector.sealing import is_signed_by
from gputally.model.decisions import PeriodSealed
from gputally.model.interval import Interval
from gputally.model.merkle import Inclusion, Root, is_included, root_of
from gputally.model.sealing import record_leaf
from gputally.plugins.ed25519 import check
from gputally.plugins.signing_key import make_key_file, write_key_file
from gputally.simulator.stream import SimulatedHost

from .running import HOUR_NS, JUNE_NS, RunningCollector, write_config
from .test_decisions import JULY, JUNE_1, JUNE_2, post, whole_june

MONTH = {"from_": JUNE_1, "to": JULY}


def close(collector: RunningCollector, **more: Any) -> httpx.Response:
    return post(collector, "/v1/periods/close", **{**MONTH, "zone": "UTC", "why": "month's end", **more})


def seal(collector: RunningCollector, **more: Any) -> httpx.Response:
    return post(collector, "/v1/periods/seal", **{**MONTH, "why": "billed", **more})


def proof(collector: RunningCollector, token: str | None = None, **more: str) -> httpx.Response:
    return collector.ask("/v1/periods/proof", token, **{"from": JUNE_1, "to": JULY, **more})


def states(collector: RunningCollector) -> list[str]:
    return [each["state"] for each in collector.ask("/v1/periods").json()["items"]]


def state_of(collector: RunningCollector, start: str = JUNE_1, end: str = JULY) -> str:
    collector.wait_until_folded()
    return str(collector.ask("/v1/periods", **{"from": start, "to": end}).json()["range"]["state"])


def seal_of(told: dict[str, Any]) -> PeriodSealed:
    from gputally.collector.instants import parse_instant

    names = {name: bytes.fromhex(told[name]) for name in ("root", "key_id", "signature")}
    return PeriodSealed(
        parse_instant(told["from"]), parse_instant(told["to"]), int(told["as_of"]), leaves=told["leaves"], **names
    )


def test_a_month_is_closed_once_all_of_it_is_there_and_then_sealed(collector: RunningCollector) -> None:
    assert state_of(collector) == "open"
    half = SimulatedHost("gpu-02")
    half.hold("nvidia:GPU-2", "NVIDIA L40", "A", Interval(JUNE_NS, JUNE_NS + 360 * HOUR_NS), HOUR_NS)
    collector.deliver(whole_june("gpu-01"))
    collector.deliver(half)
    assert state_of(collector) == "provisional"
    refused = close(collector)
    assert refused.status_code == 409 and refused.json()["missing"] == [
        {"host": "gpu-02", "from": "2025-06-16T00:00:00Z", "to": JULY}
    ]
    assert "gpu-02" in refused.json()["detail"]
    post(collector, "/v1/gaps", host_id="gpu-02", from_="2025-06-16T00:00:00Z", to=JULY, why="burnt")
    assert state_of(collector) == "final"
    assert seal(collector).status_code == 409  # not closed
    closed = close(collector)
    assert closed.status_code == 201 and closed.json()["zone_data"], closed.text
    assert states(collector) == ["final"]
    sealed = seal(collector)
    assert sealed.status_code == 201 and sealed.json()["signed"] is False, sealed.text
    assert sealed.json()["leaves"] == 2 * (720 + 360) + 1  # records, device rows, the gap
    assert states(collector) == ["sealed"] and state_of(collector) == "sealed"
    assert state_of(collector, JUNE_1, JUNE_2) == "sealed"
    assert state_of(collector, JUNE_2, "2025-07-02T00:00:00Z") == "provisional"


def test_a_period_that_is_not_over_is_open(collector: RunningCollector) -> None:
    host = SimulatedHost("gpu-01")
    start_ns = 4_000_000_000 * 10**9  # 2096
    host.hold("nvidia:GPU-1", "NVIDIA L40", "A", Interval(start_ns, start_ns + HOUR_NS), HOUR_NS)
    collector.deliver(host)
    collector.wait_until_folded()
    refused = close(collector, from_="2096-10-02T07:00:00Z", to="2096-10-02T08:00:00Z")
    assert (refused.status_code, refused.json()["type"]) == (409, "urn:gputally:problem:open-period"), refused.text


def test_what_is_sealed_is_neither_closed_nor_sealed_again_nor_changed(collector: RunningCollector) -> None:
    collector.deliver(whole_june("gpu-01"))
    collector.wait_until_folded()
    assert close(collector).status_code == 201 and seal(collector).status_code == 201
    for again in (close(collector), seal(collector), close(collector, from_="2025-05-31T00:00:00Z")):
        assert (again.status_code, again.json()["type"]) == (409, "urn:gputally:problem:sealed"), again.text
    changed = post(collector, "/v1/corrections", do="void", from_=JUNE_1, to=JUNE_2, why="late")
    assert changed.status_code == 409


def test_every_record_is_proven_by_its_key_alone(collector: RunningCollector) -> None:
    collector.deliver(whole_june("gpu-01"))
    collector.wait_until_folded()
    record = collector.ask("/v1/records", range_from=JUNE_1, range_to=JULY, limit=1).json()["items"][0]
    assert proof(collector).status_code == 404
    close(collector)
    seal(collector)
    told = proof(collector, usage_key=record["usage_key"]).json()
    root = Root(bytes.fromhex(told["seal"]["root"]), told["seal"]["leaves"])
    shown = told["record"]
    leaf = record_leaf(bytes.fromhex(record["usage_key"]), record["revision"], bytes.fromhex(record["digest"]))
    assert leaf.hex() == shown["leaf"]
    assert is_included(leaf, Inclusion(shown["index"], tuple(map(bytes.fromhex, shown["path"]))), root)
    assert proof(collector, usage_key="ab" * 16).status_code == 404
    assert proof(collector, usage_key="xy").status_code == 400
    leaves = collector.ask("/v1/periods/leaves", **{"from": JUNE_1, "to": JULY}).text.split()
    assert root_of(map(bytes.fromhex, leaves)) == root


def test_what_was_decided_of_a_month_is_under_its_seal(collector: RunningCollector) -> None:
    collector.deliver(whole_june("gpu-01"))
    collector.wait_until_folded()
    maintenance = {"id": "m", "kind": "maintenance", "approver": "kim", "why": "fans"}
    made = post(collector, "/v1/exclusions", **maintenance, from_=JUNE_1, to=JUNE_2)
    assert made.status_code == 201, made.text
    post(collector, "/v1/corrections", do="void", from_=JUNE_1, to=JUNE_2, why="credit")
    adjusted = {"id": "a", "at": JUNE_1, "tenant": "A", "gpu_model": "NVIDIA L40", "ns": "-1"}
    adjusted |= {"approver": "kim", "why": "goodwill"}
    made = post(collector, "/v1/adjustments", **adjusted)
    assert made.status_code == 201, made.text
    close(collector)
    assert seal(collector).json()["leaves"] == 2 * 720 + 24 + 2


def test_a_signed_seal_is_the_ledgers_word(tmp_path: Path) -> None:
    key = make_key_file()
    write_key_file(tmp_path / "seal.key", key, replace=False)
    config = write_config(tmp_path)
    path = f'path = "{tmp_path / "ledger"}"'
    config.write_text(config.read_text().replace(path, f'{path}\nsigning_key = "{tmp_path / "seal.key"}"'))
    with RunningCollector(config) as collector:
        collector.deliver(whole_june("gpu-01"))
        collector.wait_until_folded()
        close(collector)
        assert seal(collector).json()["signed"] is True
        told = proof(collector).json()
        assert told["public_key"] == key.own.public_key.hex()
        made, ledger = seal_of(told["seal"]), bytes.fromhex(told["ledger"])
        assert is_signed_by(ledger, made, key.own.public_key, check)
        assert not is_signed_by(ledger, made, make_key_file().own.public_key, check)
        assert not is_signed_by(bytes(16), made, key.own.public_key, check)


def test_a_key_that_cannot_be_read_ends_the_start_with_the_keys_name(tmp_path: Path) -> None:
    from .running import run_command

    config = write_config(tmp_path)
    path = f'path = "{tmp_path / "ledger"}"'
    config.write_text(config.read_text().replace(path, f'{path}\nsigning_key = "{tmp_path / "none"}"'))
    done = run_command("collector", "--config", config)
    assert done.returncode == 78 and "ledger.signing_key" in done.stderr, done.stderr


@pytest.mark.parametrize(
    ("body", "parameter"),
    [
        ({"from": JUNE_1, "to": JULY, "zone": "UTC"}, "why"),
        ({"from": JULY, "to": JUNE_1, "zone": "UTC", "why": "x"}, "to"),
        ({"from": JUNE_1, "to": JULY, "zone": "Mars/Olympus", "why": "x"}, "zone"),
        ({"from": JUNE_1, "zone": "UTC", "why": "x"}, "to"),
        ({"from": JUNE_1, "to": JULY, "zone": "UTC", "why": "x", "root": "00"}, "root"),
        ({"from": "2025-06-01T00:00:01Z", "to": JULY, "why": "x"}, "range_from"),
    ],
)
def test_a_period_that_cannot_be_is_a_problem_that_names_the_member(
    shared_collector: RunningCollector, body: dict[str, Any], parameter: str
) -> None:
    refused = httpx.post(shared_collector.url + "/v1/periods/close", json=body, timeout=30)
    assert (refused.status_code, refused.json()["parameter"]) == (400, parameter), refused.text


def test_a_tenant_proves_its_own_records_and_no_others(tmp_path: Path) -> None:
    roles = (("op", "operator", ""), ("a", "tenant", 'tenant = "A"\n'), ("b", "tenant", 'tenant = "B"\n'))
    tokens = "".join(
        f'[[tokens]]\nname = "{name}"\nsha256 = "{sha256(name.encode()).hexdigest()}"\nrole = "{role}"\n{more}'
        for name, role, more in roles
    )
    (tmp_path / "tokens.toml").write_text(tokens)
    with RunningCollector(write_config(tmp_path, f'tokens = "{tmp_path / "tokens.toml"}"')) as collector:
        collector.deliver(whole_june("gpu-01"))
        collector.wait_until_folded()
        span = {"range_from": JUNE_1, "range_to": JULY}
        first, second = collector.ask("/v1/records", "op", **span, limit=2).json()["items"]
        given = {"do": "reassign", "to_tenant": "B", "records": [second["place"]], "why": "wrong team"}
        assert post(collector, "/v1/corrections", "op", **given).status_code == 201
        for who, status in ((None, 401), ("a", 403), ("op", 201)):
            body = {**MONTH, "zone": "Europe/Berlin", "why": "secret reason"}
            assert post(collector, "/v1/periods/close", who, **body).status_code == status
            assert post(collector, "/v1/periods/seal", who, **MONTH, why="secret reason").status_code == status
        for who, key, status in (
            ("a", first, 200), ("a", second, 404), ("b", first, 404), ("b", second, 200), ("op", second, 200)
        ):  # fmt: skip
            assert proof(collector, who, usage_key=key["usage_key"]).status_code == status, (who, status)
        assert collector.ask("/v1/periods/leaves", "a", **{"from": JUNE_1, "to": JULY}).status_code == 403
        seen = collector.ask("/v1/periods", "a", **{"from": JUNE_1, "to": JULY})
        assert seen.json()["items"][0]["state"] == "sealed"
        assert "secret" not in seen.text and "gpu-01" not in seen.text
