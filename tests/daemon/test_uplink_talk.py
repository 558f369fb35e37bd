"""What three threads share of a stream: who waits for room, and who waits for an answer."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from gputally.daemon.replay import Room
from gputally.daemon.replay_events import Acked, Acknowledge, Opened, Said, Welcomed
from gputally.daemon.uplink_stream import Stream
from gputally.daemon.uplink_talk import Talk
from gputally.daemon.uplink_words import hello
from gputally.storage.wal import Entry, Log

WINDOW, MIB = 64, 1 << 20


def talk_with_a_full_wire(newest_seq: int) -> Talk:
    talk = Talk(Opened(0, newest_seq), lambda: None)
    talk.take(Welcomed(0, b"h", b"h", WINDOW, 8 * MIB))
    assert talk.claim(1, [Said(seq, 100) for seq in range(1, newest_seq + 1)]) == min(WINDOW, newest_seq)
    return talk


class Waiting:
    """Somebody who waits for room."""

    def __init__(self, talk: Talk) -> None:
        self.talk, self.found = talk, list[Room | None]()
        self._thread = threading.Thread(target=self._wait, daemon=True)
        self._thread.start()
        while not talk._is_starved:
            self._thread.join(0.001)

    def _wait(self) -> None:
        self.found.append(self.talk.wait_for_room(0))

    @property
    def has_room(self) -> bool:
        self._thread.join(0.05)
        return not self._thread.is_alive()

    def get(self) -> Room | None:
        self._thread.join(20)
        return self.found[0]


def test_who_had_to_wait_for_room_goes_on_with_a_quarter_of_the_window() -> None:
    talk = talk_with_a_full_wire(1_000)
    waiting = Waiting(talk)
    for seq in range(1, WINDOW // 4):
        talk.take(Acked(seq))
    assert not waiting.has_room
    talk.take(Acked(WINDOW // 4))
    assert waiting.get() == Room(WINDOW + 1, WINDOW // 4, 8 * MIB - 4_800, any_size=False)


def test_the_last_frames_of_a_backlog_do_not_wait_for_a_quarter_of_the_window() -> None:
    talk = talk_with_a_full_wire(WINDOW + 2)
    waiting = Waiting(talk)
    talk.take(Acked(2))
    room = waiting.get()
    assert room is not None
    assert (room.first_seq, room.frames) == (WINDOW + 1, 2)


def test_who_waits_for_room_is_let_go_when_the_stream_is_over() -> None:
    for end in (Talk.hang_up, Talk.leave, lambda talk: talk.end(None)):
        waiting = Waiting(talk := talk_with_a_full_wire(1_000))
        end(talk)
        assert waiting.get() is None


@pytest.mark.parametrize("said", [0, 1, WINDOW // 2, WINDOW])
def test_an_answer_is_heard_at_last_however_little_is_on_the_wire(said: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gputally.daemon.uplink_talk._REST_S", 0.01)
    talk = Talk(Opened(0, 1_000), lambda: None)
    talk.wait_to_hear()  # the Welcome
    talk.take(Welcomed(0, b"h", b"h", WINDOW, 8 * MIB))
    talk.claim(1, [Said(seq, 100) for seq in range(1, said + 1)])
    talk.wait_to_hear()


def test_trio_is_poked_once_until_it_looks() -> None:
    pokes: list[int] = []
    talk = Talk(Opened(0, 10), lambda: pokes.append(1))
    talk.take(Welcomed(0, b"h", b"h", WINDOW, 8 * MIB))
    talk.claim(1, [Said(seq, 100) for seq in range(1, 11)])
    for seq in range(1, 6):
        talk.take(Acked(seq))
        talk.tell()
    assert (talk.orders(), len(pokes)) == ([Acknowledge(5)], 1)
    talk.tell()
    assert len(pokes) == 2


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    opened = Log.open(tmp_path / "log", "gpu-01", 32 * MIB)
    yield opened
    opened.close()


def test_a_mebibyte_of_a_backlog_is_held_in_memory_however_large_the_window_is(log: Log) -> None:
    log.append([Entry(10, os.urandom(200_000)) for _ in range(20)], None)
    stream = Stream(log, hello(log.stat(), "gpu-01", "0.test"), Opened(0, 20), lambda: None, lambda _: None)
    assert sum(map(len, stream._read(Room(1, 1_000, 1 << 40, any_size=True)))) <= MIB
