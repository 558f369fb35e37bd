"""Which process a stamp speaks of: certain, or nobody."""

from hypothesis import given
from hypothesis import strategies as st

from gputally.model.workload import Holder, Owner, ProcessId, Workload
from gputally.plugins.attribution.lives import EARLY_NS, LATE_NS, Life, whose
from gputally.plugins.attribution.memory import MOST_REMEMBERED, REMEMBERED_S, Memory

S = 1_000_000_000
TICK = 10_000_000


def life(start_ns: int, end_ns: int | None, *, pid: int = 7, start: int = TICK, end: int = 0, who: str = "x") -> Life:
    process = ProcessId(pid, start_ns // TICK * TICK)
    return Life(process, start_ns, end_ns, start, end, Holder(process, Workload("service", who), Owner(who)))


FIRST, SECOND = life(10 * S, 20 * S), life(30 * S, 40 * S)


def test_a_stamp_within_a_life_is_of_that_life() -> None:
    assert whose([FIRST, SECOND], (15 * S,)) is FIRST
    assert whose([FIRST, SECOND], (35 * S, 39 * S)) is SECOND


def test_a_stamp_when_nobody_had_the_pid_is_of_nobody() -> None:
    assert whose([FIRST, SECOND], (25 * S,)) is None
    assert whose([], (25 * S,)) is None


def test_stamps_of_two_processes_are_not_given_to_either() -> None:
    assert whose([FIRST, SECOND], (15 * S, 35 * S)) is None


def test_no_stamp_at_all_is_of_nobody() -> None:
    assert whose([FIRST], ()) is None


def test_a_sample_is_stamped_at_the_end_of_its_period_when_its_process_may_be_gone() -> None:
    assert whose([FIRST, SECOND], (20 * S + LATE_NS,)) is FIRST
    assert whose([FIRST, SECOND], (20 * S + LATE_NS + 1,)) is None


def test_a_late_sample_is_of_nobody_if_the_pid_had_already_been_given_away_and_that_one_ended_too() -> None:
    short = life(20 * S + 1, 20 * S + 2, start=0)
    assert whose([FIRST, short], (20 * S + 100,)) is None


def test_a_late_sample_is_the_next_processs_once_that_surely_had_the_pid() -> None:
    soon = life(20 * S + TICK, None)
    assert whose([FIRST, soon], (20 * S + 3 * TICK,)) is soon
    assert whose([FIRST, soon], (20 * S + TICK + 1,)) is None


def test_a_start_that_is_cut_off_to_the_tick_leaves_a_doubt() -> None:
    begins = life(20 * S, None, start=TICK)
    assert not begins.had_pid_at(20 * S + TICK - 1)
    assert begins.had_pid_at(20 * S + TICK)
    assert whose([begins], (20 * S - EARLY_NS,)) is begins


@given(st.lists(st.integers(0, 60 * S), min_size=2, max_size=12, unique=True), st.integers(0, 61 * S))
def test_a_stamp_is_never_given_to_a_process_while_another_one_surely_had_the_pid(edges: list[int], at: int) -> None:
    edges = sorted(edges)
    lives = [life(start, end, start=0) for start, end in zip(edges[::2], edges[1::2], strict=False)]
    found = whose(lives, (at,))
    sure = [each for each in lives if each.had_pid_at(at)]
    assert found is (sure[0] if sure else found)
    assert found is None or found.may_have_left(at)


def test_a_memory_is_bounded_by_number_and_says_what_it_dropped() -> None:
    memory = Memory()
    for pid in range(MOST_REMEMBERED + 3):
        memory.remember(life(pid, pid + 1, pid=pid))
    assert (len(memory), memory.dropped) == (MOST_REMEMBERED, 3)
    assert not memory.lives_of(2)
    assert memory.lives_of(3)


def test_a_memory_is_bounded_by_time() -> None:
    memory = Memory()
    memory.remember(FIRST)
    memory.remember(SECOND)
    memory.forget_old(20 * S + REMEMBERED_S * S)
    assert memory.lives_of(7) == [FIRST, SECOND]
    memory.forget_old(20 * S + REMEMBERED_S * S + 1)
    assert memory.lives_of(7) == [SECOND]
    memory.forget_old(40 * S + REMEMBERED_S * S + 1)
    assert (len(memory), memory.dropped) == (0, 0)


def test_two_accounts_of_one_life_make_a_better_one() -> None:
    """Its pidfd knew whose it was, the kernel's events knew when."""
    memory = Memory()
    known = life(10 * S, 20 * S + 900, start=TICK, end=2_000_000)
    exact = life(10 * S + 500, 20 * S, start=0, end=0, who="y")
    for first, second in ((known, exact), (exact, known)):
        memory = Memory()
        memory.remember(first)
        memory.remember(second)
        (best,) = memory.lives_of(7)
        assert (best.start_ns, best.end_ns, best.uncertainty_ns) == (10 * S + 500, 20 * S, 0)
        assert best.known_as is first.known_as
