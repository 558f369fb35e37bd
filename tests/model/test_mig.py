"""MIG: an instance's time is its own, its GPU has what nobody has, and energy is counted once."""

from dataclasses import replace
from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from gputally.model.checkpoint import load, save
from gputally.model.claims import Claim
from gputally.model.conservation import check_batch, check_families, tile
from gputally.model.reading import Device, GapReason
from gputally.model.refused import Refused
from gputally.model.usage import ClaimClass, EnergySource, EventKind, Slices
from gputally.model.workload import Owner, Workload

from .host import S
from .mig_host import GPU, POWER_MW, MigHost, instance

ONES = tuple(instance(str(n), 1, 1) for n in range(7))


def lawful(host: MigHost) -> None:
    assert [v for batch in host.batches for v in check_batch(batch)] == []
    assert check_families(host.rows) == []
    places = {(row.segment.device_id, row.segment.generation) for row in host.rows}
    for device_id, generation in places:
        mine = (r.segment for r in host.rows if r.segment.device_id == device_id)
        tiling = tile(s.boot for s in mine if s.generation == generation)
        assert tiling.holes == () and tiling.overlaps == ()


def test_seven_instances_of_one_slice_are_the_whole_gpu_to_the_nanosecond_and_the_millijoule() -> None:
    host = MigHost(ONES, {device.device_id: f"t{n}" for n, device in enumerate(ONES)})
    for tick in range(61):
        host.tick(tick * S)
    assert sum(Fraction(r.allocated_ns * 1, 7) for r in host.records) == 60 * S
    (parent,) = [row for row in host.rows if row.segment.partition]
    assert (parent.stranded_compute_ns, parent.stranded_memory_ns) == (0, 60 * S)
    assert host.spent_mj() == POWER_MW * 60
    energies = [r.energy_mj or 0 for r in host.records]
    assert sum(energies) == POWER_MW * 60 and max(energies) - min(energies) <= 60
    assert {row.energy_source for row in host.rows} == {EnergySource.SLICES}
    lawful(host)


def test_slices_that_no_instance_has_are_stranded_and_their_energy_is_idle() -> None:
    """Two instances of 3 of 7 compute slices and 4 of 8 memory slices: G9, a minute of it."""
    pair = (instance("a", 3, 4), instance("b", 3, 4))
    host = MigHost(pair, {pair[0].device_id: "a"})
    for tick in range(61):
        host.tick(tick * S)
    (parent,) = [row for row in host.rows if row.segment.partition]
    assert (parent.stranded_compute_ns, parent.stranded_memory_ns) == (60 * S, 0)
    assert parent.idle_energy_mj == (parent.energy_end_mj or 0) - (parent.energy_start_mj or 0)
    assert abs(parent.idle_energy_mj * 7 - POWER_MW * 60) < 60 * 7
    assert host.spent_mj() == POWER_MW * 60
    lawful(host)


def test_what_an_instance_did_is_not_known_without_gpm_and_that_is_not_zero_busy() -> None:
    for utilization, known_ns in ((None, 0), (40, 60 * S)):
        host = MigHost(ONES[:1], {ONES[0].device_id: "a"}, utilization=utilization)
        for tick in range(61):
            host.tick(tick * S)
        (record,) = host.records
        assert (record.busy_known_ns, record.busy_ns) == (known_ns, known_ns * 40 // 100)


def test_an_instance_that_is_destroyed_and_made_again_under_its_id_is_another_generation() -> None:
    host = MigHost(ONES, {ONES[3].device_id: "a"})
    for tick in range(61):
        host.instances = tuple(d for d in ONES if d is not ONES[3]) if 20 <= tick < 40 else ONES
        host.tick(tick * S)
    host.stop()
    mine = [row.segment for row in host.rows if row.segment.device_id == ONES[3].device_id]
    assert [(s.generation, s.boot.start_ns, s.boot.end_ns) for s in mine] == [(0, 0, 20 * S), (1, 40 * S, 60 * S)]
    assert host.spent_mj() == POWER_MW * 60
    kinds = [event.kind for batch in host.batches for event in batch.events]
    assert EventKind.DEVICE_REMOVED in kinds and EventKind.DEVICE_CHANGED in kinds
    lawful(host)


def test_an_instance_that_came_back_with_other_slices_between_two_ticks_is_another_one() -> None:
    host = MigHost((instance("a", 1, 1),))
    for tick in range(61):
        host.instances = (instance("a", 1, 1),) if tick < 30 else (instance("a", 2, 2),)
        host.tick(tick * S)
    mine = [row.segment for row in host.rows if row.segment.slices]
    assert [(s.generation, s.slices.compute if s.slices else 0) for s in mine] == [(0, 1), (1, 2)]
    lawful(host)


def test_mig_switched_on_and_off_cuts_the_gpus_segment_and_loses_no_energy_at_the_readings() -> None:
    host = MigHost((), partition=None)
    for tick in range(91):
        from_to = 20 <= tick < 40
        host.partition, host.instances = (Partition_78 if from_to else None), ONES if from_to else ()
        host.tick(tick * S)
    host.stop()
    gpu = [row for row in host.rows if row.segment.device_id == GPU]
    assert [row.segment.boot.start_ns for row in gpu][:4] == [0, 20 * S, 40 * S, 60 * S]
    assert [bool(row.segment.partition) for row in gpu][:3] == [False, True, False]
    lawful(host)
    assert host.spent_mj() == POWER_MW * 90 // 1


Partition_78 = MigHost().partition


def test_a_gpu_that_is_lost_takes_its_instances_along_and_they_exist_all_the_same() -> None:
    host = MigHost(ONES, {device.device_id: "a" for device in ONES})
    for tick in range(61):
        host.tick(tick * S, GapReason.GPU_LOST if 20 <= tick < 40 else None)
    for row in host.rows:
        assert row.segment.partition or dict(row.unobserved_ns) == {"gpu_lost": 21 * S}
    assert host.spent_mj() == POWER_MW * 60
    lawful(host)


def test_a_claim_on_the_gpu_is_one_on_each_of_its_instances() -> None:
    claim = Claim(GPU, ClaimClass.LEASE, Workload("lease", "acme"), Owner("acme"), 0)
    host = MigHost(ONES, claims=(claim,))
    for tick in range(61):
        host.tick(tick * S)
    assert [(r.owner.tenant, r.allocated_ns) for r in host.records] == [("acme", 60 * S)] * 7
    lawful(host)


layouts = st.lists(st.sampled_from(ONES), unique=True, max_size=7).map(tuple)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(layouts, st.booleans(), st.integers(100_000_000, 2_000_000_000)), min_size=2, max_size=60),
    st.sets(st.integers(1, 59), max_size=3),
)
def test_whatever_happens_to_a_family_slices_and_millijoules_are_counted_once(
    ticks: list[tuple[tuple[Device, ...], bool, int]], crashes: set[int]
) -> None:
    host = MigHost(tenants={ONES[0].device_id: "a", ONES[1].device_id: "b"})
    at_ns = first_ns = last_ns = 0
    for number, (layout, hangs, delay_ns) in enumerate(ticks):
        at_ns += delay_ns
        first_ns = first_ns or at_ns
        if not hangs or number == 0:
            host.instances, last_ns = layout, at_ns
        host.tick(at_ns, GapReason.NVML_HANG if hangs and number else None)
        if number in crashes:
            host.meter = load(save(host.meter, Refused()))[0]
    host.stop()
    lawful(host)
    assert host.spent_mj() == POWER_MW * last_ns // S - POWER_MW * first_ns // S


def test_a_process_outside_all_instances_gets_nothing_of_a_gpu_in_mig_mode_over_a_restart() -> None:
    host = MigHost(ONES[:3], {GPU: "outsider", ONES[0].device_id: "a"})
    for tick in (*range(20), *range(40, 61)):
        if tick == 40:
            host.meter = load(save(host.meter, Refused()))[0]
        host.tick(tick * S)
    assert {r.owner.tenant for r in host.records} == {"a"}
    lawful(host)


def test_slices_that_cannot_be_are_a_violation() -> None:
    host = MigHost(ONES)
    for tick in range(61):
        host.tick(tick * S)
    batch = next(batch for batch in host.batches if batch.rows)
    for slices in (Slices(GPU, 1, 0, 1, 8), Slices(GPU, 9, 7, 1, 8), Slices(GPU, 1, 4_000_000_000, 1, 8)):
        row = next(row for row in batch.rows if row.segment.slices)
        wrong = replace(row, segment=replace(row.segment, slices=slices))
        assert "slices that cannot be" in str(check_batch(replace(batch, records=(), rows=(wrong,))))
