"""Of the driver's utilization samples the new and true ones count, each once."""

from gputally.plugins.nvml.samples import FIRST_LOOK_BACK_US, LATE_US, SAMPLE, Cursors

NOW_US = 1_700_000_000_000_000
S = 1_000_000


def samples(*told: tuple[int, int, int]) -> tuple[memoryview, int]:
    """pid, stamp, per cent."""
    return memoryview(b"".join(SAMPLE.pack(pid, at, sm, 0, 0, 0) for pid, at, sm in told)), len(told)


def accepted(cursors: Cursors, now_us: int, *told: tuple[int, int, int]) -> dict[int, int]:
    return cursors.accept(*samples(*told), now_us)


def looking(*pids: int, now_us: int = NOW_US) -> Cursors:
    cursors = Cursors()
    cursors.ask_from(pids, now_us)
    return cursors


def test_the_first_question_goes_back_one_second_and_never_to_zero() -> None:
    assert Cursors().ask_from([1, 2], NOW_US) == NOW_US - FIRST_LOOK_BACK_US
    assert Cursors().ask_from([1], 5) == 1


def test_the_newest_sample_of_each_process_counts() -> None:
    cursors = looking(1, 2)
    told = (1, NOW_US - 300, 40), (1, NOW_US - 100, 60), (2, NOW_US - 200, 7)
    assert accepted(cursors, NOW_US, *told) == {1: 60, 2: 7}


def test_the_same_sample_counts_once() -> None:
    cursors = looking(1)
    assert accepted(cursors, NOW_US, (1, NOW_US - 100, 60)) == {1: 60}
    cursors.ask_from([1], NOW_US + S)
    assert accepted(cursors, NOW_US + S, (1, NOW_US - 100, 60)) == {}


def test_each_process_has_a_cursor_of_its_own() -> None:
    """A sample that surfaces late is not lost because another process was sampled after it."""
    cursors = looking(1, 2)
    accepted(cursors, NOW_US, (1, NOW_US - 100, 60))
    assert cursors.ask_from([1, 2], NOW_US + S) <= NOW_US - 200
    assert accepted(cursors, NOW_US + S, (2, NOW_US - 200, 30)) == {2: 30}


def test_padding_strangers_the_future_and_the_impossible_are_junk() -> None:
    cursors = looking(1)
    junk = (0, 0, 0), (99, NOW_US - 1, 50), (1, NOW_US + 1, 50), (1, NOW_US - 1, 101)
    assert accepted(cursors, NOW_US, *junk) == {}


def test_a_process_without_a_sample_does_not_drag_the_question_back_for_ever() -> None:
    cursors = looking(1, 2)
    for tick in range(1, 60):
        cursors.ask_from([1, 2], NOW_US + tick * S)
    assert cursors.ask_from([1, 2], NOW_US + 60 * S) == NOW_US + 59 * S - LATE_US


def test_a_wall_clock_set_back_silences_nobody() -> None:
    cursors = looking(1)
    accepted(cursors, NOW_US, (1, NOW_US - 100, 60))
    back_us = NOW_US - 3600 * S
    assert cursors.ask_from([1], back_us) < back_us
    assert accepted(cursors, back_us + 100, (1, back_us + 50, 20)) == {1: 20}
