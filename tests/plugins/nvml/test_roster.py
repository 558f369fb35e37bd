"""Who reads what while some of the driver's calls never return. No process is started here."""

from gputally.plugins.nvml.marker import IDLE, INIT, OPEN, READ, Where
from gputally.plugins.nvml.roster import MAX_CHILDREN, Patience, Roster

S = 1_000_000_000
DEADLINE = 2 * S
LATE = S // 4
NOTHING = frozenset[int]()


class Told:
    """A roster, told a story second by second on a host with eight GPUs."""

    def __init__(self, gpus: int = 8) -> None:
        self.roster = Roster(Patience())
        self.gpus = gpus
        self.now = 1000 * S
        self.born = 0

    def wait(self, seconds: float) -> None:
        self.now += int(seconds * S)

    def start_main(self) -> int:
        assert self.roster.wants_main(self.gpus, self.now)
        return self._start(self.roster.skip())

    def start_scout(self) -> int:
        assert self.roster.wants_scout(self.gpus, self.now)
        return self._start(self.roster.scout_skip())

    def _start(self, skip: frozenset[int]) -> int:
        self.born += 1
        self.roster.started(self.born, skip, self.now)
        return self.born

    def answers(self, child: int, *lost: int) -> None:
        """It reads all that it opened but the lost ones."""
        sees = frozenset(range(self.gpus)).difference(lost, self.roster.seats[child].skip)
        self.roster.answered(child, sees, bool(lost), self.now)

    def asked(self, child: int) -> None:
        self.roster.asked(child, self.now)

    def stands(self, child: int, stage: int, device: int = 0, for_s: float = 0.5) -> bool:
        where = Where(stage, device, 0, self.now - int(for_s * S))
        return self.roster.looked(child, where, LATE, self.now)

    def tick_over(self) -> None:
        self.roster.tick_over(DEADLINE, self.now)

    def dies(self, child: int) -> None:
        self.roster.broke(child, self.now, 1000)
        self.roster.ended(child)

    def healthy(self) -> int:
        child = self.start_main()
        self.answers(child)
        return child

    def hanging_at(self, device: int) -> tuple[int, int]:
        """One child hangs for more than the deadline, another took over: (stuck, main)."""
        stuck = self.healthy()
        self.asked(stuck)
        self.wait(0.5)
        assert self.stands(stuck, READ, device)
        other = self.start_main()
        self.answers(other)
        self.wait(1.5)
        self.tick_over()
        return stuck, other

    def dismissed(self) -> list[int]:
        dismissed, self.roster.dismissed = self.roster.dismissed, []
        return dismissed

    def awaited(self) -> bool:
        return self.roster.awaited_until_ns(DEADLINE) is not None


def test_one_child_reads_everything_while_all_is_well() -> None:
    told = Told()
    main = told.healthy()
    assert told.roster.main == main
    assert told.roster.skip() == NOTHING
    assert not told.roster.wants_main(8, told.now)
    assert not told.roster.wants_scout(8, told.now)


def test_a_hang_costs_the_hung_device_and_no_other() -> None:
    told = Told()
    stuck, other = told.hanging_at(3)
    assert told.roster.main == other
    assert told.roster.skip() == {3}
    assert told.roster.abandoned() == 1
    assert stuck not in told.dismissed()


def test_after_the_first_time_nobody_waits_for_who_hangs() -> None:
    told = Told()
    _, other = told.hanging_at(3)
    assert not told.awaited()
    told.asked(other)
    assert told.awaited()
    told.answers(other)
    assert not told.awaited()


def test_a_device_whose_call_returns_is_healthy_again() -> None:
    told = Told()
    stuck, other = told.hanging_at(3)
    told.wait(30)
    told.answers(stuck)
    assert told.roster.main == stuck
    assert told.roster.skip() == NOTHING
    assert told.roster.spare == other
    assert told.roster.abandoned() == 0


def test_an_answer_that_comes_before_the_deadline_keeps_its_child_in_office() -> None:
    told = Told()
    slow = told.healthy()
    told.asked(slow)
    told.wait(0.5)
    told.stands(slow, READ, 3)
    other = told.start_main()
    told.answers(other)
    assert told.awaited()
    told.answers(slow)
    assert (told.roster.main, told.roster.spare) == (slow, other)
    assert not told.awaited()


def test_a_device_that_is_always_slow_does_not_cost_a_process_a_tick() -> None:
    told = Told()
    slow = told.healthy()
    for _ in range(10):
        told.asked(slow)
        told.wait(0.5)
        told.stands(slow, READ, 3)
        if told.roster.wants_main(8, told.now):
            told.start_main()
        other = told.roster.main
        assert other is not None
        told.asked(other)
        told.answers(other)
        told.answers(slow)
        told.wait(0.5)
    assert told.born == 2


def test_a_spare_that_nobody_needs_leaves_after_a_while() -> None:
    told = Told()
    stuck, other = told.hanging_at(3)
    told.answers(stuck)
    told.wait(59)
    told.tick_over()
    assert told.dismissed() == []
    told.wait(2)
    told.tick_over()
    assert told.dismissed() == [other]


def test_a_second_device_that_hangs_is_left_out_too() -> None:
    told = Told()
    _, other = told.hanging_at(3)
    told.asked(other)
    told.wait(0.5)
    told.stands(other, READ, 5)
    third = told.start_main()
    assert told.roster.seats[third].skip == {3, 5}


def test_of_two_that_return_the_one_that_sees_all_is_main() -> None:
    told = Told()
    first, second = told.hanging_at(3)
    told.asked(second)
    told.wait(0.5)
    told.stands(second, READ, 5)
    third = told.start_main()
    told.answers(third)
    told.answers(second)
    assert told.roster.main == second
    told.answers(first)
    assert told.roster.main == first
    assert told.roster.skip() == NOTHING


def test_there_are_never_more_processes_than_devices_and_one() -> None:
    for gpus, bound in ((0, 2), (1, 2), (4, 5), (8, 9), (16, MAX_CHILDREN)):
        told = Told(gpus)
        while told.roster.wants_main(gpus, told.now):
            child = told.start_main()
            told.wait(60)
            told.stands(child, READ, child, 60)
        assert told.born == bound, gpus


def test_a_driver_that_is_slow_but_moves_on_is_waited_for() -> None:
    told = Told()
    main = told.healthy()
    told.asked(main)
    told.wait(0.5)
    assert not told.stands(main, READ, 4, for_s=0.1)
    assert told.roster.main == main


def test_a_slow_start_is_no_hang_yet() -> None:
    """Without persistence mode a host of eight GPUs takes seconds to wake them."""
    told = Told()
    main = told.start_main()
    told.wait(20)
    told.tick_over()
    assert not told.stands(main, INIT, for_s=20)
    assert not told.stands(main, OPEN, 5, for_s=3)
    assert told.roster.main == main
    assert not told.awaited()
    told.answers(main)
    assert told.roster.main == main


def test_a_start_that_hangs_is_tried_again_later_and_rarely() -> None:
    told = Told()
    first = told.start_main()
    told.wait(31)
    assert told.stands(first, INIT, for_s=31)
    assert told.roster.skip() == NOTHING
    assert not told.roster.wants_main(8, told.now)
    told.wait(30)
    second = told.start_main()
    told.wait(31)
    told.stands(second, INIT, for_s=31)
    told.wait(30)
    assert not told.roster.wants_main(8, told.now)
    told.answers(first)
    assert told.roster.main == first


def test_a_child_that_did_not_even_take_its_request_is_no_devices_fault() -> None:
    told = Told()
    main = told.healthy()
    told.asked(main)
    told.wait(0.5)
    assert told.stands(main, IDLE, 7, for_s=1)
    assert told.roster.skip() == NOTHING
    assert told.roster.wants_main(8, told.now)


def test_a_child_that_was_killed_is_replaced_at_once() -> None:
    told = Told()
    main = told.healthy()
    told.dies(main)
    assert told.roster.wants_main(8, told.now)
    assert told.roster.deaths == 1


def test_a_child_that_keeps_dying_is_started_ever_more_rarely() -> None:
    told = Told()
    starts = 0
    for _ in range(600):
        if told.roster.wants_main(8, told.now):
            told.dies(told.start_main())
            starts += 1
        told.wait(0.1)
    assert 5 < starts < 12


def test_a_device_whose_child_was_killed_in_a_hang_waits_for_a_scout() -> None:
    told = Told()
    stuck, other = told.hanging_at(3)
    told.dies(stuck)
    assert told.roster.main == other
    assert told.roster.skip() == {3}
    told.wait(6)
    scout = told.start_scout()
    assert told.roster.seats[scout].skip == NOTHING
    told.answers(scout)
    assert told.roster.main == scout
    assert told.roster.skip() == NOTHING


def test_a_scout_that_hangs_takes_no_device_from_the_main_child() -> None:
    told = Told()
    main = told.healthy()
    told.answers(main, 1)
    told.wait(6)
    scout = told.start_scout()
    told.wait(10)
    told.tick_over()
    assert told.stands(scout, OPEN, 2, for_s=10)
    assert told.roster.main == main
    assert told.roster.skip() == NOTHING
    assert not told.awaited()


def test_a_lost_gpu_is_looked_for_ever_more_rarely() -> None:
    told = Told()
    main = told.healthy()
    scouts = 0
    for _ in range(600):
        told.answers(main, 1)
        if told.roster.wants_scout(8, told.now):
            scout = told.start_scout()
            told.answers(scout, 1)
            assert told.dismissed() == [scout]
            told.roster.ended(scout)
            scouts += 1
        told.wait(1)
    assert told.roster.main == main
    assert 8 < scouts < 16


def test_a_scout_that_finds_the_lost_gpu_becomes_main() -> None:
    told = Told()
    main = told.healthy()
    told.answers(main, 1)
    told.wait(6)
    scout = told.start_scout()
    told.answers(scout)
    assert told.roster.main == scout
    told.wait(600)
    assert not told.roster.wants_scout(8, told.now)


def lost_and_found(told: Told) -> tuple[int, int]:
    """GPU 1 was lost and is back: (who was main, the scout that found it)."""
    before = told.roster.main or told.healthy()
    told.answers(before, 1)
    told.wait(6)
    scout = told.start_scout()
    told.answers(scout)
    return before, scout


def test_who_was_initialised_before_a_gpu_returned_is_not_kept() -> None:
    told = Told()
    before, scout = lost_and_found(told)
    assert (told.roster.main, told.roster.spare) == (scout, None)
    assert told.dismissed() == [before]
    told.asked(scout)
    told.wait(0.5)
    assert told.stands(scout, READ, 2)
    assert told.roster.seats[told.start_main()].skip == {2}


def test_a_main_child_that_answers_after_the_scout_is_not_kept_either() -> None:
    told = Told()
    before = told.healthy()
    told.answers(before, 1)
    told.wait(6)
    scout = told.start_scout()
    told.asked(before)
    told.answers(scout)
    told.answers(before, 1)
    assert (told.roster.main, told.roster.spare) == (scout, None)
    assert told.dismissed() == [before]


def test_a_spare_from_before_a_gpu_returned_leaves_when_it_is_found() -> None:
    told = Told()
    stuck, spare = told.hanging_at(3)
    told.answers(stuck)
    assert told.roster.spare == spare
    lost_and_found(told)
    assert told.dismissed() == [spare, stuck]


def test_a_spare_that_sees_less_does_not_take_over() -> None:
    told = Told()
    stuck, spare = told.hanging_at(3)
    told.answers(stuck)
    told.roster.seats[spare].sees -= {5}
    told.asked(stuck)
    told.wait(0.5)
    assert told.stands(stuck, READ, 3)
    assert told.roster.main is None
    assert told.dismissed() == [spare]


def test_who_returns_without_a_gpu_that_is_back_does_not_take_over_and_is_replaced_by_a_scout_at_once() -> None:
    told = Told()
    stuck, _ = told.hanging_at(2)
    _, scout = lost_and_found(told)
    assert told.roster.main == scout
    told.dismissed()
    told.answers(stuck, 1)
    assert told.roster.main == scout
    assert told.dismissed() == [stuck]
    assert told.roster.skip() == {2}
    second = told.start_scout()
    told.answers(second)
    assert told.roster.main == second
    assert told.roster.skip() == NOTHING


def test_two_that_see_different_gpus_do_not_make_scouts_call_for_scouts() -> None:
    told = Told()
    main = told.healthy()
    told.answers(main, 1)
    told.wait(6)
    scout = told.start_scout()
    told.answers(scout, 2)
    assert told.roster.main == main
    assert told.dismissed() == [scout]
    assert not told.roster.wants_scout(8, told.now)


def test_a_driver_that_cannot_be_used_is_tried_every_few_seconds() -> None:
    told = Told()
    tries = 0
    for _ in range(60):
        if told.roster.wants_main(8, told.now):
            child = told.start_main()
            told.roster.failed(child, told.now)
            told.dismissed()
            told.roster.ended(child)
            tries += 1
        told.wait(1)
    assert 6 <= tries <= 9
    assert told.roster.deaths == 0


def test_a_driver_that_vanished_under_a_child_that_worked_is_tried_at_once() -> None:
    told = Told()
    main = told.healthy()
    told.roster.failed(main, told.now)
    assert told.dismissed() == [main]
    assert told.roster.wants_main(8, told.now)


def test_nobody_is_started_once_all_were_let_go_of() -> None:
    told = Told()
    main = told.healthy()
    told.roster.dismiss_all(told.now)
    assert told.dismissed() == [main]
    told.roster.ended(main)
    told.wait(600)
    assert not told.roster.wants_main(8, told.now)
    told.roster.reopen(told.now)
    assert told.roster.wants_main(8, told.now)


def test_who_will_not_leave_is_counted() -> None:
    told = Told()
    main = told.healthy()
    told.roster.dismiss_all(told.now)
    assert told.roster.abandoned() == 0
    told.wait(3)
    told.tick_over()
    assert told.roster.abandoned() == 1
    told.roster.ended(main)
    assert told.roster.abandoned() == 0
