"""Processes that no list ever showed: found in the driver's own buffers, and billed as far as anybody knows."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from gputally.model.conservation import check_batch
from gputally.model.holding import SAMPLE_PERIOD_NS
from gputally.model.reading import Accounted, DeviceReading, PassedProcess, ProcessOnDevice
from gputally.model.usage import UsageRecord
from gputally.model.workload import Attribution, Passage

from .host import PaperHost, Run, S
from .test_meter import lawful

GPU = "nvidia:GPU-0"


def tick(
    host: PaperHost, at_ns: int, passed: tuple[PassedProcess, ...] = (), passages: dict[int, Passage] | None = None
) -> None:
    pids = tuple(ProcessOnDevice(r.pid, 1 << 30, 40) for r in host.runs if r.start_ns <= at_ns < r.end_ns)
    holders = host.attribution(at_ns)
    part = DeviceReading(GPU, at_ns, pids, 50, None, None, passed=passed)
    told = Attribution(host.rules_version, holders.holders, holders.ended, passages or {})
    host.observe(at_ns, (part,), told)


def test_a_job_between_two_ticks_is_billed_from_its_start_to_its_end_where_they_are_remembered() -> None:
    short = Run(9, "flash", 3 * S + 100_000_000, 3 * S + 300_000_000)
    host = PaperHost([])
    for second in range(61):
        found = second == 4
        passed = (PassedProcess(9, (short.start_ns + 150_000_000,), 80),) if found else ()
        passage = Passage(short.holder, short.start_ns, short.end_ns, 5_000_000)
        tick(host, second * S, passed, {9: passage} if found else None)
    (record,) = host.records
    assert (record.owner.tenant, record.allocated_ns, record.held_ns) == ("flash", 200_000_000, 200_000_000)
    assert (record.busy_ns, record.edges, record.edge_uncertainty_ns) == (160_000_000, "memory", 5_000_000)
    lawful(host)


def test_without_any_memory_of_it_accounting_says_when_it_was_there() -> None:
    unknown = Run(9, "?", 0, 0)
    told = Accounted(3 * S + 100_000_000, 250_000_000, 60)
    host = PaperHost([])
    for second in range(61):
        found = second == 4
        passed = (PassedProcess(9, (), None, told),) if found else ()
        tick(host, second * S, passed, {9: Passage(unknown.holder, None, None, 0)} if found else None)
    (record,) = host.records
    assert (record.allocated_ns, record.edges, record.edge_uncertainty_ns) == (250_000_000, "accounted", S)
    lawful(host)


def test_a_sample_alone_holds_from_its_stamp_for_a_sampling_period_for_then_there_would_be_another() -> None:
    unknown = Run(9, "?", 0, 0)
    host = PaperHost([])
    for second in range(61):
        found = second == 4
        passed = (PassedProcess(9, (3 * S + 400_000_000,), 60),) if found else ()
        tick(host, second * S, passed, {9: Passage(unknown.holder, None, None, 0)} if found else None)
    (record,) = host.records
    assert (record.allocated_ns, record.edges) == (SAMPLE_PERIOD_NS, "evidence")
    assert record.edge_uncertainty_ns == S


def test_who_only_passed_by_is_not_billed_on_while_those_in_the_list_stay_the_same() -> None:
    """The quiet ticks after it book on those who were listed, not on those who were booked last."""
    passing = Run(9, "flash", 0, 0)
    host = PaperHost([Run(1, "a", 0, 100 * S)])
    for second in range(61):
        at_ns, found = second * S, second == 4
        passed = (PassedProcess(9, (3 * S + 400_000_000,), 60),) if found else ()
        part = replace(host.look(GPU, at_ns), passed=passed)
        told = replace(host.attribution(at_ns), passed={9: Passage(passing.holder, None, None, 0)} if found else {})
        host.observe(at_ns, (part,), told)
    billed = {record.owner.tenant: record.allocated_ns for record in host.records}
    half_ns = SAMPLE_PERIOD_NS // 2
    assert billed == {"a": 60 * S - half_ns, "flash": half_ns}
    lawful(host)


def test_an_old_process_that_uses_the_device_between_two_ticks_is_billed_from_the_evidence_not_from_its_start() -> None:
    old = Run(9, "old", 1, 5 * S + 700_000_000)
    host = PaperHost([])
    for second in range(61):
        found = second == 6
        passed = (PassedProcess(9, (5 * S + 500_000_000,), 60),) if found else ()
        tick(host, second * S, passed, {9: Passage(old.holder, 1, old.end_ns, 0)} if found else None)
    (record,) = host.records
    assert record.allocated_ns == 200_000_000


def test_one_that_is_still_listed_is_not_billed_twice() -> None:
    run = Run(1, "a", 0, 900 * S)
    host = PaperHost([run])
    for second in range(61):
        passed = (PassedProcess(1, (second * S - 1,), 40),)
        tick(host, second * S, passed, {1: Passage(run.holder, 0, None, 0)})
    assert host.allocated_ns("a") == 60 * S
    lawful(host)


def test_short_jobs_share_with_who_is_there_and_the_sums_are_exact() -> None:
    long = Run(1, "long", 0, 900 * S)
    host = PaperHost([long])
    for second in range(61):
        start_ns = second * S - 700_000_000
        short = Run(100 + second, "short", start_ns, start_ns + 400_000_000)
        passed = (PassedProcess(short.pid, (start_ns + 10,), 80),) if second else ()
        tick(host, second * S, passed, {short.pid: Passage(short.holder, short.start_ns, short.end_ns, 0)})
    assert host.allocated_ns("short") == 60 * 200_000_000
    assert host.allocated_ns("long") == 60 * 800_000_000
    busy = {r.owner.tenant: r.busy_ns for r in host.records}
    # 0.6 s of each second alone at 40 %, 0.4 s together at 40 and 80 %, capped at the device's time
    assert busy["long"] == 60 * 240_000_000 + 60 * 400_000_000 // 3
    assert busy["short"] == 60 * 400_000_000 * 2 // 3
    lawful(host)


def late_flash(found_at_s: int, start_ns: int) -> PaperHost:
    """A job that the driver tells of only at ``found_at_s``, beside one that runs all the time."""
    long, short = Run(1, "long", 0, 900 * S), Run(9, "flash", start_ns, start_ns + 200_000_000)
    host = PaperHost([long])
    for second in range(66):
        found = second == found_at_s
        passed = (PassedProcess(9, (short.start_ns + 150_000_000,), 80),) if found else ()
        passage = Passage(short.holder, short.start_ns, short.end_ns, 5_000_000)
        tick(host, second * S, passed, {9: passage} if found else None)
    host.stop()
    return host


def in_force(host: PaperHost) -> list[UsageRecord]:
    """Of each segment the records of its highest revision."""
    newest: dict[int, int] = {}
    for row in host.rows:
        start_ns = row.segment.boot.start_ns
        newest[start_ns] = max(newest.get(start_ns, 0), row.revision)
    return [r for r in host.records if r.revision == newest[r.segment.boot.start_ns]]


def test_evidence_that_comes_a_tick_late_changes_the_open_segment_as_if_it_had_been_in_time() -> None:
    in_time, late = late_flash(4, 3 * S + 100_000_000), late_flash(5, 3 * S + 100_000_000)
    assert in_time.records == late.records
    assert late.allocated_ns("flash") == 100_000_000
    lawful(late)


def test_evidence_that_comes_after_its_window_closed_is_a_revision_of_the_whole_segment() -> None:
    in_time, late = late_flash(60, 59 * S + 300_000_000), late_flash(61, 59 * S + 300_000_000)
    assert [row.revision for row in late.rows] == [0, 1, 0]
    assert [replace(r, revision=0) for r in in_force(late)] == in_time.records
    assert {r.revision for r in in_force(late)} == {0, 1}
    assert [v for batch in late.batches for v in check_batch(batch)] == []


def test_evidence_that_comes_too_late_for_any_of_it_changes_nothing() -> None:
    late = late_flash(30, 3 * S + 100_000_000)
    assert late.allocated_ns("flash") == 0 and late.allocated_ns("long") == 65 * S
    lawful(late)


@given(
    st.lists(
        st.tuples(st.integers(1, 64), st.integers(0, 2), st.integers(0, 10**9 - 1), st.integers(1, 10**9)), max_size=12
    )
)
def test_however_late_jobs_are_told_of_within_the_grace_the_bill_is_the_same(
    jobs: list[tuple[int, int, int, int]],
) -> None:
    told: list[list[UsageRecord]] = []
    for lateness in (False, True):
        host = PaperHost([Run(1, "long", 0, 900 * S)])
        for second in range(70):
            here = [
                (100 + n, (at - 1) * S + offset, (at - 1) * S + min(offset + length, S))
                for n, (at, late, offset, length) in enumerate(jobs)
                if at + late * lateness == second
            ]
            passed = tuple(PassedProcess(pid, (end_ns,), 50) for pid, start_ns, end_ns in here if start_ns < end_ns)
            passages = {
                pid: Passage(Run(pid, f"j{pid}", start_ns, end_ns).holder, start_ns, end_ns, 0)
                for pid, start_ns, end_ns in here
            }
            tick(host, second * S, passed, passages)
        host.stop()
        assert [v for batch in host.batches for v in check_batch(batch)] == []
        told.append([replace(record, revision=0, edges="") for record in in_force(host)])
    assert told[0] == told[1]


def test_a_segment_that_two_pieces_of_late_evidence_touch_is_revised_once() -> None:
    long, runs = Run(1, "long", 0, 900 * S), [Run(9, "x", 58 * S + 1, 58 * S + 9), Run(8, "y", 59 * S + 1, 59 * S + 9)]
    host = PaperHost([long])
    for second in range(66):
        passed = tuple(PassedProcess(r.pid, (r.end_ns,), 80) for r in runs) if second == 61 else ()
        passages = {r.pid: Passage(r.holder, r.start_ns, r.end_ns, 0) for r in runs}
        tick(host, second * S, passed, passages)
    host.stop()
    assert [row.revision for row in host.rows] == [0, 1, 0]
    assert [v for batch in host.batches for v in check_batch(batch)] == []
    assert host.allocated_ns("x") == host.allocated_ns("y") == 4


def test_late_evidence_does_not_leave_the_quiet_ticks_after_it_to_who_passed_by() -> None:
    flash, host = Run(9, "flash", 2 * S + 100, 2 * S + 200), PaperHost([Run(1, "a", 0, 900 * S)])
    for second in range(61):
        passed = (PassedProcess(9, (flash.end_ns,), 80),) if second == 4 else ()
        passages = {9: Passage(flash.holder, flash.start_ns, flash.end_ns, 0)}
        part = replace(host.look(GPU, second * S), passed=passed)
        told = replace(host.attribution(second * S), passed=passages if passed else {})
        host.observe(second * S, (part,), told)
    assert host.allocated_ns("flash") == 50
    lawful(host)
