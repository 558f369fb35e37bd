"""What entries of the log mean: new, repeated, revised, contradicting or impossible segments."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gputally.collector.examine import examine
from gputally.model.conservation import check_batch
from gputally.model.identity import record_digest, records_digest, usage_key
from gputally.model.interval import NS_PER_HOUR, NS_PER_S, Interval
from gputally.model.usage import Batch, ClaimClass, DeviceWindow, Segment, Sharing, UsageRecord
from gputally.model.workload import Owner, Workload
from gputally.simulator.stream import SimulatedHost, chain
from gputally.storage.frame import genesis_hash, make_frame, make_skip
from gputally.storage.ledger_rules import StreamId
from gputally.storage.skip import Skip

from .folded import NOW_NS, Folded
from .running import JUNE_NS

MINUTE = 60 * NS_PER_S
EPOCH = b"e" * 16


@pytest.fixture
def folded(tmp_path: Path) -> Iterator[Folded]:
    with Folded(tmp_path) as opened:
        yield opened


def segment(minute: int = 0, device: str = "nvidia:GPU-1", length_ns: int = MINUTE) -> Segment:
    start_ns = JUNE_NS + minute * MINUTE
    boot = Interval(minute * MINUTE + 5, minute * MINUTE + 5 + length_ns)
    return Segment(device, 0, "NVIDIA L40", boot, start_ns, start_ns - start_ns % MINUTE, MINUTE)


def group(
    where: Segment, shares: dict[str, int] | None = None, revision: int = 0
) -> tuple[list[UsageRecord], DeviceWindow]:
    """A segment shared by organisations; the rest is idle."""
    told = {"A": where.boot.length_ns} if shares is None else shares
    records = [
        UsageRecord(where, Workload("docker", org), Owner(org), ns, ns, revision=revision) for org, ns in told.items()
    ]
    idle_ns = where.boot.length_ns - sum(told.values())
    return records, DeviceWindow(where, idle_ns, (), len(records), records_digest(records), revision=revision)


def batch(*groups: tuple[list[UsageRecord], DeviceWindow], through_ns: int | None = None) -> Batch:
    records = tuple(record for records, _ in groups for record in records)
    return Batch("gpu-01", "boot-1", records, tuple(row for _, row in groups), through_ns)


def total_ns(folded: Folded) -> int:
    return int(folded.usage()["grand_total"]["ns"])


def test_a_segment_that_comes_again_in_another_epoch_is_a_duplicate(folded: Folded) -> None:
    told = batch(group(segment(0)), group(segment(1)))
    folded.take("gpu-01", [told])
    folded.take("gpu-01", [told], epoch=b"f" * 16)
    host = folded.host("gpu-01")
    assert (total_ns(folded), host.duplicates, host.records) == (2 * MINUTE, 4, 2)


def test_a_segment_that_comes_twice_in_one_group_of_entries_is_a_duplicate(folded: Folded) -> None:
    told = batch(group(segment(0)))
    folded.take("gpu-01", [told, told, told])
    assert (total_ns(folded), folded.host("gpu-01").duplicates) == (MINUTE, 4)


def test_a_higher_revision_supersedes_and_the_older_ledger_keeps_its_answer(folded: Folded) -> None:
    folded.take("gpu-01", [batch(group(segment(0), {"A": MINUTE}))])
    before = folded.usage()
    folded.take("gpu-01", [batch(group(segment(0), {"A": 40 * NS_PER_S, "B": 20 * NS_PER_S}, 1))], epoch=b"f" * 16)
    after = folded.usage()
    assert {org: each["ns"] for org, each in after["totals_by_org"].items()} == {
        "A": str(40 * NS_PER_S), "B": str(20 * NS_PER_S),
    }  # fmt: skip
    assert folded.usage(as_of=before["as_of"]) == before
    assert folded.host("gpu-01").superseded == 1
    assert folded.conservation()["summary"]["exact"] is True


def test_a_revision_may_take_a_record_away(folded: Folded) -> None:
    folded.take("gpu-01", [batch(group(segment(0), {"A": 30 * NS_PER_S, "B": 30 * NS_PER_S}))])
    folded.take("gpu-01", [batch(group(segment(0), {"B": MINUTE}, 1))], epoch=b"f" * 16)
    assert list(folded.usage()["totals_by_org"]) == ["B"]


def test_two_revisions_in_one_batch_leave_the_last_in_force(folded: Folded) -> None:
    folded.take("gpu-01", [batch(group(segment(0)))])
    for revision in (1, 2):
        epoch = bytes([revision]) * 16
        folded.take("gpu-01", [batch(group(segment(0), {f"R{revision}": MINUTE}, revision))], epoch=epoch)
    assert list(folded.usage()["totals_by_org"]) == ["R2"]
    assert total_ns(folded) == MINUTE


def test_a_lower_revision_is_stale_and_counted(folded: Folded) -> None:
    folded.take("gpu-01", [batch(group(segment(0), {"A": MINUTE}, 3))])
    folded.take("gpu-01", [batch(group(segment(0), {"B": MINUTE}, 2))], epoch=b"f" * 16)
    assert list(folded.usage()["totals_by_org"]) == ["A"]
    assert folded.host("gpu-01").stale == 2


def test_the_same_revision_with_other_content_is_a_conflict_and_put_aside(folded: Folded) -> None:
    folded.take("gpu-01", [batch(group(segment(0), {"A": MINUTE}), through_ns=JUNE_NS + MINUTE)])
    folded.take("gpu-01", [batch(group(segment(0), {"B": MINUTE}))], epoch=b"f" * 16)
    assert list(folded.usage()["totals_by_org"]) == ["A"]
    assert folded.put_aside() == ["says revision 0 again with other content"]


def test_a_segment_that_overlaps_another_is_metered_twice_and_put_aside(folded: Folded) -> None:
    folded.take("gpu-01", [batch(group(segment(0)))])
    moved = segment(0)
    moved = replace(moved, boot=Interval(moved.boot.start_ns + 1, moved.boot.end_ns + 1))
    folded.take("gpu-01", [batch(group(moved))], epoch=b"f" * 16)
    longer = segment(0, length_ns=MINUTE + 1)
    folded.take("gpu-01", [batch(group(longer, revision=1))], epoch=b"g" * 16)
    assert folded.put_aside() == ["overlaps time that another segment accounts for"] * 2
    assert total_ns(folded) == MINUTE


def given_up(where: Segment, reason: str = "dropped") -> tuple[list[UsageRecord], DeviceWindow]:
    return [], DeviceWindow(where, 0, ((reason, where.boot.length_ns),), 0, records_digest(()))


def test_time_that_its_host_gave_up_and_that_came_all_the_same_is_counted_once(folded: Folded) -> None:
    folded.take("gpu-01", [batch(group(segment(0)), group(segment(1)))])
    late = batch(*(given_up(segment(minute)) for minute in range(3)))
    folded.take("gpu-01", [late], epoch=b"f" * 16)
    assert total_ns(folded) == 2 * MINUTE
    answer = folded.conservation()["summary"]
    assert (int(answer["existed_ns"]), int(answer["unobserved_ns"])) == (3 * MINUTE, MINUTE)
    assert folded.put_aside() == []
    assert folded.host("gpu-01").stale == 2


def test_of_time_that_was_given_up_only_the_holes_are_gaps(folded: Folded) -> None:
    """The host tells it by whole windows; what came was cut by a restart."""
    part = segment(0, length_ns=MINUTE // 3)
    folded.take("gpu-01", [batch(group(part))])
    folded.take("gpu-01", [batch(given_up(segment(0), "log_damaged"))], epoch=b"f" * 16)
    answer = folded.conservation()["summary"]
    assert (int(answer["allocated_ns"]), int(answer["unobserved_ns"])) == (MINUTE // 3, MINUTE - MINUTE // 3)
    assert folded.put_aside() == []


def test_frames_that_neither_side_has_any_more_are_put_down_as_missing(folded: Folded) -> None:
    stream = StreamId("gpu-01", EPOCH)
    first, *_, fifth, sixth = chain(
        "gpu-01", EPOCH, [batch(group(segment(n)), through_ns=JUNE_NS + (n + 1) * MINUTE) for n in range(6)]
    )
    skip = make_skip(EPOCH, 4, first.hash, Skip(2, fifth.previous_hash, "trimmed"))
    frames = [first, skip, fifth, sixth]
    folded.ledger.commit([examine(frame.to_bytes(), stream, frame.seq) for frame in frames], NOW_NS)
    folded.fold()
    (what,) = folded.put_aside()
    assert "frames 2 to 4 were acknowledged once" in what


def test_another_boot_or_generation_is_other_time(folded: Folded) -> None:
    told = batch(group(segment(0)))
    folded.take("gpu-01", [told, replace(told, boot_id="boot-2")])
    regrown = replace(segment(0), generation=1)
    folded.take("gpu-01", [batch(group(regrown))], epoch=b"f" * 16)
    assert total_ns(folded) == 3 * MINUTE


Told = tuple[list[UsageRecord], DeviceWindow]
BROKEN: dict[str, Callable[[list[UsageRecord], DeviceWindow], Told]] = {
    "accounts for": lambda records, row: (records, replace(row, idle_ns=row.idle_ns + 1)),
    "records that are not": lambda records, row: (records, replace(row, records_digest=b"x" * 16)),
    "has no conservation row": lambda records, row: (
        [*records, replace(records[0], segment=segment(7))],
        row,
    ),
    "mJ": lambda records, row: (records, replace(row, energy_start_mj=1, energy_end_mj=100)),
    "blind or inferred": lambda records, row: group_of([replace(records[0], blind_ns=2 * MINUTE)]),
    "one workload twice": lambda records, _: group_of(
        [replace(records[0], allocated_ns=MINUTE // 2, rules_version=version) for version in ("1", "2")]
    ),
    "a time that cannot be": lambda records, row: group(replace(segment(0), wall_start_ns=2**62)),
    "a window that cannot be": lambda records, row: group(replace(segment(0), window_length_ns=2**62 - 5)),
}  # fmt: skip


def group_of(records: list[UsageRecord]) -> tuple[list[UsageRecord], DeviceWindow]:
    return records, DeviceWindow(records[0].segment, 0, (), len(records), records_digest(records))


@pytest.mark.parametrize("what", BROKEN)
def test_what_breaks_the_law_is_put_aside_alone_and_told(
    folded: Folded, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    broken = BROKEN[what](*group(segment(0)))
    folded.take("gpu-01", [batch(broken, group(segment(1)), through_ns=JUNE_NS + 10 * MINUTE)])
    expected = 2 * MINUTE if what == "has no conservation row" else MINUTE
    assert total_ns(folded) == expected
    assert len(folded.put_aside()) == 1 and what in folded.put_aside()[0]
    assert folded.host("gpu-01").quarantined == 1
    assert "quarantined: host gpu-01" in caplog.text


def test_time_is_complete_only_to_what_was_put_aside(folded: Folded) -> None:
    conflicting = group(segment(5))
    broken = (conflicting[0], replace(conflicting[1], idle_ns=7))
    folded.take("gpu-01", [batch(group(segment(4)), broken, group(segment(6)), through_ns=JUNE_NS + 9 * MINUTE)])
    touched = folded.usage(range_to="2025-06-01T00:08:00Z")["completeness"]
    assert (touched["state"], touched["complete_through"]) == ("provisional", "2025-06-01T00:05:00Z")
    assert (touched["quarantined"], touched["quarantined_ns"]) == (1, str(MINUTE))
    before = folded.usage(range_to="2025-06-01T00:05:00Z")["completeness"]
    after = folded.usage(range_from="2025-06-01T00:06:00Z", range_to="2025-06-01T00:09:00Z")["completeness"]
    assert (before["state"], after["state"]) == ("final", "final")


def test_what_a_rejected_frame_held_is_missing_between_the_watermarks_around_it(folded: Folded) -> None:
    first, last = (
        batch(group(segment(n)), through_ns=JUNE_NS + (n + 1) * MINUTE) for n in (0, 2)
    )  # fmt: skip
    good, _, behind = chain("gpu-01", EPOCH, [first, first, last])
    poison = make_frame(EPOCH, 2, good.hash, 1, b"\xff\xff")
    behind = make_frame(EPOCH, 3, poison.hash, 1, behind.payload())
    folded.take_frames("gpu-01", [good, poison], EPOCH)
    state = folded.usage(range_to="2025-06-01T00:01:00Z")["completeness"]["state"]
    assert state == "final"
    assert folded.usage(range_to="2025-06-01T00:02:00Z")["completeness"]["state"] == "provisional"
    folded.take_frames("gpu-01", [behind], EPOCH)
    lost = folded.usage(range_from="2025-06-01T00:01:00Z", range_to="2025-06-01T00:03:00Z")["completeness"]
    assert (lost["state"], lost["complete_through"]) == ("provisional", "2025-06-01T00:01:00Z")
    assert folded.host("gpu-01").rejected_frames == 1


def test_a_watermark_never_goes_back_nor_beyond_the_collectors_time(folded: Folded) -> None:
    now_ns = JUNE_NS + 3 * MINUTE
    told = [JUNE_NS + 2 * MINUTE, JUNE_NS + MINUTE, None, JUNE_NS + 60 * MINUTE]
    seen: list[int | None] = []
    for number, through_ns in enumerate(told):
        epoch = bytes([number]) * 16
        folded.take("gpu-01", [batch(group(segment(number)), through_ns=through_ns)], epoch=epoch, now_ns=now_ns)
        seen.append(folded.host("gpu-01").watermark_ns)
    assert seen == [told[0], told[0], told[0], now_ns]


def test_a_host_that_never_said_a_watermark_keeps_everything_provisional(folded: Folded) -> None:
    folded.take("gpu-01", [batch(group(segment(0)))])
    complete = folded.usage()["completeness"]
    assert (complete["state"], complete["hosts_expected"], complete["complete_through"]) == ("provisional", 1, None)


def test_nothing_of_a_record_is_lost_on_its_way_through_the_projection(folded: Folded) -> None:
    rich = UsageRecord(
        segment=segment(0),
        workload=Workload("kubernetes", "p\u00f6d/\U0001f600"),
        owner=Owner("acme", "vision", "rule 7", "", (("team", "a"), ("cost", ""))),
        allocated_ns=MINUTE,
        held_ns=2**63 + 5,
        blind_ns=3,
        inferred_ns=4,
        busy_ns=5,
        busy_known_ns=6,
        gpu_memory_byte_ms=2**64 - 1,
        energy_mj=0,
        claim=ClaimClass.LEASE,
        sharing=Sharing.MEMORY,
        outside_claim=False,
        edges="exit,start",
        sharing_version=7,
        edge_uncertainty_ns=10**7,
        rules_version="v1",
        evidence="/kubepods.slice",
        session_id="s-1",
        revision=2,
    )
    told = batch(group_of([rich]))
    assert check_batch(told) == []
    folded.take("gpu-01", [told])
    (stored,) = folded.records()
    assert stored.record == rich
    assert stored.digest == record_digest(rich)
    assert stored.usage_key == usage_key("gpu-01", "boot-1", rich)


def test_folding_goes_on_in_the_next_life_with_what_it_knew(tmp_path: Path) -> None:
    told = [batch(group(segment(n)), through_ns=JUNE_NS + (n + 1) * MINUTE) for n in range(6)]
    frames = list(chain("gpu-01", EPOCH, told))
    for number in range(6):
        with Folded(tmp_path) as life:
            life.take_frames("gpu-01", frames[number : number + 1], EPOCH)
    with Folded(tmp_path) as life:
        life.take("gpu-01", told[2:4], epoch=b"f" * 16)
        assert (total_ns(life), life.host("gpu-01").duplicates) == (6 * MINUTE, 4)


def test_a_failed_transaction_changes_nothing_and_is_folded_again(folded: Folded) -> None:
    folded.take("gpu-01", [batch(group(segment(0)))])
    frames = list(chain("gpu-01", b"f" * 16, [batch(group(segment(1)))]))
    position = folded.projector.position
    with pytest.raises(ZeroDivisionError), folded.projection.transaction(position + 1):
        folded.projection.save_hosts([folded.host("gpu-01")])
        raise ZeroDivisionError
    assert folded.projector.position == position
    folded.take_frames("gpu-01", frames, b"f" * 16)
    assert total_ns(folded) == 2 * MINUTE


def test_a_host_with_too_many_holes_is_bounded(folded: Folded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gputally.collector.coverage.MOST_STRETCHES", 3)
    folded.take("gpu-01", [batch(*(group(segment(2 * n)) for n in range(5)))])
    assert folded.put_aside() == ["leaves too many holes between segments"] * 2
    assert total_ns(folded) == 3 * MINUTE


def test_a_whole_simulated_host_keeps_the_law(folded: Folded) -> None:
    host = SimulatedHost("gpu-01", booted_ns=JUNE_NS - NS_PER_HOUR)
    host.hold("nvidia:GPU-1", "NVIDIA L40", "A", Interval(JUNE_NS + 7, JUNE_NS + NS_PER_HOUR))
    batches = list(host.batches())
    assert [violation for each in batches for violation in check_batch(each)] == []
    folded.take("gpu-01", batches)
    assert total_ns(folded) == NS_PER_HOUR - 7
    assert genesis_hash("gpu-01", host.epoch) == next(host.frames()).previous_hash
