"""The stream as a value: whatever is lost, doubled or comes late, everything is said and nothing is trimmed early."""

import random
from collections import deque

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gputally.daemon.replay import Replay, Room
from gputally.daemon.replay_events import (
    Acked,
    Acknowledge,
    Answer,
    Bury,
    Event,
    Fork,
    Left,
    Lost,
    Opened,
    Rejected,
    Resumed,
    Said,
    TakeBack,
    TakenBack,
    Welcomed,
    Written,
)
from gputally.daemon.replay_phases import Phase, Violation


def hash_of(seq: int) -> bytes:
    return b"hash of %d" % seq


def welcome(committed_seq: int, frames: int = 10, size_bytes: int = 10_000) -> Welcomed:
    return Welcomed(committed_seq, hash_of(committed_seq), hash_of(committed_seq), frames, size_bytes)


def streaming(acked_seq: int = 0, newest_seq: int = 10, frames: int = 10, size_bytes: int = 10_000) -> Replay:
    replay = Replay()
    replay.take(Opened(acked_seq, newest_seq))
    replay.take(welcome(acked_seq, frames, size_bytes))
    return replay


def say(replay: Replay, count: int, size_bytes: int = 100) -> list[int]:
    said: list[int] = []
    while (room := replay.room) is not None and len(said) < count and replay.may_say(room.first_seq, size_bytes):
        replay.take(Said(room.first_seq, size_bytes))
        said.append(room.first_seq)
    return said


def test_nothing_is_said_before_the_collector_has_said_where_it_stands() -> None:
    replay = Replay()
    replay.take(Opened(0, 10))
    assert replay.room is None
    replay.take(welcome(0))
    assert say(replay, 3) == [1, 2, 3]


def test_a_welcome_beyond_our_acknowledgement_counts_as_one() -> None:
    replay = Replay()
    replay.take(Opened(2, 10))
    assert replay.take(welcome(7)) == Acknowledge(7)
    assert say(replay, 10) == [8, 9, 10]


def test_a_welcome_below_our_acknowledgement_is_taken_back_before_a_frame_is_said() -> None:
    replay = Replay()
    replay.take(Opened(7, 10))
    assert replay.take(welcome(2)) == TakeBack(2)
    assert replay.room is None
    replay.take(TakenBack())
    assert say(replay, 10) == [3, 4, 5, 6, 7, 8, 9, 10]


FORKS = {
    "beyond what was ever written": Welcomed(11, hash_of(11), None, 10, 10_000),
    "a frame that nobody here knows": Welcomed(1, hash_of(1), None, 10, 10_000),
    "another frame in the same place": Welcomed(5, hash_of(5), b"another", 10, 10_000),
}


@pytest.mark.parametrize("case", FORKS)
def test_a_fork_stops_everything_for_good(case: str) -> None:
    replay = Replay()
    replay.take(Opened(5, 10))
    assert isinstance(replay.take(FORKS[case]), Fork)
    for event in (Written(12), Acked(7), Resumed(3), Rejected(6, "no"), Left(), Lost()):
        assert replay.take(event) is None
        assert replay.room is None
    assert (replay.phase, replay.acked_seq) == (Phase.FORKED, 5)
    with pytest.raises(Violation):
        replay.take(Opened(5, 12))


def test_a_welcome_below_what_was_trimmed_is_told_by_one_skip_and_the_rest_is_said_again() -> None:
    replay = Replay()
    replay.take(Opened(7, 10))
    assert replay.take(Welcomed(2, hash_of(2), None, 10, 10_000, goes_on_seq=5)) == TakeBack(5, (3, 5))
    replay.take(TakenBack())
    assert replay.room == Room(3, 8, 10_000, True, trimmed_seq=5)
    replay.take(Said(5, 100, 3))
    assert say(replay, 99) == [6, 7, 8, 9, 10]
    assert replay.take(Acked(5)) == Acknowledge(5)
    assert len(replay.wire) == 5


def inside_a_skip() -> Replay:
    """Of ten frames we know 2 as acknowledged; the collector is at 5, and here 4 to 8 are a Skip."""
    replay = Replay()
    replay.take(Opened(2, 10))
    assert replay.take(Welcomed(5, hash_of(5), None, 10, 10_000, goes_on_seq=3)) is None
    return replay


def test_a_welcome_inside_a_skip_of_ours_is_no_fork_and_the_skip_is_said_whole() -> None:
    replay = inside_a_skip()
    assert replay.may_say(8, 100, first_seq=4)
    replay.take(Said(8, 100, 4))
    assert say(replay, 99) == [9, 10]
    assert replay.take(Acked(8)) == Acknowledge(8)


def test_nothing_is_acknowledged_of_what_the_collector_may_have_of_another_history_before_our_skip_is_taken() -> None:
    replay = inside_a_skip()
    replay.take(Said(8, 100, 4))
    for answer in (Acked(3), Acked(5), Rejected(3, "of another history"), Rejected(5, "in the place of our Skip")):
        assert replay.take(answer) is None
    assert (replay.acked_seq, len(replay.wire)) == (2, 1)
    replay.take(Lost())
    assert replay.acked_seq == 2


def test_a_rejection_behind_our_skip_says_that_the_skip_was_taken() -> None:
    replay = inside_a_skip()
    replay.take(Said(8, 100, 4))
    assert say(replay, 99) == [9, 10]
    assert replay.take(Rejected(9, "no batch")) == Bury(9, "no batch")
    assert replay.acked_seq == 9


def test_a_rejection_of_what_is_a_skip_here_by_now_does_not_end_the_stream() -> None:
    replay = inside_a_skip()
    assert replay.take(Rejected(5, "no batch")) is None
    assert replay.may_say(8, 100, first_seq=4)


def test_a_resume_leads_back_to_our_skip_and_not_before_it() -> None:
    replay = inside_a_skip()
    replay.take(Said(8, 100, 4))
    say(replay, 1)
    replay.take(Resumed(6))
    assert (replay.said_seq, replay.acked_seq) == (3, 2)


def test_a_skip_is_acknowledged_as_a_whole_or_not_at_all() -> None:
    replay = streaming()
    replay.take(Said(8, 100, 1))
    say(replay, 1)
    assert replay.take(Acked(5)) is None
    assert (replay.acked_seq, len(replay.wire), replay.wire.used_bytes) == (0, 2, 200)
    assert replay.take(Acked(8)) == Acknowledge(8)
    assert (len(replay.wire), replay.wire.used_bytes) == (1, 100)


def test_frames_that_were_dropped_while_they_were_said_are_told_by_a_skip_that_begins_before_them() -> None:
    replay = streaming()
    say(replay, 3)
    assert not replay.may_say(3, 100, first_seq=1)
    assert replay.may_say(6, 100, first_seq=1)
    replay.take(Said(6, 100, 1))
    replay.take(Resumed(3))
    assert replay.said_seq == 2
    assert replay.may_say(6, 100, first_seq=1)


def test_the_window_is_counted_in_frames() -> None:
    replay = streaming(frames=4)
    assert say(replay, 99) == [1, 2, 3, 4]
    assert replay.room is None
    replay.take(Acked(3))
    assert say(replay, 99) == [5, 6, 7]


def test_the_window_is_counted_in_bytes() -> None:
    replay = streaming(size_bytes=1_000)
    assert say(replay, 99, size_bytes=400) == [1, 2]
    assert say(replay, 99, size_bytes=201) == []
    assert say(replay, 99, size_bytes=200) == [3]
    assert replay.room is None


@pytest.mark.parametrize("window", [(0, 0), (10, 50), (0, 10_000)])
def test_a_window_smaller_than_a_frame_lets_one_pass_at_a_time(window: tuple[int, int]) -> None:
    replay = streaming(0, 3, *window)
    for seq in (1, 2, 3):
        assert say(replay, 99) == [seq]
        assert replay.take(Acked(seq)) == Acknowledge(seq)
    assert replay.all_acknowledged


def test_saying_what_there_is_no_room_for_is_our_own_mistake() -> None:
    replay = streaming(frames=1)
    with pytest.raises(ValueError, match="may not be said"):
        replay.take(Said(2, 100))
    say(replay, 1)
    with pytest.raises(ValueError, match="may not be said"):
        replay.take(Said(2, 100))


def test_an_acknowledgement_that_comes_twice_or_late_orders_nothing() -> None:
    replay = streaming()
    say(replay, 6)
    assert replay.take(Acked(4)) == Acknowledge(4)
    assert replay.take(Acked(4)) is None
    assert replay.take(Acked(2)) is None
    assert (replay.acked_seq, len(replay.wire), replay.wire.used_bytes) == (4, 2, 200)


def test_what_was_not_said_cannot_be_acknowledged_rejected_or_wanted() -> None:
    for lie in (Acked(4), Rejected(4, "no"), Resumed(5)):
        replay = streaming()
        say(replay, 3)
        with pytest.raises(Violation, match="only 3 was said"):
            replay.take(lie)


def test_a_resume_goes_back_to_the_frame_that_is_wanted() -> None:
    replay = streaming()
    say(replay, 6)
    replay.take(Acked(2))
    replay.take(Resumed(4))
    assert len(replay.wire) == 1
    assert say(replay, 99) == [4, 5, 6, 7, 8, 9, 10]


def test_a_resume_that_was_overtaken_by_an_acknowledgement_changes_nothing() -> None:
    replay = streaming()
    say(replay, 6)
    replay.take(Acked(5))
    replay.take(Resumed(4))
    assert say(replay, 1) == [7]


def test_an_acknowledgement_of_what_was_said_before_a_resume_still_counts() -> None:
    replay = streaming()
    say(replay, 6)
    replay.take(Resumed(3))
    assert replay.take(Acked(5)) == Acknowledge(5)
    assert (len(replay.wire), replay.wire.used_bytes) == (0, 0)
    assert say(replay, 1) == [6]


def test_a_rejected_frame_is_buried_and_those_behind_it_go_on() -> None:
    replay = streaming()
    say(replay, 3)
    assert replay.take(Rejected(2, "no batch")) == Bury(2, "no batch")
    assert (replay.acked_seq, len(replay.wire)) == (2, 1)
    assert say(replay, 1) == [4]
    assert replay.take(Acked(4)) == Acknowledge(4)


def test_a_rejection_of_an_earlier_stream_is_still_heard() -> None:
    replay = Replay()
    replay.take(Opened(2, 10))
    replay.take(welcome(5))
    assert replay.take(Rejected(4, "no batch")) == Bury(4, "no batch")
    assert replay.acked_seq == 5


def test_a_lost_stream_says_everything_unacknowledged_again() -> None:
    replay = streaming()
    say(replay, 6)
    replay.take(Acked(4))
    replay.take(Lost())
    assert (replay.phase, replay.room) == (Phase.APART, None)
    replay.take(Opened(4, 10))
    replay.take(welcome(4))
    assert say(replay, 99) == [5, 6, 7, 8, 9, 10]


def test_after_goodbye_nothing_is_said_but_answers_still_count() -> None:
    replay = streaming()
    say(replay, 3)
    replay.take(Left())
    assert replay.room is None
    assert replay.take(Acked(3)) == Acknowledge(3)
    replay.take(Resumed(4))
    assert replay.room is None


def test_frames_written_while_streaming_may_be_said_at_once() -> None:
    replay = streaming(newest_seq=0)
    assert replay.room is None
    replay.take(Written(2))
    replay.take(Written(1))
    assert say(replay, 99) == [1, 2]


@pytest.mark.parametrize(
    ("phase", "event"),
    [
        (Phase.APART, Acked(1)),
        (Phase.APART, welcome(0)),
        (Phase.GREETING, Acked(1)),
        (Phase.GREETING, Opened(0, 1)),
        (Phase.REWINDING, welcome(0)),
        (Phase.STREAMING, welcome(0)),
        (Phase.STREAMING, TakenBack()),
        (Phase.LEAVING, Said(1, 1)),
    ],
)
def test_what_makes_no_sense_in_a_phase_is_a_violation(phase: Phase, event: Event) -> None:
    with pytest.raises(Violation, match=phase.value):
        Replay(phase=phase).take(event)


class Collector:
    """A right collector at the other end of a stream that is not."""

    def __init__(self) -> None:
        self.cursor = 0
        self.answers: list[Answer] = []

    def hear(self, first: int, seq: int, poisoned: bool) -> None:
        if first <= self.cursor + 1 <= seq:
            self.cursor = seq
            self.answers.append(Rejected(seq, "poison") if poisoned and first == seq else Acked(seq))
        elif seq <= self.cursor:
            self.answers.append(Acked(self.cursor))
        else:
            self.answers.append(Resumed(self.cursor + 1))


class AnyNetwork(RuleBasedStateMachine):
    """Acknowledgements are lost, doubled and reordered; frames vanish; streams break; ledgers are restored."""

    @initialize(frames=st.integers(0, 5), size_bytes=st.integers(0, 500))
    def begin(self, frames: int, size_bytes: int) -> None:
        self.replay = Replay()
        self.collector = Collector()
        self.window = (frames, size_bytes)
        self.newest = self.acked = self.trimmed = 0
        self.wire: deque[tuple[int, int]] = deque()
        self.skips: list[tuple[int, int]] = []

    @rule(count=st.integers(1, 5))
    def write(self, count: int) -> None:
        self.newest += count
        self.replay.take(Written(self.newest))

    @precondition(lambda self: self.replay.phase is Phase.APART)
    @rule()
    def connect(self) -> None:
        self.replay.take(Opened(self.acked, self.newest))
        self.wire.clear()
        cursor = self.collector.cursor
        own, goes_on = self.place(cursor)
        self.collector.answers = [Welcomed(cursor, hash_of(cursor), own, *self.window, goes_on)]

    def span(self, seq: int) -> tuple[int, int]:
        """The frame at ``seq``, or the Skip it is in."""
        return next(((first, last) for first, last in self.skips if first <= seq <= last), (seq, seq))

    def place(self, seq: int) -> tuple[bytes | None, int]:
        first, last = self.span(seq)
        if seq < self.trimmed:
            return None, self.trimmed
        return (hash_of(seq), seq) if seq in (last, self.trimmed) else (None, first - 1)

    def whole(self, seq: int) -> int:
        """The last end of a frame or Skip at or before ``seq``."""
        first, last = self.span(seq)
        return seq if seq == last else first - 1

    @rule(count=st.integers(1, 6))
    def drop(self, count: int) -> None:
        """At the cap the oldest unacknowledged frames become one Skip, also while they are on the wire."""
        if self.newest > self.acked:
            last = self.span(min(self.acked + count, self.newest))[1]
            self.skips = [skip for skip in self.skips if skip[1] <= self.acked] + [(self.acked + 1, last)]

    @rule(count=st.integers(1, 6), sizes=st.randoms(use_true_random=False))
    def say(self, count: int, sizes: random.Random) -> None:
        for _ in range(count):
            room, size_bytes = self.replay.room, sizes.randrange(1, 300)
            if room is None:
                return
            first, last = (room.first_seq, room.trimmed_seq) if room.trimmed_seq else self.span(room.first_seq)
            if self.replay.may_say(last, size_bytes, first):
                assert room.trimmed_seq or last > self.trimmed, "said a frame that is not held any more"
                self.replay.take(Said(last, size_bytes, first))
                self.wire.append((first, last))

    @precondition(lambda self: self.wire)
    @rule(count=st.integers(1, 6), poisoned=st.booleans())
    def arrive(self, count: int, poisoned: bool) -> None:
        for _ in range(min(count, len(self.wire))):
            self.collector.hear(*self.wire.popleft(), poisoned)

    @precondition(lambda self: self.collector.answers)
    @rule(count=st.integers(1, 4))
    def answer(self, count: int) -> None:
        for _ in range(count):
            if self.collector.answers:
                self.answer_one(0, again=False)

    @rule(
        what=st.sampled_from(["frame", "answer", "twice", "late", "leave", "lose", "restore"]), back=st.integers(1, 6)
    )
    def go_wrong(self, what: str, back: int) -> None:
        """One rule for all, so that most steps are those of a stream that works."""
        if what == "frame" and self.wire:
            self.wire.popleft()
        elif what == "answer" and self.collector.answers:
            del self.collector.answers[0]
        elif what in ("twice", "late") and self.collector.answers:
            self.answer_one(min(back, len(self.collector.answers)) - 1, again=what == "twice")
        elif what == "leave" and self.replay.phase is Phase.STREAMING:
            self.replay.take(Left())
        elif what == "lose":
            self.lose()
        elif what == "restore":
            self.lose()
            self.collector.cursor = max(0, self.collector.cursor - back)

    @precondition(lambda self: self.acked > 1)
    @rule(back=st.integers(1, 6))
    def restore_from_before_what_is_held(self, back: int) -> None:
        self.trimmed = max(self.whole(self.acked - 1), self.trimmed)
        self.lose()
        self.collector.cursor = max(0, min(self.collector.cursor, self.trimmed - back))

    def answer_one(self, place: int, *, again: bool) -> None:
        answer = self.collector.answers[place]
        if not again:
            del self.collector.answers[place]
        try:
            self.obey(answer)
        except Violation:
            self.lose()

    def lose(self) -> None:
        self.replay.take(Lost())
        self.wire.clear()
        self.collector.answers.clear()

    @rule(count=st.integers(1, 4))
    def trim(self, count: int) -> None:
        if self.replay.phase is Phase.STREAMING:
            self.trimmed = max(self.whole(min(self.trimmed + count, self.acked)), self.trimmed)

    def obey(self, answer: Answer) -> None:
        order = self.replay.take(answer)
        assert not isinstance(order, Fork), order
        if isinstance(order, TakeBack):
            assert self.trimmed <= order.through_seq == self.whole(order.through_seq)
            assert order.through_seq <= self.collector.cursor or order.missing == (
                self.collector.cursor + 1,
                self.trimmed,
            )
            self.acked = order.through_seq
            self.replay.take(TakenBack())
        elif isinstance(order, Acknowledge):
            assert order.through_seq <= self.collector.cursor, "acknowledged what is not committed"
            self.acked = max(self.whole(order.through_seq), self.acked)
        elif isinstance(order, Bury):
            assert order.seq <= self.collector.cursor
            self.acked = max(self.acked, self.whole(order.seq))

    @invariant()
    def the_wire_holds_no_more_than_the_window(self) -> None:
        frames, size_bytes = self.window
        assert len(self.replay.wire) <= max(frames, 1)
        assert self.replay.wire.used_bytes <= size_bytes or len(self.replay.wire) == 1

    @invariant()
    def nothing_is_trimmed_that_was_not_acknowledged(self) -> None:
        assert self.trimmed <= self.acked <= self.newest

    def teardown(self) -> None:
        """On a stream that works, everything is said and acknowledged in the end."""
        self.lose()
        self.connect()
        for _ in range(5 * self.newest + 10):
            if self.replay.phase is Phase.APART:
                self.connect()
            while self.collector.answers:
                self.obey(self.collector.answers.pop(0))
            self.say(1, random.Random(1))
            while self.wire:
                self.arrive(1, poisoned=False)
        assert self.collector.cursor == self.acked == self.newest
        assert self.replay.all_acknowledged


AnyNetwork.TestCase.settings = settings(max_examples=200, stateful_step_count=50, deadline=None)
TestAnyNetwork = AnyNetwork.TestCase
