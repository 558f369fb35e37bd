"""Frames of an epoch that ended, which the ledger has not and its host does not have any more."""

from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from gputally.collector.doubles import Doubles
from gputally.collector.list_answers import Presence, answer_hosts
from gputally.collector.problems import Problem
from gputally.model.predecessor import Predecessor
from gputally.model.usage import Batch
from gputally.simulator.stream import chain
from gputally.storage.frame import make_skip
from gputally.storage.ledger_folder import PROJECTION_FILE
from gputally.storage.ledger_reader import LedgerReader
from gputally.storage.ledger_rules import StreamId
from gputally.storage.projection_reader import snapshot
from gputally.storage.skip import Skip

from .folded import Folded
from .running import JUNE_NS
from .test_folding import MINUTE, batch, group, segment

HOST = "gpu-01"
OLD, NEW, THIRD = b"o" * 16, b"n" * 16, b"t" * 16


@pytest.fixture
def folded(tmp_path: Path) -> Iterator[Folded]:
    with Folded(tmp_path) as made:
        yield made


def minute(number: int) -> Batch:
    return batch(group(segment(number)), through_ns=JUNE_NS + (number + 1) * MINUTE)


def continuing(epoch: bytes, last_seq: int, carried_from_seq: int) -> Batch:
    return Batch(HOST, "", predecessor=Predecessor(epoch, last_seq, "damage", carried_from_seq))


def state(folded: Folded, first: int, last: int) -> str:
    """Of the minutes ``first`` to ``last`` of June."""
    told = folded.usage(range_from=f"2025-06-01T00:{first:02}:00Z", range_to=f"2025-06-01T00:{last:02}:00Z")
    return str(told["completeness"]["state"])


def host_told(folded: Folded) -> dict[str, Any]:
    with snapshot(folded.projection) as seen, LedgerReader(folded.projection._path.parent) as ledger:
        items = answer_hosts(seen, ledger, Presence(set(), Doubles()), 0, 10)["items"]
    return next(dict(item) for item in items if item["host"] == HOST)


def test_a_ledger_with_less_of_an_ended_epoch_than_goes_on_never_calls_that_time_final(folded: Folded) -> None:
    """A restored ledger: two minutes are here, two were acknowledged once, the fifth goes on in the new epoch."""
    folded.take(HOST, [minute(0), minute(1)], epoch=OLD)
    folded.take(HOST, [continuing(OLD, 5, 5)], epoch=NEW)
    assert (state(folded, 0, 2), state(folded, 1, 3)) == ("final", "provisional"), "and nothing ends it so far"
    folded.take_frames(HOST, list(chain(HOST, NEW, [continuing(OLD, 5, 5), minute(4), minute(5)]))[1:], NEW)
    assert [state(folded, *span) for span in ((0, 2), (2, 4), (1, 6), (5, 6))] == [
        *("final", "provisional", "provisional", "final"),
    ]
    what = f"frames 3 to 4 of the ended epoch {OLD.hex()} never came and will not"
    assert folded.put_aside() == [what]
    with pytest.raises(Problem) as refused:
        folded.usage(range_from="2025-06-01T00:00:00Z", range_to="2025-06-01T00:06:00Z", strict="true")
    assert refused.value.status == 409 and HOST in str(refused.value)
    assert refused.value.more["missing"] == [
        {"host": HOST, "from": "2025-06-01T00:02:00Z", "to": "2025-06-01T00:06:00Z", "why": what}
    ]
    told = host_told(folded)
    assert told["lost"] == [{"epoch": OLD.hex(), "first_seq": "3", "last_seq": "4"}]
    assert told["rejected_frames"] == 0


def test_nothing_is_missed_where_all_that_does_not_go_on_is_here(folded: Folded) -> None:
    folded.take(HOST, [minute(0), minute(1)], epoch=OLD)
    folded.take(HOST, [continuing(OLD, 4, 3), minute(2), minute(3)], epoch=NEW)
    assert (state(folded, 0, 4), folded.put_aside(), host_told(folded)["lost"]) == ("final", [], [])


def test_a_host_that_does_not_say_from_where_on_it_goes_on_is_not_held_to_it(folded: Folded) -> None:
    folded.take(HOST, [continuing(OLD, 4, 0), minute(2)], epoch=NEW)
    assert (state(folded, 0, 3), folded.put_aside()) == ("final", [])


def test_where_nothing_was_here_before_everything_up_to_the_first_watermark_is_doubtful(folded: Folded) -> None:
    folded.take(HOST, [continuing(OLD, 4, 5), minute(4), minute(5)], epoch=NEW)
    assert [state(folded, *span) for span in ((0, 1), (3, 5), (5, 6))] == ["provisional", "provisional", "final"]


def test_an_epoch_that_was_begun_anew_says_again_what_it_continues_and_that_is_one_loss(folded: Folded) -> None:
    folded.take(HOST, [minute(0)], epoch=OLD)
    folded.take(HOST, [continuing(OLD, 3, 4), minute(4)], epoch=NEW)
    folded.take(HOST, [continuing(NEW, 2, 1), continuing(OLD, 3, 4), minute(4), minute(5)], epoch=THIRD)
    assert [each["first_seq"] for each in host_told(folded)["lost"]] == ["2"]
    assert host_told(folded)["forks"] == 0
    assert len(folded.put_aside()) == 1 and state(folded, 5, 6) == "final"


def test_a_loss_is_the_same_when_the_projection_is_made_again(tmp_path: Path) -> None:
    """Also where more of the ended epoch comes afterwards, as from a machine that was cloned."""
    with Folded(tmp_path) as life:
        life.take(HOST, [minute(0)], epoch=OLD)
        life.take(HOST, [continuing(OLD, 3, 4), minute(4)], epoch=NEW)
        frames = list(chain(HOST, OLD, [minute(0), minute(1), minute(2), minute(3)]))
        life.take_frames(HOST, frames[1:], OLD)
        before = (life.put_aside(), host_told(life)["lost"], state(life, 0, 5))
    assert before[1] == [{"epoch": OLD.hex(), "first_seq": "2", "last_seq": "3"}]
    (tmp_path / PROJECTION_FILE).unlink()
    with Folded(tmp_path) as again:
        again.fold()
        assert (again.put_aside(), host_told(again)["lost"], state(again, 0, 5)) == before


@pytest.mark.parametrize("carried", [2**63, 2**64 - 1])
def test_a_host_that_says_what_cannot_be_loses_only_its_own_completeness(folded: Folded, carried: int) -> None:
    folded.take("gpu-02", [Batch("gpu-02", "boot", complete_through_ns=JUNE_NS + MINUTE)])
    folded.take(HOST, [continuing(OLD, 5, carried), minute(0), continuing(b"short", 5, carried)], epoch=NEW)
    assert host_told(folded)["lost"] == [{"epoch": OLD.hex(), "first_seq": "1", "last_seq": str(carried - 1)}]
    assert state(folded, 0, 1) == "provisional"


def test_where_a_stream_stood_before_any_entry_is_known_exactly(folded: Folded) -> None:
    """Against what was seen while it was written: two streams in turns, one of them with a Skip."""
    frames = list(chain(HOST, OLD, [minute(n) for n in range(30)]))
    skip = make_skip(OLD, 20, frames[9].hash, Skip(11, frames[19].hash, "buffer_full"))
    streams = {OLD: [*frames[:10], skip, *frames[20:]], NEW: list(chain(HOST, NEW, [minute(n) for n in range(9)]))}
    stood = [(0, 0)]
    chance = Random(5)
    while any(streams.values()):
        epoch = chance.choice([epoch for epoch, left in streams.items() if left])
        frame = streams[epoch].pop(0)
        folded.take_frames(HOST, [frame], epoch)
        old, new = stood[-1]
        stood.append((frame.seq, new) if epoch == OLD else (old, frame.seq))
    with LedgerReader(folded.projection._path.parent) as ledger:
        for log_id, (old, new) in enumerate(stood, 1):
            assert ledger.held_through(StreamId(HOST, OLD), log_id) == old
            assert ledger.held_through(StreamId(HOST, NEW), log_id) == new
        assert ledger.held_through(StreamId("gpu-02", OLD), 10) == 0


def test_epochs_that_were_begun_because_of_a_fork_are_counted_for_ever(folded: Folded) -> None:
    told = Batch(HOST, "", predecessor=Predecessor(OLD, 1, "fork", 1))
    again = Batch(HOST, "", predecessor=Predecessor(NEW, 1, "fork", 1))
    folded.take(HOST, [minute(0)], epoch=OLD)
    folded.take(HOST, [told], epoch=NEW)
    folded.take(HOST, [again, told, minute(1)], epoch=THIRD)
    assert host_told(folded)["forks"] == 2
