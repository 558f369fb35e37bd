"""A fleet's truth: every nanosecond is somebody's, and the frames say what the plan says."""

from collections import Counter
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from gputally.proto.convert import decode_batch
from gputally.simulator.fleet.frames import frames_of
from gputally.simulator.fleet.plan import FleetPlan
from gputally.simulator.fleet.truth import compare, truth_of

S = 1_000_000_000
PLAN = FleetPlan("f", hosts=3, gpus=8, windows=40, window_ns=60 * S, start_ns=1_748_736_000 * S, tenants=4, seed=1)


@given(st.integers(0, 10_000), st.integers(0, 63), st.integers(0, 500_000), st.integers(1, 9), st.integers())
def test_a_gpus_time_in_a_window_is_all_accounted_for(
    host: int, gpu: int, window: int, tenants: int, seed: int
) -> None:
    use = replace(PLAN, tenants=tenants, seed=seed).use(host, gpu, window)
    allocated_ns = sum(share.allocated_ns for share in use.shares)
    assert allocated_ns + use.idle_ns + use.unobserved_ns == PLAN.window_ns
    assert all(0 <= share.allocated_ns <= share.held_ns <= PLAN.window_ns for share in use.shares)
    assert len({share.tenant for share in use.shares}) == len(use.shares)


def test_all_kinds_of_use_occur_and_there_is_one_record_for_each_gpu_and_window_on_average() -> None:
    uses = [PLAN.use(host, gpu, window) for host in range(3) for gpu in range(8) for window in range(400)]
    records = sum(len(use.shares) for use in uses)
    assert any(use.unobserved_ns for use in uses) and any(len(use.shares) == 2 for use in uses)
    assert any(use.idle_ns and use.shares for use in uses) and any(not use.shares for use in uses)
    assert 0.95 < records / len(uses) < 1.05


def test_the_frames_hold_what_the_truth_says() -> None:
    said: Counter[tuple[str, str]] = Counter()
    for frame in frames_of(PLAN, 1, b"e" * 16):
        for record in decode_batch(frame.payload()).records:
            said[record.owner.tenant, record.segment.gpu_model] += record.allocated_ns
    assert compare("allocated", truth_of(PLAN, {1: PLAN.windows}).allocated, said) == []


def test_the_truth_of_some_windows_is_that_of_these_alone() -> None:
    first, both = truth_of(PLAN, {0: 10}), truth_of(PLAN, {0: 10, 2: 5})
    both.allocated.subtract(first.allocated)
    assert +both.allocated == truth_of(PLAN, {2: 5}).allocated


def test_one_nanosecond_too_much_and_a_tenant_that_is_nobodys_are_differences() -> None:
    truth = truth_of(PLAN, {0: 10}).allocated
    wrong = truth.copy()
    key = next(iter(wrong))
    wrong[key] += 1
    wrong["stranger", "GPU"] = 5
    assert [each.answered_ns - each.truth_ns for each in compare("held", truth, wrong)] == [1, 5]
    assert compare("held", truth, Counter())[0].answered_ns == 0


def test_another_seed_is_other_usage() -> None:
    assert truth_of(PLAN, {0: 10}) != truth_of(replace(PLAN, seed=2), {0: 10})
