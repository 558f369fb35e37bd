"""Plain data come back as what they were."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gputally.model.plain import from_plain, to_plain
from gputally.model.tally import Quality, Shared, Sharers, Tally
from gputally.model.usage import Sharing
from gputally.model.workload import Holder, Owner, ProcessId, Workload

workloads = st.builds(Workload, st.text(max_size=5), st.text(max_size=5))
owners = st.builds(Owner, st.text(max_size=5), tags=st.just((("a", "b"),)))
holders = st.builds(Holder, st.builds(ProcessId, st.integers(0, 9), st.integers()), workloads, owners)
shared = st.builds(Shared, st.integers(), st.integers(), st.dictionaries(workloads, st.integers()))
units = st.lists(st.tuples(workloads, st.integers(1, 9))).map(tuple)
keys = st.builds(Sharers, units, st.sampled_from(Quality))
tallies = st.builds(
    Tally, st.sampled_from(Sharing), idle_ns=st.integers(), shared=st.dictionaries(keys, shared, max_size=4)
)


@given(holders)
def test_a_holder_comes_back(holder: Holder) -> None:
    assert from_plain(Holder, to_plain(holder)) == holder


@given(tallies)
def test_a_tally_comes_back_and_goes_on_counting(tally: Tally) -> None:
    again = from_plain(Tally, to_plain(tally))
    assert again == tally
    again.unobserved_ns["new"] += 1


@pytest.mark.parametrize("data", [None, 7, [], ["kind"], ["kind", 3], ["kind", "id", "more"]])
def test_what_does_not_fit_is_refused(data: object) -> None:
    with pytest.raises((ValueError, TypeError, IndexError)):
        from_plain(Workload, data)
