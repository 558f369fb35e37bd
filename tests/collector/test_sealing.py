"""What a seal stands for: the content of a period, whatever the order in which it came."""

from collections.abc import Iterable
from dataclasses import replace
from itertools import permutations
from pathlib import Path

from gputally.collector.deciding import own_stream
from gputally.collector.sealing import period_root, prove
from gputally.model.decisions import Decided, Decision, ExclusionKind, ExclusionSet, GapDeclared, PeriodSealed
from gputally.model.interval import Interval
from gputally.model.merkle import Root, is_included
from gputally.model.usage import Batch
from gputally.proto.convert_decision import encode_decided
from gputally.simulator.stream import SimulatedHost
from gputally.storage.frame import genesis_hash, make_frame
from gputally.storage.projection_decisions import decided_in_force
from gputally.storage.projection_reader import snapshot

from .folded import Folded
from .running import HOUR_NS, JUNE_NS

JUNE = Interval(JUNE_NS, JUNE_NS + 720 * HOUR_NS)


def batches(name: str, tenant: str = "A") -> list[Batch]:
    host = SimulatedHost(name, records_per_frame=100)
    host.hold(f"nvidia:GPU-{name}", "NVIDIA L40", tenant, JUNE, 24 * HOUR_NS)
    return list(host.batches())


def revised(batch: Batch) -> Batch:
    """Every record once more, with another owner."""
    from gputally.model.identity import records_digest

    records = tuple(replace(each, revision=1, owner=replace(each.owner, project="p")) for each in batch.records)
    by_segment = {each.segment: each for each in records}
    rows = tuple(
        replace(row, revision=1, records_digest=records_digest([by_segment[row.segment]])) for row in batch.rows
    )
    return replace(batch, records=records, rows=rows)


def decide(folded: Folded, decisions: Iterable[Decision]) -> None:
    stream = own_stream(folded.ledger.ledger_id)
    previous = genesis_hash(stream.host_id, stream.epoch)
    frames = []
    for seq, what in enumerate(decisions, 1):
        frames.append(make_frame(stream.epoch, seq, previous, 0, encode_decided(Decided("kim", seq, "why", what))))
        previous = frames[-1].hash
    folded.take_frames(stream.host_id, frames, stream.epoch)


def root(folded: Folded, span: Interval = JUNE, as_of: int | None = None) -> Root:
    with snapshot(folded.projection) as seen:
        return period_root(seen, span, seen.position if as_of is None else as_of)


def test_the_order_in_which_hosts_came_is_no_part_of_it(tmp_path: Path) -> None:
    roots = set()
    for number, names in enumerate(permutations(("gpu-01", "gpu-02", "gpu-03"))):
        folder = tmp_path / str(number)
        folder.mkdir()
        with Folded(folder) as folded:
            for name in names:
                folded.take(name, batches(name))
            roots.add(root(folded))
    assert len(roots) == 1 and roots.pop().leaves == 3 * 2 * 30


def test_a_revision_takes_the_place_of_what_it_revises(tmp_path: Path) -> None:
    with Folded(tmp_path) as folded:
        (batch,) = batches("gpu-01")
        folded.take("gpu-01", [batch])
        first, as_of = root(folded), folded.projection.position
        folded.take("gpu-01", [batch, revised(batch)], epoch=b"f" * 16)
        second = root(folded)
        assert first.leaves == second.leaves == 60 and first != second
        assert root(folded, as_of=as_of) == first
    other = tmp_path / "other"
    other.mkdir()
    with Folded(other) as folded:  # as a host says it whose first word was lost
        folded.take("gpu-01", [revised(batch)])
        assert root(folded) == second


def test_another_owner_another_hour_or_another_decision_is_another_root(tmp_path: Path) -> None:
    exclusion = ExclusionSet("m", ExclusionKind.MAINTENANCE, JUNE.start_ns, JUNE.end_ns, "kim")
    stories: list[tuple[str, list[Decision]]] = [
        ("A", []),
        ("B", []),
        ("A", [exclusion]),
        ("A", [replace(exclusion, approver="lee")]),
        ("A", [GapDeclared("gpu-01", JUNE.start_ns, JUNE.end_ns)]),
    ]
    roots: list[Root] = []
    for number, (tenant, decisions) in enumerate(stories):
        (tmp_path / str(number)).mkdir()
        with Folded(tmp_path / str(number)) as folded:
            folded.take("gpu-01", batches("gpu-01", tenant))
            decide(folded, decisions)
            roots += [root(folded), root(folded, Interval(JUNE.start_ns, JUNE.end_ns - 24 * HOUR_NS))]
    assert len(set(roots)) == len(roots)
    assert [each.leaves for each in roots[::2]] == [60, 60, 61, 61, 61]


def test_an_exclusion_that_was_ended_is_not_under_a_seal(tmp_path: Path) -> None:
    exclusion = ExclusionSet("m", ExclusionKind.MAINTENANCE, JUNE.start_ns, JUNE.end_ns, "kim")
    with Folded(tmp_path) as folded:
        folded.take("gpu-01", batches("gpu-01"))
        before = root(folded)
        decide(folded, [exclusion, replace(exclusion, ended=True)])
        assert root(folded) == before


def test_every_record_that_is_wanted_is_proven(tmp_path: Path) -> None:
    with Folded(tmp_path) as folded:
        for name in ("gpu-01", "gpu-02"):
            folded.take(name, batches(name))
        with snapshot(folded.projection) as seen:
            seal = PeriodSealed(JUNE.start_ns, JUNE.end_ns, seen.position, b"", 0)
            proven = prove(seen, seal, lambda stored, _: stored.host_id == "gpu-02")
        assert proven.root == root(folded) and len(proven.records) == len(proven.inclusions) == 30
        for leaf, inclusion in proven.inclusions.items():
            assert is_included(leaf, inclusion, proven.root)


def test_an_empty_period_has_the_root_of_nothing(tmp_path: Path) -> None:
    with Folded(tmp_path) as folded:
        assert root(folded).leaves == 0


def test_what_comes_late_changes_no_sealed_root_and_is_under_the_next_seal(tmp_path: Path) -> None:
    (batch,) = batches("gpu-01")
    july = Interval(JUNE.end_ns, JUNE.end_ns + 24 * HOUR_NS)
    with Folded(tmp_path) as folded:
        folded.take("gpu-01", [batch])
        made = root(folded)
        seal = PeriodSealed(JUNE.start_ns, JUNE.end_ns, folded.projection.position, made.hash, made.leaves)
        decide(folded, [seal])
        assert root(folded, july).leaves == 0
        folded.take("gpu-02", batches("gpu-02", "B"))
        assert root(folded) == made
        assert root(folded, july).leaves == 30  # an adjustment for each late segment


def test_a_seal_that_a_decision_has_overtaken_holds_nothing(tmp_path: Path) -> None:
    exclusion = ExclusionSet("m", ExclusionKind.MAINTENANCE, JUNE.start_ns, JUNE.end_ns, "kim")
    with Folded(tmp_path) as folded:
        folded.take("gpu-01", batches("gpu-01"))
        made = root(folded)
        seal = PeriodSealed(JUNE.start_ns, JUNE.end_ns, folded.projection.position, made.hash, made.leaves)
        decide(folded, [exclusion, seal])
        with snapshot(folded.projection) as seen:
            assert decided_in_force(seen, PeriodSealed) == []
