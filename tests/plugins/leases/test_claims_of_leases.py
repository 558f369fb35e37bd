"""Leases as claims: when they begin and end in the clock that durations come from, and on which devices."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gputally.model.claims import Claim
from gputally.model.usage import ClaimClass
from gputally.plugins.leases.edges import WRONG_CLOCK_NS, Edges
from gputally.plugins.ports import ClaimSource

from .paper import BOOT_WALL_NS, GPU, GPUS, HOUR, MIG, PaperClock, S, at, lease, write

DAY = 24 * HOUR


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "leases.toml"


def spans(claims: tuple[Claim, ...]) -> list[tuple[int, int | None]]:
    return [(claim.start_ns, claim.end_ns) for claim in claims]


def test_a_lease_is_a_claim_of_its_class_with_its_owner_and_evidence(path: Path) -> None:
    clock = PaperClock(path, lease("l1", project='"p"', units="1", of="4"))
    source: ClaimSource = clock.source
    (claim,) = clock.ask(0)
    assert (claim.device_id, claim.claim_class, claim.workload.subject_id) == (GPU, ClaimClass.LEASE, "lease:l1")
    assert (claim.owner.tenant, claim.owner.project, claim.owner.rule) == ("acme", "p", "lease l1")
    assert (claim.units, claim.of, claim.evidence) == (1, 4, "lease file: l1")
    assert len(source.version) == 16


def test_a_lease_older_than_the_boot_began_before_it(path: Path) -> None:
    assert spans(PaperClock(path, lease(from_=at(-5))).ask(HOUR)) == [(-5 * HOUR, None)]


def test_a_lease_is_told_when_it_begins_and_a_day_longer_than_it_lasts(path: Path) -> None:
    clock = PaperClock(path, lease(from_=at(1), to=at(2)))
    assert clock.ask(HOUR - 1) == ()
    assert spans(clock.ask(HOUR)) == [(HOUR, None)]
    assert spans(clock.ask(2 * HOUR - 1)) == [(HOUR, None)]
    assert spans(clock.ask(2 * HOUR)) == [(HOUR, 2 * HOUR)]
    assert spans(clock.ask(2 * HOUR + DAY - 1)) == [(HOUR, 2 * HOUR)]
    assert clock.ask(2 * HOUR + DAY) == ()


def test_edges_are_exact_however_late_they_are_looked_at(path: Path) -> None:
    clock = PaperClock(path, lease("a", from_=at(1), to=at(2)) + lease("b", from_=at(2)))
    clock.ask(0)
    assert spans(clock.ask(5 * HOUR)) == [(HOUR, 2 * HOUR), (2 * HOUR, None)]


def test_it_is_the_identical_tuple_while_nothing_happens(path: Path) -> None:
    clock = PaperClock(path, lease("a", to=at(2)) + lease("b", from_=at(2)))
    first = clock.ask(0)
    for second in range(1, 100):
        clock.offset_ns = BOOT_WALL_NS + second % 3 * 20_000_000  # two clocks that are never read quite together
        assert clock.ask(second * S) is first
    assert clock.ask(2 * HOUR) is not first


def test_a_wall_clock_that_is_set_moves_what_is_still_to_come(path: Path) -> None:
    clock = PaperClock(path, lease(from_=at(2), to=at(4)))
    clock.ask(HOUR)
    clock.offset_ns += HOUR // 2
    assert spans(clock.ask(HOUR + HOUR // 2)) == [(HOUR + HOUR // 2, None)]
    clock.offset_ns -= HOUR // 4
    assert spans(clock.ask(4 * HOUR)) == [(HOUR + HOUR // 2, 4 * HOUR - HOUR // 4)]


def test_a_wall_clock_that_is_set_back_a_little_begins_and_ends_nothing_twice(path: Path) -> None:
    clock = PaperClock(path, lease("a", from_=at(1), to=at(2)) + lease("b", from_=at(2)))
    begun = clock.ask(HOUR)
    clock.offset_ns -= 5 * S
    assert clock.ask(HOUR + 1) is begun
    clock.offset_ns += 5 * S
    ended = clock.ask(2 * HOUR)
    clock.offset_ns -= 5 * S
    assert clock.ask(2 * HOUR + 1) is ended


def test_a_clock_that_was_hours_ahead_has_ended_no_lease_for_good(path: Path) -> None:
    clock = PaperClock(path, lease(from_=at(0), to=at(2)))
    clock.ask(HOUR - S)
    clock.offset_ns += 5 * HOUR
    assert spans(clock.ask(HOUR)) == [(0, HOUR - S)]
    clock.offset_ns -= 5 * HOUR
    assert spans(clock.ask(HOUR + 1)) == [(0, None)]


def test_a_step_forward_over_an_end_takes_nothing_back_that_was_claimed(path: Path) -> None:
    clock = PaperClock(path, lease(from_=at(0), to=at(2)))
    clock.ask(0)
    clock.ask(HOUR)
    clock.offset_ns += 5 * HOUR
    assert spans(clock.ask(HOUR + S)) == [(0, HOUR)]


def test_before_the_clock_is_set_after_boot_no_lease_has_begun(path: Path) -> None:
    clock = PaperClock(path, lease())
    clock.offset_ns = 0  # 1970
    assert clock.ask(S) == ()
    clock.offset_ns = BOOT_WALL_NS
    assert spans(clock.ask(2 * S)) == [(0, None)]


def test_a_star_is_every_gpu_of_the_host_and_those_that_come_later(path: Path) -> None:
    clock = PaperClock(path, lease(devices='["*"]'), devices=GPUS[:1])
    assert [claim.device_id for claim in clock.ask(0)] == ["nvidia:GPU-0"]
    clock.devices = GPUS
    assert [claim.device_id for claim in clock.ask(S)] == ["nvidia:GPU-0", "nvidia:GPU-1"]


def test_a_star_names_a_gpu_in_mig_mode_and_not_its_instances_once_more(path: Path) -> None:
    """A claim on a GPU in MIG mode is one on each of its instances: the meter sees to that."""
    assert [claim.device_id for claim in PaperClock(path, lease(devices='["*"]'), devices=MIG).ask(0)] == [
        "nvidia:GPU-2"
    ]


def test_an_instance_may_be_leased_by_itself(path: Path) -> None:
    clock = PaperClock(path, lease(devices='["MIG-a"]'), devices=MIG)
    assert [claim.device_id for claim in clock.ask(0)] == ["nvidia:MIG-a"]


def test_a_gpu_and_its_instance_leased_to_two_is_said_once(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Which the file alone does not show."""
    clock = PaperClock(path, lease("a", devices='["GPU-2"]') + lease("b", devices='["MIG-a"]'), devices=MIG)
    for second in range(5):
        clock.devices = MIG[: 3 - second % 2]
        assert len(clock.ask(second * S)) == 2
    assert [record.getMessage() for record in caplog.records] == [
        f"leases: {path}: nvidia:MIG-a, or its GPU, is leased more than once: a, b"
    ]


def test_a_device_that_nobody_has_seen_is_leased_all_the_same_and_said_once(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It may be hanging since the daemon began; or the operator wrote a digit wrong."""
    clock = PaperClock(path, lease(devices='["GPU-7"]'), devices=())
    assert [claim.device_id for claim in clock.ask(0)] == ["nvidia:GPU-7"]
    assert caplog.records == []
    clock.devices = GPUS
    for second in range(1, 5):
        clock.offset_ns += 5_000_000
        clock.ask(second * S)
    assert [record.getMessage() for record in caplog.records] == [
        f"leases: {path}: lease l1 names nvidia:GPU-7, which this host has not shown so far"
    ]


def test_an_end_that_is_written_into_the_file_later_counts(path: Path) -> None:
    clock = PaperClock(path, lease("a"))
    clock.ask(0)
    write(path, lease("a", to=at(3)))
    assert spans(clock.after_a_change()) == [(0, None)]
    assert spans(clock.ask(3 * HOUR)) == [(0, 3 * HOUR)]


def test_an_end_that_is_written_for_the_past_takes_nothing_back(path: Path) -> None:
    clock = PaperClock(path, lease("a"))
    clock.ask(5 * HOUR)
    write(path, lease("a", to=at(3)))
    assert spans(clock.after_a_change()) == [(0, 5 * HOUR + S)]


def test_a_lease_that_is_taken_out_is_told_no_more(path: Path) -> None:
    clock = PaperClock(path, lease("a") + lease("b", devices='["GPU-1"]'))
    assert len(clock.ask(0)) == 2
    write(path, lease("b", devices='["GPU-1"]'))
    assert [claim.workload.id for claim in clock.after_a_change()] == ["b"]


def test_a_lease_from_now_on_of_what_another_had_is_not_both(path: Path) -> None:
    clock = PaperClock(path, lease("a", to=at(1)) + lease("b", from_=at(1)))
    for now_ns in (0, HOUR - 1, HOUR, HOUR + 1):
        held = [
            claim.workload.id
            for claim in clock.ask(now_ns)
            if claim.start_ns <= now_ns and (claim.end_ns is None or now_ns < claim.end_ns)
        ]
        assert held == ["a" if now_ns < HOUR else "b"]


STEPS = st.lists(st.tuples(st.integers(1, 3 * HOUR), st.integers(-2 * HOUR, 2 * HOUR)), min_size=1, max_size=12)


@given(STEPS)
def test_whatever_the_wall_clock_does_an_edge_that_came_comes_once_or_was_a_wrong_clocks(
    steps: list[tuple[int, int]],
) -> None:
    edges, edge_ns = Edges(), 5 * HOUR
    boot_ns = offset_ns = 0
    came_ns: int | None = None
    for later_ns, step_ns in steps:
        boot_ns, offset_ns = boot_ns + later_ns, offset_ns + step_ns
        wall_ns = boot_ns + offset_ns
        found = edges.boot_ns("l", edge_ns, boot_ns, wall_ns, None)
        if came_ns is not None and edge_ns - wall_ns <= WRONG_CLOCK_NS:
            assert found == came_ns
        elif wall_ns >= edge_ns:
            assert found == edge_ns - offset_ns <= boot_ns
        else:
            assert found is None
        came_ns = found
