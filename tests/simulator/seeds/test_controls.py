"""A simulation that cannot fail proves nothing: without its protection, the seeds of each fault do."""

import pytest

from gputally.simulator.seeds.controls import CONTROLS
from gputally.simulator.seeds.runs import Length, be_quiet, run_seed
from gputally.simulator.seeds.script import Kind

LENGTH = Length(minutes=15)
WITHIN_SEEDS = 10


@pytest.mark.parametrize("name", CONTROLS)
def test_without_its_protection_a_fault_is_not_survived(name: str) -> None:
    be_quiet()
    control = CONTROLS[name]
    for seed in range(1, WITHIN_SEEDS + 1):
        with control.off():
            failed = run_seed(seed, LENGTH, control.kinds).violations
        if failed:
            assert not run_seed(seed, LENGTH, control.kinds).violations, "it fails with the protection, too"
            return
    pytest.fail(f"{control.words}: and nobody notices")


def test_every_kind_of_fault_has_a_control() -> None:
    assert {kind for control in CONTROLS.values() for kind in control.kinds} == set(Kind)
