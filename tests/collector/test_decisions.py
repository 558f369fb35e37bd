"""What operators decide: made over HTTP, kept in the ledger's own stream, in force at once and after a crash."""

from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gputally.collector.audit import audit
from gputally.model.decision_fields import INSTANTS, KIND_OF, types_of
from gputally.model.decisions import KINDS, OWN_HOST_ID, Decided, Overlay
from gputally.model.interval import Interval
from gputally.proto.convert_decision import decode_decided, encode_decided
from gputally.simulator.stream import SimulatedHost
from gputally.simulator.uplink import Conversation, StreamEnded

from .folded import JUNE
from .running import HOUR_NS, JUNE_NS, RunningCollector, write_config

JUNE_1, JUNE_2, JULY = "2025-06-01T00:00:00Z", "2025-06-02T00:00:00Z", "2025-07-01T00:00:00Z"


def post(collector: RunningCollector, path: str, token: str | None = None, **body: Any) -> httpx.Response:
    """``from_`` stands for what Python cannot name."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    told = {name.rstrip("_"): value for name, value in body.items()}
    return httpx.post(collector.url + path, json=told, headers=headers, timeout=30)


def whole_june(host_id: str, tenant: str = "A") -> SimulatedHost:
    host = SimulatedHost(host_id)
    host.hold(f"nvidia:GPU-{host_id}", "NVIDIA L40", tenant, Interval(JUNE_NS, JUNE_NS + 720 * HOUR_NS), HOUR_NS)
    return host


def state(collector: RunningCollector) -> str:
    return str(collector.usage()["completeness"]["state"])


# ---- what is decided is kept


@given(st.one_of(*(st.builds(kind) for kind in KINDS)), st.text(max_size=20), st.integers(0, 2**62))
def test_every_decision_comes_back_from_its_bytes(what: Any, why: str, at_ns: int) -> None:
    decided = Decided("kim", at_ns, why, what)
    try:
        encoded = encode_decided(decided)
    except ValueError:
        return  # a number that no field holds, or a surrogate: what the API never lets through
    assert decode_decided(encoded) == decided


def test_the_wire_has_a_message_for_every_kind_with_the_same_fields() -> None:
    from gputally.proto.v1 import decision_pb2 as wire

    for name, kind in [*KIND_OF.items(), ("overlay", Overlay)]:
        message = getattr(wire, kind.__name__)
        assert [field.name for field in message.DESCRIPTOR.fields] == list(types_of(kind)), name
    told = {field.name for field in wire.Decided.DESCRIPTOR.oneofs_by_name["what"].fields}
    assert told == set(KIND_OF)


def test_a_decision_is_in_force_at_once_and_after_a_crash_and_in_the_chain(tmp_path: Path) -> None:
    lease: dict[str, Any] = {
        "id": "l1",
        "tenant": "acme",
        "host_id": "gpu-9",
        "gpu_model": "NVIDIA H100",
        "gpus": 8,
        "why": "contract 7",
    }
    with RunningCollector(write_config(tmp_path)) as collector:
        made = post(collector, "/v1/leases", **lease, from_=JUNE_1)
        assert made.status_code == 201, made.text
        before = collector.ask("/v1/leases").json()
        collector.kill()
        collector.start()
        assert collector.ask("/v1/leases").json() == before
        (item,) = before["items"]
        assert (item["from"], item["to"], item["why"], item["by"]) == (
            JUNE_1,
            None,
            "contract 7",
            "anybody on this host",
        )
        ended = post(collector, "/v1/leases", **{**lease, "why": "ended"}, from_=JUNE_1, to=JULY)
        assert int(ended.json()["log_id"]) > int(made.json()["log_id"])
        assert [each["to"] for each in collector.ask("/v1/leases").json()["items"]] == [JULY]
        assert [each["to"] for each in collector.ask("/v1/leases", history="true").json()["items"]] == [JULY, None]
        collector.stop()
    (stream,) = audit(tmp_path / "ledger", None, {}, None)
    assert (stream.host_id, stream.last_seq, stream.broken) == (OWN_HOST_ID, 2, None)


def test_decisions_are_folded_again_with_the_rest(tmp_path: Path) -> None:
    with RunningCollector(write_config(tmp_path)) as collector:
        post(collector, "/v1/quotas", tenant="A", meter="allocated", limit_ns=str(2**61), why="plan")
        before = collector.ask("/v1/quotas").json()
        collector.stop()
        (tmp_path / "ledger" / "projection.duckdb").unlink()
        collector.start()
        collector.wait_until_folded()
        assert collector.ask("/v1/quotas").json() == before
        assert before["items"][0]["limit_ns"] == str(2**61)


@pytest.mark.parametrize(
    ("body", "parameter"),
    [
        ({"id": "m", "kind": "maintenance", "from": JUNE_1, "to": JUNE_2, "approver": "kim"}, "why"),
        ({"id": "m", "kind": "maintenance", "from": JUNE_1, "to": JUNE_2, "approver": "kim", "why": "  "}, "why"),
        ({"id": "m", "kind": "vacation", "from": JUNE_1, "to": JUNE_2, "approver": "kim", "why": "x"}, "kind"),
        ({"id": "m", "kind": "maintenance", "from": JUNE_2, "to": JUNE_1, "approver": "kim", "why": "x"}, "to"),
        ({"id": "m", "kind": "maintenance", "from": "June", "to": JUNE_2, "approver": "kim", "why": "x"}, "from"),
        ({"id": "m", "kind": "maintenance", "from": JUNE_1, "to": JUNE_2, "approver": "", "why": "x"}, "approver"),
        ({"id": "m", "kind": "maintenance", "from": JUNE_1, "to": JUNE_2, "why": "x"}, "approver"),
        ({"id": "m", "kind": "maintenance", "from": JUNE_1, "to": JUNE_2, "approver": "kim", "why": "x", "tenent": "a"},
         "tenent"),
        ({"id": 7, "kind": "maintenance", "from": JUNE_1, "to": JUNE_2, "approver": "kim", "why": "x"}, "id"),
    ],
)  # fmt: skip
def test_a_body_that_cannot_be_taken_is_a_problem_that_names_the_member(
    shared_collector: RunningCollector, body: dict[str, Any], parameter: str
) -> None:
    refused = httpx.post(shared_collector.url + "/v1/exclusions", json=body, timeout=30)
    assert (refused.status_code, refused.json()["parameter"]) == (400, parameter), refused.text


@pytest.mark.parametrize("raw", [b"", b"[]", b"{", b'{"gpus": 1.5}', b"null", b"\xff", b"[" * 100_000, b"NaN"])
def test_what_is_no_json_object_is_a_problem(shared_collector: RunningCollector, raw: bytes) -> None:
    refused = httpx.post(shared_collector.url + "/v1/leases", content=raw, timeout=30)
    assert refused.status_code == 400 and refused.headers["content-type"] == "application/problem+json", refused.text


def test_a_body_without_end_is_cut_off(shared_collector: RunningCollector) -> None:
    assert httpx.post(shared_collector.url + "/v1/leases", content=b" " * 600_000, timeout=30).status_code == 413


def test_instants_are_the_fields_that_are_shown_as_times() -> None:
    names = {name for kind in KINDS for name in types_of(kind) if name.endswith("_ns")}
    assert names - INSTANTS == {"limit_ns"}


def test_a_host_cannot_write_the_ledgers_own_stream(shared_collector: RunningCollector) -> None:
    with Conversation(shared_collector.intake) as stream, pytest.raises(StreamEnded, match="the collector's own"):
        stream.hello(OWN_HOST_ID, b"e" * 16)


# ---- who may decide


def test_only_operators_decide_and_a_tenant_sees_what_is_its_own(tmp_path: Path) -> None:
    from hashlib import sha256

    tokens = "".join(
        f'[[tokens]]\nname = "{name}"\nsha256 = "{sha256(name.encode()).hexdigest()}"\nrole = "{role}"\n{more}'
        for name, role, more in (
            ("op", "operator", ""),
            ("aud", "auditor", ""),
            ("ten", "tenant", 'tenant = "acme"\n'),
        )
    )
    (tmp_path / "tokens.toml").write_text(tokens)
    with RunningCollector(write_config(tmp_path, f'tokens = "{tmp_path / "tokens.toml"}"')) as collector:
        for number, tenant in enumerate(("acme", "umbrella")):
            body = {"id": f"r{number}", "tenant": tenant, "gpu_model": "NVIDIA H100", "gpus": 8, "why": "sold"}
            for who, status in ((None, 401), ("aud", 403), ("ten", 403), ("op", 201)):
                made = post(collector, "/v1/reservations", who, **body, from_=JUNE_1, to=JULY)
                assert made.status_code == status, (who, made.text)
        seen = collector.ask("/v1/reservations", "ten").json()
        assert [each["tenant"] for each in seen["items"]] == ["acme"] and seen["total_count"] == 1
        assert collector.ask("/v1/reservations", "ten", history="true").json()["total_count"] == 1
        assert collector.ask("/v1/hosts/decided", "ten").json()["total_count"] == 0
        assert collector.ask("/v1/reservations", "aud").json()["total_count"] == 2


# ---- hosts that are expected


def test_an_enrolled_host_is_expected_although_nobody_has_seen_it(collector: RunningCollector) -> None:
    collector.deliver(whole_june("gpu-01"))
    assert state(collector) == "final"
    made = post(collector, "/v1/hosts", host_id="gpu-02", phase="enrolled", from_=JUNE_2, why="racked")
    assert made.status_code == 201
    answer = collector.usage()["completeness"]
    assert (answer["state"], answer["hosts_expected"], answer["complete_through"]) == ("provisional", 2, None)
    assert collector.usage(range_to=JUNE_2)["completeness"]["state"] == "final"  # it came only then
    refused = collector.ask("/v1/usage", **JUNE, strict="true")
    assert refused.status_code == 409 and refused.json()["missing"][0]["host"] == "gpu-02"


def test_a_retired_host_is_expected_no_more_from_then_on(collector: RunningCollector) -> None:
    collector.deliver(whole_june("gpu-01"))
    old = SimulatedHost("gpu-02")
    old.hold("nvidia:GPU-2", "NVIDIA L40", "A", Interval(JUNE_NS, JUNE_NS + 24 * HOUR_NS), HOUR_NS)
    collector.deliver(old)
    assert state(collector) == "provisional"
    post(collector, "/v1/hosts", host_id="gpu-02", phase="retired", from_=JUNE_2, why="sold")
    answer = collector.usage(JUNE_2, JULY)["completeness"]
    assert (answer["state"], answer["hosts_expected"]) == ("final", 1)
    post(collector, "/v1/hosts", host_id="gpu-02", phase="active", from_=JUNE_2, why="came back")
    assert collector.usage(JUNE_2, JULY)["completeness"]["state"] == "provisional"


def test_a_declared_gap_lets_a_period_be_final_and_another_days_gap_does_not(collector: RunningCollector) -> None:
    silent = SimulatedHost("gpu-01")
    silent.hold("nvidia:GPU-1", "NVIDIA L40", "A", Interval(JUNE_NS, JUNE_NS + 336 * HOUR_NS), HOUR_NS)
    collector.deliver(silent)
    post(collector, "/v1/gaps", host_id="gpu-01", from_="2025-06-16T00:00:00Z", to=JULY, why="burnt")
    assert state(collector) == "provisional"
    post(collector, "/v1/gaps", host_id="gpu-01", from_="2025-06-15T00:00:00Z", to="2025-06-16T00:00:00Z", why="burnt")
    assert state(collector) == "final"


# ---- corrections


def test_g7_a_minute_is_anothers_and_one_does_not_count(collector: RunningCollector) -> None:
    """G2's five GPUs for twelve hours; then one record is re-attributed and one voided."""
    from .test_golden import CASES

    host = SimulatedHost("gpu-01")
    for gpu in range(5):
        host.hold(f"nvidia:GPU-{gpu}", "NVIDIA H100", "A", Interval(JUNE_NS, JUNE_NS + 12 * HOUR_NS))
    collector.deliver(host)
    collector.wait_until_folded()
    first, second = collector.ask("/v1/records", range_from=JUNE_1, range_to=JUNE_2, limit=2).json()["items"]
    before = collector.usage()["as_of"]
    given_ = post(
        collector, "/v1/corrections", do="reassign", to_tenant="B", records=[first["place"]], why="wrong team"
    )
    assert given_.status_code == 201, given_.text
    assert post(collector, "/v1/corrections", do="void", records=[second["place"]], why="test job").status_code == 201
    answer = collector.usage()
    assert answer["totals_by_org"]["A"]["ns"] == CASES["G7"]["A_ns"]
    assert answer["totals_by_org"]["B"]["ns"] == CASES["G7"]["B_ns"]
    assert collector.usage(as_of=before)["totals_by_org"] == {"A": {"usage": "60.00", "ns": "216000000000000"}}
    told = collector.ask("/v1/conservation", range_from=JUNE_1, range_to=JUNE_2).json()["summary"]
    assert told["exact"] is True and told["voided_ns"] == str(60 * 10**9) and told["records"] == 3_600


def test_what_was_voided_is_lifted_and_a_void_stays_over_a_second_look(collector: RunningCollector) -> None:
    collector.deliver(whole_june("gpu-01"))
    collector.wait_until_folded()
    made = post(collector, "/v1/corrections", do="void", from_=JUNE_1, to=JUNE_2, tenant="A", why="credit")
    assert made.json()["records"] == 24
    assert collector.usage()["grand_total"]["ns"] == str(696 * HOUR_NS)
    again = post(collector, "/v1/corrections", do="void", from_=JUNE_1, to=JUNE_2, why="again")
    assert again.status_code == 404  # none of them is in force
    lifted = post(collector, "/v1/corrections", do="lift", from_=JUNE_1, to=JUNE_2, why="was right after all")
    assert lifted.json()["records"] == 24
    assert collector.usage()["grand_total"]["ns"] == str(720 * HOUR_NS)


def test_a_tenant_sees_a_record_from_when_it_is_its_own(collector: RunningCollector) -> None:
    collector.deliver(whole_june("gpu-01", "unattributed"))
    assert collector.usage()["completeness"]["unattributed_ns"] == str(720 * HOUR_NS)
    whole = {"from_": JUNE_1, "to": JULY, "tenant": "unattributed", "workload": "docker:unattributed-job"}
    made = post(collector, "/v1/corrections", do="reassign", to_tenant="B", to_project="p", **whole, why="resolved")
    assert made.json()["records"] == 720 and len(made.json()["log_ids"]) == 2
    answer = collector.usage(group_by="org,project")
    assert [(item["org"], item["project"], item["usage"]) for item in answer["items"]] == [("B", "p", "720.00")]
    assert answer["completeness"]["unattributed_ns"] == "0"
    assert collector.ask("/v1/records", **JUNE, limit=1).json()["items"][0]["rule"] == "correction"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"do": "burn", "why": "x", "records": ["1.0.0"]}, 400),
        ({"do": "void", "why": "x", "records": ["1.0"]}, 400),
        ({"do": "void", "why": "x", "records": ["1.0.0", "1.0.0"]}, 400),
        ({"do": "void", "why": "x"}, 400),
        ({"do": "void", "why": "x", "from": JUNE_2, "to": JUNE_1}, 400),
        ({"do": "reassign", "why": "x", "from": JUNE_1, "to": JUNE_2}, 400),
        ({"do": "reassign", "why": "x", "from": JUNE_1, "to": JUNE_2, "to_tenant": "unattributed"}, 400),
        ({"do": "void", "why": "x", "from": JUNE_1, "to": JUNE_2, "host": 7}, 400),
        ({"do": "void", "why": "x", "records": ["99999.0.0"]}, 409),
        ({"do": "void", "why": "x", "from": JUNE_1, "to": JUNE_2, "host": "nobody"}, 404),
    ],
)
def test_a_correction_that_cannot_be_made_decides_nothing(
    shared_collector: RunningCollector, body: dict[str, Any], status: int
) -> None:
    refused = httpx.post(shared_collector.url + "/v1/corrections", json=body, timeout=30)
    assert refused.status_code == status, refused.text
