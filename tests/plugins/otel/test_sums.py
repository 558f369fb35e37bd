"""Tenants' sums grow by whole nanoseconds, and their number has an end."""

from gputally.model.reading import GapReason
from gputally.plugins.otel.sums import OTHER, Party, Sums

from .sightings import H100, S, batch


def test_sums_add_up_over_batches_in_integers() -> None:
    sums = Sums()
    for _ in range(3):
        sums.add(batch())
    totals = sums.totals
    assert totals.allocated_ns == {Party("acme", "vision", H100): 3 * 45 * S}
    assert totals.busy_ns == {Party("acme", "vision", H100): 3 * S // 2}
    assert totals.energy_mj == {Party("acme", "vision", H100): 4_500}
    assert totals.idle_ns == {H100: 3 * 15 * S}
    assert totals.unobserved_ns == {(H100, GapReason.NVML_HANG): 3}


def test_what_was_read_before_does_not_change_under_the_reader() -> None:
    sums = Sums()
    sums.add(batch())
    before = sums.totals
    sums.add(batch(tenant="other"))
    assert len(before.allocated_ns) == 1


def test_a_later_revision_is_not_counted_twice() -> None:
    sums = Sums()
    sums.add(batch())
    sums.add(batch(revision=1))
    assert sums.totals.allocated_ns == {Party("acme", "vision", H100): 45 * S}
    assert sums.totals.idle_ns == {H100: 15 * S}
    assert sums.totals.revisions == 2


def test_tenants_beyond_the_cap_are_summed_as_other_and_no_time_is_lost() -> None:
    sums = Sums(cap=2)
    for tenant in ("a", "b", "c", "d", "a"):
        sums.add(batch(tenant))
    assert sorted(party.tenant for party in sums.totals.allocated_ns) == [OTHER, "a", "b"]
    assert sum(sums.totals.allocated_ns.values()) == 5 * 45 * S
    assert sums.totals.folded == 2


def test_a_label_of_a_megabyte_is_cut() -> None:
    sums = Sums()
    sums.add(batch("x" * 1_000_000))
    [party] = sums.totals.allocated_ns
    assert len(party.tenant) == 255
