"""Two readings of a workload's counters, and what they say of the time between."""

from dataclasses import replace
from itertools import accumulate, pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gputally.model.consumption import Consumed, Increment, carry, increment, join, places_of
from gputally.model.interval import Interval
from gputally.model.workload import Holder, Owner, ProcessId, Workload

S = 1_000_000_000
ALWAYS_NS = 10**18
COUNTERS = ("cpu_us", "io_read_bytes", "io_write_bytes", "net_rx_bytes", "net_tx_bytes")
U64 = st.integers(0, 2**64 - 1)
MAYBE = st.none() | U64


def consumed(at_ns: int, **values: int) -> Consumed:
    """Everything known and 0 but what is said."""
    told: dict[str, Any] = {**dict.fromkeys((*COUNTERS, "memory_bytes"), 0), "group_inode": 7, **values}
    return Consumed(at_ns, **told, network_id="1:a")


@st.composite
def readings(draw: st.DrawFn) -> list[Consumed]:
    """Successive readings of one workload: counters that may be unknown, fall, or be of another group."""
    steps = draw(st.lists(st.integers(1, 10**12), min_size=2, max_size=8))
    values: dict[str, st.SearchStrategy[Any]] = {
        **dict.fromkeys((*COUNTERS, "memory_bytes"), MAYBE),
        "group_inode": st.none() | st.integers(1, 2),
        "network_id": st.sampled_from([None, "1:a", "2:a"]),
    }
    instants = accumulate(steps)
    return [Consumed(at_ns, **{name: draw(value) for name, value in values.items()}) for at_ns in instants]


@given(readings())
def test_no_increment_is_negative_and_none_is_known_where_an_end_is_not(all_of_it: list[Consumed]) -> None:
    for before, now in pairwise(all_of_it):
        found = increment(before, now, ALWAYS_NS)
        assert found is not None
        for name in COUNTERS:
            grown, ends = getattr(found, name), (getattr(before, name), getattr(now, name))
            assert grown is None or grown == ends[1] - ends[0] >= 0
            assert grown is None or None not in ends
        assert found.memory_byte_ns is None or found.memory_byte_ns == (before.memory_bytes or 0) * found.boot.length_ns


@given(readings())
def test_nothing_is_known_of_counters_over_two_groups(all_of_it: list[Consumed]) -> None:
    for before, now in pairwise(all_of_it):
        found = increment(before, now, ALWAYS_NS)
        assert found is not None
        if before.group_inode != now.group_inode or before.group_inode is None:
            assert (found.cpu_us, found.memory_byte_ns, found.io_read_bytes, found.io_write_bytes) == (None,) * 4
        if before.network_id != now.network_id or before.network_id is None:
            assert (found.net_rx_bytes, found.net_tx_bytes) == (None, None)


@given(st.lists(st.tuples(st.integers(1, 10**12), st.integers(0, 2**40), st.integers(0, 2**45)), min_size=2))
def test_increments_add_up_to_the_counter_and_to_the_integral_however_often_it_is_read(
    steps: list[tuple[int, int, int]],
) -> None:
    at_ns = total = 0
    all_of_it: list[Consumed] = []
    for length_ns, grown, memory in steps:
        at_ns, total = at_ns + length_ns, total + grown
        all_of_it.append(consumed(at_ns, cpu_us=total, memory_bytes=memory))
    found = [each for pair in pairwise(all_of_it) if (each := increment(*pair, ALWAYS_NS))]
    whole = found[0]
    for each in found[1:]:
        whole = join(whole, each)
    assert whole.cpu_us == all_of_it[-1].cpu_us - all_of_it[0].cpu_us  # type: ignore[operator]
    exact = sum((now.at_ns - before.at_ns) * (before.memory_bytes or 0) for before, now in pairwise(all_of_it))
    assert whole.memory_byte_ns == exact


@given(st.lists(st.integers(0, 2**70), min_size=1), st.integers(0, 999_999))
def test_records_lose_no_byte_nanosecond_between_them(integrals: list[int], carried: int) -> None:
    left, told = carried, 0
    for number, byte_ns in enumerate(integrals):
        part = carry(Increment(Interval(number, number + 1), memory_byte_ns=byte_ns), left)
        told, left = told + (part.memory_byte_ms or 0), part.carried_byte_ns
        assert 0 <= left < 1_000_000
    assert told * 1_000_000 + left == sum(integrals) + carried


def test_a_group_made_anew_under_the_same_name_starts_anew_even_where_its_counter_is_higher() -> None:
    before = consumed(S, cpu_us=5)
    found = increment(before, replace(before, at_ns=2 * S, cpu_us=9, group_inode=8), ALWAYS_NS)
    assert found is not None
    assert found.cpu_us is None


def test_a_new_group_has_a_new_network_even_where_the_kernel_gave_it_the_old_number() -> None:
    before = consumed(S)
    found = increment(before, replace(before, at_ns=2 * S, net_rx_bytes=9, group_inode=8), ALWAYS_NS)
    assert found is not None
    assert found.net_rx_bytes is None


def test_one_counter_that_fell_takes_no_other_with_it() -> None:
    found = increment(consumed(S, cpu_us=5, io_read_bytes=5), consumed(2 * S, cpu_us=4, io_read_bytes=7), ALWAYS_NS)
    assert found is not None
    assert (found.cpu_us, found.io_read_bytes) == (None, 2)


def test_memory_is_not_extrapolated_over_more_than_its_limit_and_counters_are_exact_all_the_same() -> None:
    ends = consumed(S, cpu_us=1, memory_bytes=10), consumed(5 * S, cpu_us=3, memory_bytes=10)
    assert (near := increment(*ends, 4 * S)) is not None and near.memory_byte_ms == 40_000
    far = increment(*ends, 4 * S - 1)
    assert far is not None
    assert (far.memory_byte_ms, far.cpu_us) == (None, 2)


@pytest.mark.parametrize("later_ns", [0, -1])
def test_a_reading_that_is_not_later_says_nothing(later_ns: int) -> None:
    assert increment(consumed(S), consumed(S + later_ns), ALWAYS_NS) is None


def test_increments_with_a_hole_between_them_are_not_joined() -> None:
    with pytest.raises(ValueError, match="not neighbours"):
        join(Increment(Interval(0, 1)), Increment(Interval(2, 3)))


def test_what_was_unknown_for_a_part_is_unknown_for_the_whole() -> None:
    whole = join(Increment(Interval(0, 1), cpu_us=1, net_rx_bytes=2), Increment(Interval(1, 2), cpu_us=1))
    assert (whole.cpu_us, whole.net_rx_bytes) == (2, None)


def test_a_workload_is_found_where_its_earliest_process_sits() -> None:
    docker = Workload("docker", "a")
    late = Holder(ProcessId(5, 90), docker, Owner("acme"), "/docker/late")
    early = Holder(ProcessId(9, 10), docker, Owner("acme"), "/docker/a")
    other = Holder(ProcessId(2, 20), Workload("user", "1000"), Owner("bob"), "/user.slice/user-1000.slice")
    places = places_of([late, other, early])
    assert places[docker].boundary == "/docker/a"
    assert places[docker].processes == (early.process, late.process)
    assert set(places) == {docker, other.workload}
