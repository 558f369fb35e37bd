"""What a full log could not keep becomes gaps of exactly that length, in the windows they belong to."""

from dataclasses import replace

from gputally.model.conservation import check_batch, tile
from gputally.model.interval import Interval
from gputally.model.refused import MAX_EVENTS, MAX_STRETCHES, Refused
from gputally.model.usage import Batch, Event, EventKind, HostGap

from .host import PaperHost, Run, S


def minutes(count: int) -> list[Batch]:
    host = PaperHost([Run(1, "a", 0, 10**15)])
    for tick in range(60 * count + 1):
        host.tick(tick * S)
    return [batch for batch in host.batches if batch.rows]


def refusing(batches: list[Batch]) -> Refused:
    refused = Refused()
    for batch in batches:
        refused = refused.with_batch(batch)
    return refused


def test_refused_windows_come_back_as_gaps_in_their_own_windows_and_still_tile() -> None:
    told = minutes(4)
    (gaps,) = refusing(told[:3]).batches("host")
    assert check_batch(gaps) == []
    assert [row.segment for row in gaps.rows] == [batch.rows[0].segment for batch in told[:3]]
    assert {row.unobserved_ns for row in gaps.rows} == {(("buffer_full", 60 * S),)}
    assert tile(row.segment.boot for row in (*gaps.rows, *told[3].rows)).holes == ()


def test_however_long_the_log_stays_full_one_stretch_is_remembered() -> None:
    refused = refusing(minutes(30))
    assert [len(stretches) for stretches in refused.stretches.values()] == [1]


def test_energy_of_refused_windows_is_unobserved_to_the_millijoule() -> None:
    (gaps,) = refusing(minutes(2)).batches("host")
    assert sum(row.unobserved_energy_mj for row in gaps.rows) == 2 * 60 * 300_000


def test_what_another_boot_refused_goes_out_under_that_boot() -> None:
    one, other = minutes(2)
    refused = refusing([one, replace(other, boot_id="next")])
    assert {batch.boot_id: len(batch.rows) for batch in refused.batches("host")} == {"boot": 1, "next": 1}


def test_a_clock_that_steps_all_the_time_does_not_grow_what_is_remembered_without_end() -> None:
    host = PaperHost([Run(1, "a", 0, 10**15)])
    for tick in range(3000):
        host.offset_ns += 7200 * S * (tick % 60 == 30)
        host.tick(tick * S)
    refused = refusing(host.batches)
    assert [len(stretches) for stretches in refused.stretches.values()] == [MAX_STRETCHES]
    (gaps,) = refused.batches("host")
    assert check_batch(gaps) == []
    existed_ns = sum(row.segment.boot.length_ns for batch in host.batches for row in batch.rows)
    assert sum(row.segment.boot.length_ns for row in gaps.rows) == existed_ns


def test_that_a_device_was_removed_or_the_clock_stepped_is_not_forgotten_with_the_rest() -> None:
    """Without it, a watermark would seem to pass a device that owes no rows any more."""
    (told,) = minutes(1)
    kinds = (EventKind.WORKLOAD_SEEN, EventKind.DEVICE_REMOVED, EventKind.CLOCK_STEPPED)
    events = tuple(Event(kind, "nvidia:MIG-1", 5, 6) for kind in kinds)
    refused = refusing([replace(told, events=events)])
    assert [event.kind for batch in refused.batches("host") for event in batch.events] == list(kinds[1:])
    for at_ns in range(3 * MAX_EVENTS):
        later = tuple(replace(event, boot_ns=at_ns) for event in events)
        refused = refused.with_batch(Batch("host", "boot", events=later))
    (gaps,) = refused.batches("host")
    assert len(gaps.events) == MAX_EVENTS


def test_nothing_refused_is_nothing_to_say() -> None:
    assert Refused().batches("host") == []


def test_a_revision_that_a_full_log_refuses_takes_nothing_from_what_is_kept() -> None:
    (told, *_) = minutes(1)
    revised = replace(told, rows=tuple(replace(row, revision=1) for row in told.rows))
    assert Refused().with_batch(revised).stretches == {}


def test_what_is_given_up_again_after_an_error_of_the_disk_is_remembered_once() -> None:
    host_gap = HostGap(Interval(1, 2), "former boot", "reboot", ())
    events = (Event(EventKind.DEVICE_REMOVED, "nvidia:MIG-1", 5, 6),)
    told = [replace(batch, host_gaps=(host_gap,), events=events) for batch in minutes(3)]
    refused = refusing(told)
    assert refused.up and refused.events and refused.host_gaps
    assert refused.with_batch(told[0]).with_batch(told[2]) == refused
    assert refused.with_others(refused) == refused
