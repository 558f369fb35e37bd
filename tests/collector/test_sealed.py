"""A sealed period does not change: what comes late for it is booked as a signed amount in the first open one."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gputally.collector.audit_seals import audit_seals, read_seals
from gputally.collector.deciding import own_stream
from gputally.collector.decision_checks import check_decision
from gputally.collector.problems import Problem
from gputally.collector.sealing import period_root
from gputally.model.decisions import (
    Adjusted,
    Corrected,
    Decided,
    Decision,
    ExclusionKind,
    ExclusionSet,
    GapDeclared,
    HostPhase,
    HostSet,
    LeaseSet,
    OverlayKind,
    PeriodSealed,
)
from gputally.model.identity import records_digest, usage_key
from gputally.model.interval import Interval
from gputally.model.usage import Batch, UsageRecord
from gputally.proto.convert_decision import encode_decided
from gputally.simulator.stream import SimulatedHost
from gputally.storage.frame import make_frame
from gputally.storage.ledger_rules import Offer
from gputally.storage.projection_decisions import adjustments_in, decided_in_force
from gputally.storage.projection_reader import snapshot
from gputally.storage.usage_query import Scope

from .folded import NOW_NS, Folded
from .running import HOUR_NS, JUNE_NS
from .test_usage_store import overlay

JULY_NS = JUNE_NS + 720 * HOUR_NS
DAY = Interval(JUNE_NS, JUNE_NS + 24 * HOUR_NS)
JULY = {"range_from": "2025-07-01T00:00:00Z", "range_to": "2025-08-01T00:00:00Z"}


@pytest.fixture
def folded(tmp_path: Path) -> Iterator[Folded]:
    with Folded(tmp_path) as folded:
        yield folded


def decide(folded: Folded, what: Decision) -> None:
    stream = own_stream(folded.ledger.ledger_id)
    cursor = folded.ledger.cursor(stream)
    payload = encode_decided(Decided("kim", NOW_NS + cursor.committed_seq, "why", what))
    frame = make_frame(stream.epoch, cursor.committed_seq + 1, cursor.head_hash, 0, payload)
    folded.ledger.commit([Offer(stream, frame.seq, frame.previous_hash, frame.hash, frame.to_bytes())], NOW_NS)
    folded.fold()


def seal(folded: Folded, as_of: int | None = None) -> None:
    position = folded.projection.position if as_of is None else as_of
    decide(folded, PeriodSealed(JUNE_NS, JULY_NS, position, b"r" * 32, 1))


def june(tenant: str = "A") -> SimulatedHost:
    host = SimulatedHost("gpu-01", epoch=b"e" * 16)
    host.hold("nvidia:GPU-1", "NVIDIA L40", tenant, DAY, HOUR_NS)
    return host


def revised(batch: Batch, revision: int, tenant_ns: dict[str, int]) -> Batch:
    """The first segment of a batch again, its time divided otherwise."""
    row, record = batch.rows[0], batch.records[0]
    records = [
        replace(record, revision=revision, allocated_ns=ns, held_ns=ns, owner=replace(record.owner, tenant=tenant),
                workload=record.workload._replace(id=f"{tenant}-job"))
        for tenant, ns in tenant_ns.items()
    ]  # fmt: skip
    told = replace(
        row, revision=revision, record_count=len(records), records_digest=records_digest(records),
        idle_ns=HOUR_NS - sum(tenant_ns.values()),
    )  # fmt: skip
    return replace(batch, rows=(told,), records=tuple(records))


def booked(folded: Folded) -> dict[tuple[str, str], int]:
    with snapshot(folded.projection) as seen:
        return {
            (each.what.tenant, each.what.gpu_model): each.what.ns
            for each in decided_in_force(seen, Adjusted)
            if each.what.at_ns == JULY_NS
        }


def total(folded: Folded, **asked: Any) -> int:
    return int(folded.usage(**asked)["grand_total"]["ns"])


def test_a_new_record_of_a_sealed_month_leaves_it_and_is_booked_in_the_next(folded: Folded) -> None:
    folded.take("gpu-01", june().batches())
    seal(folded)
    late = SimulatedHost("gpu-02", epoch=b"f" * 16)
    late.hold("nvidia:GPU-2", "NVIDIA H100", "B", Interval(JUNE_NS, JUNE_NS + HOUR_NS), HOUR_NS)
    folded.take("gpu-02", late.batches(), late.epoch)
    assert total(folded) == 24 * HOUR_NS and total(folded, **JULY) == 0
    assert booked(folded) == {("B", "NVIDIA H100"): HOUR_NS}
    assert folded.host("gpu-02").late == 1
    told = folded.usage(**JULY)["adjustments"]
    assert told == {"count": 1, "total_ns": str(HOUR_NS), "by_org": {"B": str(HOUR_NS)}}
    assert "adjustments" not in folded.usage()
    folded.take("gpu-02", late.batches(), b"g" * 16)  # said again in another epoch: once is enough
    assert booked(folded) == {("B", "NVIDIA H100"): HOUR_NS}
    assert folded.host("gpu-02").duplicates == 2


def test_an_amount_that_is_booked_again_elsewhere_counts_only_there(folded: Folded) -> None:
    folded.take("gpu-01", june().batches())
    decide(folded, Adjusted("moved", JUNE_NS, "A", "NVIDIA L40", 5))
    decide(folded, Adjusted("stays", JUNE_NS, "B", "NVIDIA L40", 7))
    as_of = str(folded.projection.position)
    decide(folded, Adjusted("moved", JULY_NS, "A", "NVIDIA L40", 6))
    assert folded.usage()["adjustments"] == {"count": 1, "total_ns": "7", "by_org": {"B": "7"}}
    assert folded.usage(**JULY)["adjustments"] == {"count": 1, "total_ns": "6", "by_org": {"A": "6"}}
    assert folded.usage(as_of=as_of)["adjustments"]["by_org"] == {"A": "5", "B": "7"}
    with snapshot(folded.projection) as seen:
        span = Interval(JUNE_NS, JULY_NS + 1)
        found = [each.what.id for each in adjustments_in(seen, Scope(span, seen.position), offset=1, limit=1)]
        assert found == ["moved"], "the second page, in the order of the log"
        assert adjustments_in(seen, Scope(Interval(JUNE_NS, JULY_NS), seen.position, "A")) == []


def test_the_control_the_same_record_before_the_seal_counts_in_its_month(folded: Folded) -> None:
    folded.take("gpu-01", june().batches())
    late = SimulatedHost("gpu-02", epoch=b"f" * 16)
    late.hold("nvidia:GPU-2", "NVIDIA H100", "B", Interval(JUNE_NS, JUNE_NS + HOUR_NS), HOUR_NS)
    folded.take("gpu-02", late.batches(), late.epoch)
    seal(folded)
    assert total(folded) == 25 * HOUR_NS and booked(folded) == {}


def test_revisions_of_a_sealed_segment_are_booked_as_what_each_changes(folded: Folded) -> None:
    (batch,) = june().batches()
    folded.take("gpu-01", [batch])
    seal(folded)
    half = HOUR_NS // 2
    folded.take("gpu-01", [revised(batch, 1, {"A": half, "B": half})], b"1" * 16)
    assert booked(folded) == {("A", "NVIDIA L40"): -half, ("B", "NVIDIA L40"): half}
    folded.take("gpu-01", [revised(batch, 3, {"B": half})], b"2" * 16)
    folded.take("gpu-01", [revised(batch, 2, {"C": half})], b"3" * 16)  # stale
    folded.take("gpu-01", [revised(batch, 3, {"B": half})], b"4" * 16)  # again
    with snapshot(folded.projection) as seen:
        told = [(each.what.tenant, each.what.ns) for each in decided_in_force(seen, Adjusted)]
    assert told == [("A", -half), ("B", half), ("A", -half)]  # each against the last that came
    assert total(folded) == 24 * HOUR_NS


def test_the_sums_of_a_sealed_month_and_its_adjustments_are_those_of_an_open_one(tmp_path: Path) -> None:
    (batch,) = june().batches()
    stories = [revised(batch, 1, {"A": 7, "B": 9}), revised(batch, 4, {"C": HOUR_NS}), revised(batch, 5, {})]
    sums: list[dict[str, int]] = []
    for sealed in (False, True):
        (tmp_path / str(sealed)).mkdir()
        with Folded(tmp_path / str(sealed)) as folded:
            folded.take("gpu-01", [batch])
            if sealed:
                seal(folded)
            for number, story in enumerate(stories):
                folded.take("gpu-01", [story], bytes([number + 1]) * 16)
            found = {org: int(told["ns"]) for org, told in folded.usage()["totals_by_org"].items()}
            with snapshot(folded.projection) as seen:
                for each in decided_in_force(seen, Adjusted):
                    found[each.what.tenant] = found.get(each.what.tenant, 0) + each.what.ns
            sums.append({org: ns for org, ns in found.items() if ns})
    assert sums[0] == sums[1]


def test_a_seal_that_something_overtook_holds_nothing(folded: Folded) -> None:
    folded.take("gpu-01", june().batches())
    before = folded.projection.position
    late = SimulatedHost("gpu-02", epoch=b"f" * 16)
    late.hold("nvidia:GPU-2", "NVIDIA H100", "B", Interval(JUNE_NS, JUNE_NS + HOUR_NS), HOUR_NS)
    folded.take("gpu-02", late.batches(), late.epoch)
    seal(folded, as_of=before)
    with snapshot(folded.projection) as seen:
        assert decided_in_force(seen, PeriodSealed) == []
    seal(folded)
    seal(folded)  # twice is once
    with snapshot(folded.projection) as seen:
        assert len(decided_in_force(seen, PeriodSealed)) == 1


def test_what_was_corrected_before_the_seal_is_what_a_late_revision_changes(folded: Folded) -> None:
    (batch,) = june().batches()
    folded.take("gpu-01", [batch])
    decide(folded, Corrected((overlay_of(batch.records[0], OverlayKind.REASSIGN, "Z"),)))
    seal(folded)
    folded.take("gpu-01", [revised(batch, 1, {"A": HOUR_NS // 2})], b"1" * 16)
    assert booked(folded) == {("Z", "NVIDIA L40"): -HOUR_NS // 2}
    assert folded.usage()["totals_by_org"]["Z"]["ns"] == str(HOUR_NS)


def test_late_data_are_folded_again_alike(tmp_path: Path) -> None:
    with Folded(tmp_path) as folded:
        (batch,) = june().batches()
        folded.take("gpu-01", [batch])
        seal(folded)
        folded.take("gpu-01", [revised(batch, 1, {"B": HOUR_NS})], b"1" * 16)
        before, sums = booked(folded), folded.usage()
        assert before == {("A", "NVIDIA L40"): -HOUR_NS, ("B", "NVIDIA L40"): HOUR_NS}
    (tmp_path / "projection.duckdb").unlink()
    with Folded(tmp_path) as folded:
        folded.fold()
        assert (booked(folded), folded.usage()) == (before, sums)


def excluded(start_ns: int, end_ns: int, ended: bool = False, name: str = "x") -> ExclusionSet:
    return ExclusionSet(name, ExclusionKind.GOODWILL, start_ns, end_ns, "boss", ended=ended)


def lease(start_ns: int, end_ns: int | None, tenant: str = "A") -> LeaseSet:
    return LeaseSet("l1", tenant, "gpu-09", "NVIDIA L40", 1, start_ns, end_ns)


BEFORE_THE_SEAL: list[Decision] = [
    excluded(JUNE_NS, JUNE_NS + HOUR_NS),
    excluded(JULY_NS - HOUR_NS, JULY_NS + 9 * HOUR_NS, name="across"),
    Adjusted("a1", JUNE_NS, "A", "NVIDIA L40", 5),
    lease(JUNE_NS, None),
]


@pytest.mark.parametrize(
    "what",
    [
        excluded(JULY_NS, JULY_NS + HOUR_NS),
        excluded(JUNE_NS, JUNE_NS + HOUR_NS, ended=True),
        excluded(JUNE_NS - HOUR_NS, JUNE_NS + HOUR_NS, name="from May"),
        Adjusted("a1", JULY_NS, "A", "NVIDIA L40", 5),
        lease(JULY_NS, JULY_NS + HOUR_NS),
        lease(JUNE_NS, JULY_NS + HOUR_NS, tenant="B"),
        GapDeclared("gpu-01", JUNE_NS + 30 * HOUR_NS, JULY_NS),
    ],
)
def test_no_decision_takes_away_or_adds_what_a_sealed_month_has(folded: Folded, what: Decision) -> None:
    for each in BEFORE_THE_SEAL:
        decide(folded, each)
    seal(folded)
    with snapshot(folded.projection) as seen, pytest.raises(Problem, match="is sealed and does not change"):
        check_decision(seen, what)


@pytest.mark.parametrize(
    "what", [lease(JUNE_NS, JULY_NS + HOUR_NS), excluded(JULY_NS - HOUR_NS, JULY_NS + 3 * HOUR_NS, name="across")]
)
def test_what_began_in_a_sealed_month_can_be_ended_in_an_open_one(folded: Folded, what: Decision) -> None:
    for each in BEFORE_THE_SEAL:
        decide(folded, each)
    seal(folded)
    with snapshot(folded.projection) as seen:
        check_decision(seen, what)


def test_a_revision_that_moves_a_record_out_of_a_sealed_month_is_put_aside(folded: Folded) -> None:
    (batch,) = june().batches()
    folded.take("gpu-01", [batch])
    seal(folded)
    moved = revised(batch, 1, {"A": HOUR_NS})
    segment = replace(moved.rows[0].segment, window_start_ns=JULY_NS, wall_start_ns=JULY_NS)
    records = [replace(record, segment=segment) for record in moved.records]
    row = replace(moved.rows[0], segment=segment, records_digest=records_digest(records))
    folded.take("gpu-01", [replace(moved, rows=(row,), records=tuple(records))], b"1" * 16)
    assert total(folded) == 24 * HOUR_NS and total(folded, **JULY) == 0 and booked(folded) == {}
    assert "under another window" in folded.put_aside()[0]


def test_two_revisions_in_one_frame_are_found_again_beside_late_ones(folded: Folded) -> None:
    (batch,) = june().batches()
    july = SimulatedHost("gpu-01", epoch=b"j" * 16)
    july.hold("nvidia:GPU-7", "NVIDIA L40", "A", Interval(JULY_NS, JULY_NS + HOUR_NS), HOUR_NS)
    (open_batch,) = july.batches()
    folded.take("gpu-01", [batch])
    seal(folded)
    folded.take("gpu-01", [revised(batch, 1, {"B": HOUR_NS})], b"1" * 16)
    first, second = revised(open_batch, 0, {}), revised(open_batch, 1, {})
    folded.take("gpu-01", [replace(first, rows=first.rows + second.rows)], b"2" * 16)
    folded.take("gpu-01", [revised(open_batch, 3, {"A": 9})], b"3" * 16)
    assert total(folded, **JULY) == 9 and folded.put_aside() == []


def test_owners_whose_names_join_alike_are_booked_apart(folded: Folded) -> None:
    (batch,) = june().batches()
    folded.take("gpu-01", [batch])
    seal(folded)
    late = revised(batch, 1, {"a/b": 900, "a": 800})
    records = [
        replace(each, owner=replace(each.owner, project="c" if each.owner.tenant == "a/b" else "b/c"))
        for each in late.records
    ]
    row = replace(late.rows[0], records_digest=records_digest(records))
    folded.take("gpu-01", [replace(late, rows=(row,), records=tuple(records))], b"1" * 16)
    told = booked(folded)
    assert (told["a/b", "NVIDIA L40"], told["a", "NVIDIA L40"]) == (900, 800)


def test_a_sealed_month_stays_final_whatever_host_comes_late_or_is_enrolled_in_it(folded: Folded) -> None:
    folded.take("gpu-01", [replace(each, complete_through_ns=JULY_NS) for each in june().batches()])
    seal(folded)
    before = folded.usage(strict="true")["completeness"]
    late = SimulatedHost("gpu-02", epoch=b"f" * 16)
    late.hold("nvidia:GPU-2", "NVIDIA H100", "B", Interval(JUNE_NS, JUNE_NS + HOUR_NS), HOUR_NS)
    folded.take("gpu-02", late.batches(), late.epoch)
    decide(folded, HostSet("gpu-77", HostPhase.ENROLLED, JUNE_NS))
    assert folded.usage(strict="true")["completeness"] == before
    assert folded.usage(**JULY)["completeness"]["hosts_expected"] == 3
    beyond = folded.usage(range_to="2025-07-02T00:00:00Z")["completeness"]  # not all of it is sealed
    assert (beyond["state"], beyond["hosts_expected"]) == ("provisional", 3)


@pytest.mark.parametrize(
    ("parts", "wrong"),
    [
        ([], "time of a device in it does not add up: see /v1/conservation"),
        ([(1, 2)], ""),
        ([(0, 0.5), (0.5, 1.5), (1.5, 2)], ""),  # one behind the other
        ([(1, 1.5)], "time of a device in it does not add up: see /v1/conservation"),
    ],
)
def test_a_seal_over_a_hole_stands_if_all_of_the_hole_was_declared(
    tmp_path: Path, parts: list[tuple[float, float]], wrong: str
) -> None:
    with Folded(tmp_path) as folded:
        host = SimulatedHost("gpu-01", epoch=b"e" * 16)
        for hour in (0, 2):
            begin_ns = JUNE_NS + hour * HOUR_NS
            host.hold("nvidia:GPU-1", "NVIDIA L40", "A", Interval(begin_ns, begin_ns + HOUR_NS), HOUR_NS)
        folded.take("gpu-01", host.batches())
        for start, end in parts:
            gap = GapDeclared("gpu-01", JUNE_NS + int(start * HOUR_NS), JUNE_NS + int(end * HOUR_NS))
            decide(folded, gap)
        span, position = Interval(JUNE_NS, JULY_NS), folded.projection.position
        with snapshot(folded.projection) as seen:
            root = period_root(seen, span, position)
        decide(folded, PeriodSealed(JUNE_NS, JULY_NS, position, root.hash, root.leaves))
        assert [each.wrong for each in audit_seals(tmp_path, read_seals(tmp_path), frozenset(), None)] == [wrong]


def overlay_of(record: UsageRecord, kind: OverlayKind, tenant: str) -> Any:
    return replace(
        overlay("gpu-01", record, kind, tenant), boot_id="boot-1", usage_key=usage_key("gpu-01", "boot-1", record)
    )
