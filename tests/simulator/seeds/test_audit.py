"""The auditor finds nothing in what a daemon wrote, and everything that was changed afterwards, however well sealed."""

from collections import defaultdict
from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from gputally.simulator.audit import Auditor, audit
from gputally.simulator.audit.auditor import MAX_VIOLATIONS
from gputally.simulator.audit.canonical import records_digest

from .forging import Place, batches_of, integers_in, sealed, tampered

NOT_COVERED = {
    "Segment.wall_start_ns": "a wall clock may be slewed: only beyond 0.1 s it is another time",
    "HostWindow.wall_start_ns": "the same",
    "HostWindow.length_ns": "only of the newest row of a boot: nothing follows that would not meet it",
    "HostGap.wall_start_ns": "wall time again, and nobody is billed for it",
    "HostGap.length_ns": "the same",
    "Event.boot_ns": "events tell what happened; no amount rests on them",
    "Event.wall_ns": "the same",
    "DeviceWindow.interval_ns": "how often somebody looked: no amount, and in no digest that a frame carries",
}
"""Integers whose change by one no frame contradicts, and why."""


def samples(ledger: list[bytes], each: int) -> dict[str, list[Place]]:
    """Of every kind of integer in the stream some places."""
    by_kind, rng = defaultdict[str, list[Place]](list), Random(1)
    for place in integers_in(batches_of(ledger)):
        by_kind[place.kind].append(place)
    return {kind: rng.sample(places, min(each, len(places))) for kind, places in by_kind.items()}


def test_what_a_daemon_wrote_holds(ledger: list[bytes]) -> None:
    auditor = Auditor()
    for raw in ledger:
        auditor.take(raw)
    assert auditor.finish() == []
    assert auditor.rows > 20 and auditor.records > 20


def test_sealing_anew_changes_nothing_that_an_auditor_could_see(ledger: list[bytes]) -> None:
    assert audit(sealed(batches_of(ledger))) == []


def test_one_nanosecond_one_millijoule_or_one_of_anything_more_or_less_is_caught(ledger: list[bytes]) -> None:
    batches = batches_of(ledger)
    for kind, places in samples(ledger, each=4).items():
        for place in places if kind not in NOT_COVERED else []:
            for by in (1, -1):
                frames = tampered(batches, place, by)
                assert frames is None or audit(frames), (place, by)


def test_what_is_said_not_to_be_covered_is_not(ledger: list[bytes]) -> None:
    """A list of exceptions that is longer than it need be hides what it should not."""
    batches, found = batches_of(ledger), samples(ledger, each=12)
    for kind in NOT_COVERED.keys() & found.keys():
        streams = [tampered(batches, place, 1) for place in found[kind]]
        assert any(frames is not None and not audit(frames) for frames in streams), kind


@pytest.mark.parametrize("field", ["allocated_ns", "energy_mj"])
def test_an_amount_is_caught_even_where_its_digest_was_forged_too(ledger: list[bytes], field: str) -> None:
    batches = batches_of(ledger)
    batch = next(b for b in batches for r in b.records if r.allocated_ns and r.HasField("energy_mj") and r.energy_mj)
    record = next(r for r in batch.records if r.allocated_ns and r.energy_mj)
    setattr(record, field, getattr(record, field) + 1)
    row = next(row for row in batch.rows if row.segment == record.segment)
    mine = [r for r in batch.records if r.segment == record.segment]
    row.records_digest = records_digest(batch.segments[record.segment], mine)
    assert any("accounts for" in each for each in audit(sealed(batches)))


def in_the_middle(batches: list[Any]) -> int:
    """A batch with rows of several devices, each of which has rows before and after it in the same boot."""
    for number, batch in enumerate(batches):
        here = {segment.device_id for segment in batch.segments}
        before, after = (
            {segment.device_id for other in others if other.boot_id == batch.boot_id for segment in other.segments}
            for others in (batches[:number], batches[number + 1 :])
        )
        if len(here) > 1 and here <= before & after:
            return number
    raise LookupError("no such batch")


def drop_row(batches: list[Any]) -> None:
    batch = batches[in_the_middle(batches)]
    gone = next(row for row in batch.rows if row.segment == len(batch.segments) - 1)
    batch.rows.remove(gone)
    del batch.segments[gone.segment]
    for index in reversed(range(len(batch.records))):
        if batch.records[index].segment == gone.segment:
            del batch.records[index]


def repeat_batch(batches: list[Any]) -> None:
    number = in_the_middle(batches)
    batches.insert(number + 1, batches[number])


def drop_batch(batches: list[Any]) -> None:
    del batches[in_the_middle(batches)]


def count_twice(batches: list[Any]) -> None:
    batch = next(b for b in batches if b.records)
    batch.records.append(batch.records[0])


def claim_and_hold(batches: list[Any]) -> None:
    record = next(r for b in batches for r in b.records if r.allocated_ns)
    record.outside_claim = True


def watermark_ahead(batches: list[Any]) -> None:
    batch = next(b for b in batches[2:] if b.HasField("complete_through_ns"))
    batch.complete_through_ns += 300 * 10**9


def watermark_back(batches: list[Any]) -> None:
    first, *_, last = (b for b in batches if b.HasField("complete_through_ns"))
    last.complete_through_ns = first.complete_through_ns - 60 * 10**9


def unknown_reason(batches: list[Any]) -> None:
    row = next(row for b in batches for row in b.rows if row.unobserved)
    row.unobserved[0].reason = ""


@pytest.mark.parametrize(
    ("forge", "word"),
    [
        (drop_row, "hole"),
        (drop_batch, "hole"),
        (repeat_batch, "comes again"),
        (count_twice, "counts a workload twice"),
        (claim_and_hold, "somebody else has claimed"),
        (watermark_ahead, "watermark"),
        (watermark_back, "goes back"),
        (unknown_reason, "gaps"),
    ],
)
def test_a_forger_with_a_seal_is_caught(ledger: list[bytes], forge: Callable[[list[Any]], None], word: str) -> None:
    batches = batches_of(ledger)
    forge(batches)
    found = audit(sealed(batches))
    assert any(word in each for each in found), found[:3]


def test_a_frame_that_is_missing_doubled_or_out_of_order_breaks_the_chain(ledger: list[bytes]) -> None:
    assert "follows frame" in audit([*ledger[:4], *ledger[5:]])[0]
    assert "follows frame" in audit([*ledger[:4], ledger[3], *ledger[4:]])[0]
    assert "follows frame" in audit([ledger[1], ledger[0], *ledger[2:]])[0]


def test_a_byte_that_is_another_breaks_the_chain_or_the_frame(ledger: list[bytes]) -> None:
    rng = Random(1)
    for _ in range(60):
        number = rng.randrange(len(ledger) - 1)  # a change in the last frame only its receiver's own hash would tell
        at = rng.randrange(len(ledger[number]))
        raw = bytearray(ledger[number])
        raw[at] ^= 1 << rng.randrange(8)
        assert audit([*ledger[:number], bytes(raw), *ledger[number + 1 :]]), (number, at)


def test_what_is_no_frame_is_told_and_nothing_is_raised() -> None:
    assert all(audit([raw]) for raw in (b"", b"x" * 67, b"\x01" + bytes(200), bytes(100)))


def test_a_stream_of_nothing_but_violations_is_told_with_a_bound(ledger: list[bytes]) -> None:
    assert len(audit([b"no frame"] * 5_000)) == MAX_VIOLATIONS
