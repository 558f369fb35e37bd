"""How many replicas were alive: told once by the law, once by counting every nanosecond."""

from hypothesis import given
from hypothesis import strategies as st

from gputally.model.interval import Interval
from gputally.model.replicas import Life, Replicas, count_replicas, extend, group_of
from gputally.model.workload import Holder, Owner, ProcessId, Workload

LIVES = st.lists(
    st.builds(
        lambda group, start, length: Life(group, start, start + length),
        st.sampled_from("abc"),
        st.integers(-20, 60),
        st.integers(0, 40),
    ),
    max_size=12,
)
WITHIN = st.builds(lambda start, length: Interval(start, start + length), st.integers(-10, 40), st.integers(1, 40))


def counted_by_hand(lives: list[Life], within: Interval) -> Replicas:
    alive = [
        len({life.group for life in lives if life.start_ns <= at < life.end_ns})
        for at in range(within.start_ns, within.end_ns)
    ]
    return Replicas(sum(alive), max(alive), min(alive))


@given(LIVES, WITHIN)
def test_it_is_what_counting_every_nanosecond_gives(lives: list[Life], within: Interval) -> None:
    assert count_replicas(lives, within) == counted_by_hand(lives, within)


@given(LIVES, WITHIN)
def test_lives_that_are_joined_as_they_come_count_the_same(lives: list[Life], within: Interval) -> None:
    short: list[Life] = []
    for life in sorted(lives, key=lambda life: life.start_ns):
        extend(short, life)
    assert len(short) <= len(lives)
    assert count_replicas(short, within) == count_replicas(lives, within)


@given(LIVES, LIVES, WITHIN)
def test_integrals_of_different_workloads_add_up_and_the_most_do_not(
    one: list[Life], other: list[Life], within: Interval
) -> None:
    apart = [Life("x" + life.group, life.start_ns, life.end_ns) for life in other]
    both, first, second = (count_replicas(lives, within) for lives in (one + apart, one, apart))
    assert both.ns == first.ns + second.ns
    assert max(first.most, second.most) <= both.most <= first.most + second.most


def test_a_window_of_ticks_stays_one_life() -> None:
    lives: list[Life] = []
    for tick in range(60):
        extend(lives, Life("a", tick, tick + 1))
        extend(lives, Life("b", tick, tick + 1))
    assert lives == [Life("a", 0, 60), Life("b", 0, 60)]


def test_eight_processes_of_one_container_are_one_replica() -> None:
    holders = [Holder(ProcessId(pid, 1), Workload("docker", "a"), Owner("acme"), "/docker/a", 7) for pid in range(1, 9)]
    lives = [Life(group_of(holder), 0, 10) for holder in holders]
    assert count_replicas(lives, Interval(0, 10)) == Replicas(10, 1, 1)


def test_a_unit_that_is_started_anew_is_another_group_and_never_two_at_once() -> None:
    unit = Workload("service", "train.service")
    first, second = (
        Holder(ProcessId(pid, 1), unit, Owner("acme"), "/system.slice/train.service", inode)
        for pid, inode in ((1, 7), (2, 8))
    )
    lives = [Life(group_of(first), 0, 40), Life(group_of(second), 45, 60)]
    assert count_replicas(lives, Interval(0, 60)) == Replicas(55, 1, 0)


def test_a_workload_whose_group_is_not_known_counts_once() -> None:
    hidden = Holder(ProcessId(1, 1), Workload("cgroup", "?cgroup_hidden"), Owner())
    assert group_of(hidden) == "cgroup:?cgroup_hidden"
