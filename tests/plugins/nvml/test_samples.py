"""Of the driver's utilization samples the new and true ones count, each once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gputally.plugins.nvml.junk import Junk
from gputally.plugins.nvml.samples import FIRST_LOOK_BACK_US, LATE_US, MAX_CURSORS, MAX_PASSED, SAMPLE, Cursors, Taken

NOW_US = 1_700_000_000_000_000
S = 1_000_000
UP_US = 3600 * S
"""The machine started an hour before NOW_US."""

Sample = tuple[int, int, int]
"""pid, stamp, per cent."""


class Device:
    """Its cursors, looked at as the child does."""

    def __init__(self, *here: int, now_us: int = NOW_US) -> None:
        self.cursors, self.junk, self.here = Cursors(), Junk(), set(here)
        self.wall_minus_boot_us = NOW_US - UP_US
        self.look(now_us)

    def look(self, now_us: int, *told: Sample, listed_us: int | None = None) -> Taken:
        self.asked_us = self.cursors.ask_from(now_us, now_us - self.wall_minus_boot_us)
        rows = memoryview(b"".join(SAMPLE.pack(pid, at, sm, 0, 0, 0) for pid, at, sm in told))
        listed_us = now_us if listed_us is None else listed_us
        return self.cursors.accept(rows, len(told), now_us, listed_us, self.here, self.junk)


def test_the_first_question_goes_back_one_second_and_never_to_zero() -> None:
    assert Cursors().ask_from(NOW_US, UP_US) == NOW_US - FIRST_LOOK_BACK_US
    assert Cursors().ask_from(5, 5) == 1


def test_the_newest_sample_of_each_process_counts() -> None:
    told = (1, NOW_US + 300, 40), (1, NOW_US + 500, 60), (1, NOW_US + 400, 50), (2, NOW_US + 200, 7)
    assert Device(1, 2).look(NOW_US + S, *told).percent == {1: 60, 2: 7}


def test_the_same_sample_counts_once() -> None:
    device = Device(1)
    assert device.look(NOW_US + S, (1, NOW_US + 100, 60)).percent == {1: 60}
    assert device.look(NOW_US + 2 * S, (1, NOW_US + 100, 60)).percent == {}
    assert device.junk.take() == {}


def test_each_process_has_a_cursor_of_its_own() -> None:
    """A sample that surfaces late is not lost because another process was sampled after it."""
    device = Device(1, 2)
    device.look(NOW_US + S, (1, NOW_US + 900, 60))
    assert device.look(NOW_US + 2 * S, (2, NOW_US + 800, 30)).percent == {2: 30}
    assert device.asked_us <= NOW_US + 800


def test_what_surfaces_later_than_samples_do_is_old() -> None:
    device = Device(1)
    for tick in range(1, 60):
        device.look(NOW_US + tick * S)
    assert device.look(NOW_US + 60 * S, (1, NOW_US + 50 * S, 30)).percent == {}
    assert device.asked_us == NOW_US + 59 * S - LATE_US
    assert device.junk.take() == {"sample_old": 1}


def test_a_process_that_no_list_shows_has_passed_with_all_its_stamps() -> None:
    device = Device(1)
    told = (9, NOW_US + 300, 40), (9, NOW_US + 100, 60), (9, NOW_US + 100, 60), (1, NOW_US + 5, 3)
    taken = device.look(NOW_US + S, *told)
    assert taken.stamps_us == {9: [NOW_US + 100, NOW_US + 300]}
    assert taken.percent == {9: 40, 1: 3}
    assert device.look(NOW_US + 2 * S, *told).stamps_us == {}


def test_a_sample_from_after_the_list_waits_for_the_next_list() -> None:
    """It may be of a process that has only just come, and then the list will show it."""
    device = Device()
    late = (9, NOW_US + 900, 40)
    assert device.look(NOW_US + 1000, late, listed_us=NOW_US + 800).stamps_us == {}
    assert device.look(NOW_US + S, late).stamps_us == {9: [NOW_US + 900]}
    assert device.junk.take() == {}


def test_the_stamps_of_samples_are_told_in_the_clock_of_readings() -> None:
    assert Device().cursors.boot_ns(NOW_US - 7) == (UP_US - 7) * 1000


@pytest.mark.parametrize(
    ("sample", "reason"),
    [
        ((0, 0, 0), "sample_zero"),
        ((1 << 22 | 1, NOW_US + 1, 50), "sample_pid"),
        ((1, NOW_US + 2 * S, 50), "sample_future"),
        ((1, NOW_US + 1, 101), "sample_percent"),
        ((1, NOW_US + 1, 37_100), "sample_percent"),
        ((9, NOW_US + 1, 999), "sample_percent"),
        ((9, NOW_US + 1, 0), "sample_zero"),
        ((9, NOW_US - 3600 * S, 50), "sample_old"),
    ],
)
def test_junk_is_counted_by_its_reason_and_moves_no_cursor(sample: Sample, reason: str) -> None:
    device = Device(1)
    assert device.look(NOW_US + S, sample) == Taken({}, {})
    assert device.junk.take() == {reason: 1}
    assert device.look(NOW_US + S + 1, (1, NOW_US + 2, 50)).percent == {1: 50}


def test_one_that_only_encodes_has_passed_too() -> None:
    device = Device()
    rows = memoryview(SAMPLE.pack(9, NOW_US + 1, 0, 0, 30, 0))
    device.cursors.ask_from(NOW_US + S, UP_US + S)
    taken = device.cursors.accept(rows, 1, NOW_US + S, NOW_US + S, (), device.junk)
    assert taken == Taken({9: 0}, {9: [NOW_US + 1]})


def test_a_listed_process_may_do_nothing() -> None:
    assert Device(1).look(NOW_US + S, (1, NOW_US + 1, 0)).percent == {1: 0}


@pytest.mark.parametrize("by_s", [-3600, -3, -1, 1, 3600])
def test_a_wall_clock_that_is_set_silences_nobody_and_counts_nothing_twice(by_s: int) -> None:
    device = Device(1)
    told = (1, NOW_US + 900_000, 60), (9, NOW_US + 950_000, 70)
    assert len(device.look(NOW_US + S, *told).percent) == 2
    device.wall_minus_boot_us += by_s * S
    now_us = NOW_US + 2 * S + by_s * S
    assert device.look(now_us, *told) == Taken({}, {})
    for tick in range(1, 11):  # as long as a driver remembers
        assert device.look(now_us + tick * S, *told) == Taken({}, {}), tick
    new = (1, now_us + 10 * S + 1, 20)
    assert device.look(now_us + 11 * S, *told, new).percent == {1: 20}


def test_cursors_and_passed_processes_are_bounded() -> None:
    device = Device()
    told = [(pid, NOW_US + pid, 50) for pid in range(1, MAX_CURSORS + 101)]
    assert len(device.look(NOW_US + S, *told).stamps_us) == MAX_PASSED
    assert device.junk.take() == {"sample_crowd": len(told) - MAX_PASSED}
    assert device.look(NOW_US + S + 1, *told).stamps_us == {}
    assert len(device.cursors._seen_us) <= MAX_CURSORS  # pyright: ignore[reportPrivateUsage] - the bound itself


def test_cursors_are_forgotten_once_nothing_can_be_told_twice() -> None:
    device = Device(1)
    device.look(NOW_US + S, (1, NOW_US + 100, 60), (9, NOW_US + 100, 60))
    for tick in range(2, 6):
        device.look(NOW_US + tick * S)
    assert device.cursors._seen_us == {}  # pyright: ignore[reportPrivateUsage]


@given(st.data())
def test_however_a_driver_repeats_its_samples_each_counts_once(data: st.DataObject) -> None:
    device, told = Device(1, 2), set[tuple[int, int]]()
    true = [(pid, NOW_US + step * 250_000 + pid, 50) for pid in (1, 2, 8, 9) for step in range(20)]
    for tick in range(1, 6):
        now_us = NOW_US + tick * S
        ring = [sample for sample in true if sample[1] <= now_us]
        shown = data.draw(st.lists(st.sampled_from(ring), max_size=12))
        for pid, stamps in device.look(now_us, *shown).stamps_us.items():
            news = {(pid, stamp) for stamp in stamps}
            assert not news & told
            told |= news
