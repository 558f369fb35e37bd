"""Exclusions: exact parts, and no instant excluded twice."""

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from gputally.model.decisions import ExclusionKind, ExclusionSet
from gputally.model.excluding import Had, exclude
from gputally.model.prorated import total


def exclusion(from_ns: int, length: int, tenant: str, host: str) -> ExclusionSet:
    kind = ExclusionKind.MAINTENANCE
    return ExclusionSet("x", kind, from_ns, from_ns + length, "kim", tenant=tenant, host_id=host)


def had(start: int, length: int, amount: int, tenant: str, host: str) -> Had:
    return Had(tenant, "H100", "", host, "", "", start, start + length, amount)


tenants, hosts = st.sampled_from("AB"), st.sampled_from("12")
starts, lengths = st.integers(0, 30), st.integers(1, 20)
everything_had = st.lists(st.builds(had, starts, lengths, st.integers(0, 99), tenants, hosts), max_size=6)
exclusions = st.lists(
    st.builds(exclusion, starts, lengths, st.sampled_from(("", "A")), st.sampled_from(("", "1"))), max_size=4
)


@given(everything_had, exclusions)
def test_what_is_excluded_is_what_lies_in_any_exclusion_once(told: list[Had], by: list[ExclusionSet]) -> None:
    expected = Fraction(0)
    for each in told:
        inside = sum(
            any(x.from_ns <= at < x.to_ns and x.tenant in ("", each.tenant) and x.host_id in ("", each.host_id)
                for x in by)
            for at in range(each.start_ns, each.end_ns)
        )  # fmt: skip
        expected += Fraction(each.amount * inside, each.end_ns - each.start_ns)
    sums = exclude(told, by)
    numerator, denominator = total(part for each in sums.values() for part in each.taken.values()).ratio()
    assert Fraction(numerator, denominator) == expected
    assert sum(each.gross for each in sums.values()) == sum(each.amount for each in told)


def test_of_two_that_overlap_the_first_decided_takes_the_time() -> None:
    by = [exclusion(10, 10, "", ""), exclusion(0, 15, "", "")]
    (sums,) = exclude([had(0, 20, 20, "A", "1")], by).values()
    assert {place: part.floored() for place, part in sums.taken.items()} == {0: 10, 1: 10}


def test_a_gpus_exclusion_is_its_instances_too() -> None:
    what = ExclusionSet("x", ExclusionKind.FAILED_NODE, 0, 10, "kim", device_id="GPU-1")
    instance = Had("A", "MIG", "", "", "MIG-1", "GPU-1", 0, 10, 10)
    (sums,) = exclude([instance, instance._replace(gpu_id="GPU-2")], [what]).values()
    assert (sums.gross, sums.taken[0].floored()) == (20, 10)
