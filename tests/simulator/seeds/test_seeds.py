"""Seeds: half an hour of a host on which five things or more go wrong, in simulated time, against the truth."""

import pytest

from gputally.simulator.seeds.draw import draw
from gputally.simulator.seeds.runs import Length, Outcome, be_quiet, run_seed, run_seeds
from gputally.simulator.seeds.script import Kind

THREE_DAYS = Length(minutes=72 * 60, cadence_s=10.0)


@pytest.fixture(autouse=True)
def quiet() -> None:
    be_quiet()


def told(outcome: Outcome) -> str:
    return f"seed {outcome.seed}: {outcome.violations[:3]}; gputally simulate seeds --first {outcome.seed} --seeds 1"


@pytest.mark.parametrize("first", range(1, 33, 4))
def test_whatever_goes_wrong_the_ledger_says_what_was_so(first: int) -> None:
    for seed in range(first, first + 4):
        outcome = run_seed(seed)
        assert not outcome.violations, told(outcome)
        assert outcome.faults.total() >= 5
        assert outcome.frames and outcome.compared


def test_most_shares_are_exact_to_the_nanosecond() -> None:
    outcomes = [run_seed(seed) for seed in range(101, 107)]
    assert sum(each.exact for each in outcomes) > 0.8 * sum(each.compared for each in outcomes)


def test_without_faults_all_are_exact_but_for_those_who_open_late_or_let_go_early() -> None:
    """The kinds that hide nothing: what remains inexact are edges that no kernel tells of."""
    harmless = (Kind.STEP, Kind.AWAY, Kind.RESTORED)
    outcomes = [run_seed(seed, kinds=harmless) for seed in range(1, 5)]
    assert not any(each.violations or each.unobserved_ns or each.inferred_ns for each in outcomes)
    assert sum(each.exact for each in outcomes) > 0.9 * sum(each.compared for each in outcomes)


@pytest.mark.parametrize("seed", [1, 13, 21])
def test_the_same_seed_gives_the_same_trace_twice(seed: int) -> None:
    first, second = run_seed(seed), run_seed(seed)
    assert first.trace_hash == second.trace_hash
    assert first.trace_hash != run_seed(seed + 1).trace_hash


def test_another_process_gives_the_same_trace() -> None:
    """Nothing depends on the order of sets, the process's id or what ran before."""
    here = {seed: run_seed(seed, Length(15)).trace_hash for seed in (1, 2)}
    there = {each.seed: each.trace_hash for each in run_seeds([1, 2], Length(15), jobs=2)}
    assert here == there


def test_every_kind_of_fault_is_drawn() -> None:
    drawn = {fault.kind for seed in range(60) for fault in draw(seed).faults}
    assert drawn == set(Kind)


@pytest.mark.long
def test_a_thousand_seeds() -> None:
    failed = [each for each in run_seeds(range(1, 1001), Length(), jobs=2) if each.violations]
    assert not failed, "\n".join(map(told, failed))


@pytest.mark.long
def test_three_days_at_a_cadence_of_ten_seconds() -> None:
    for outcome in run_seeds([1, 2], THREE_DAYS, jobs=2):
        assert not outcome.violations, told(outcome)
        assert outcome.device_ns > 72 * 3600 * 10**9 * 3 // 4
