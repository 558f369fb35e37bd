"""The meter, told a host's life tick by tick, gives each nanosecond to exactly one."""

from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gputally.model.checkpoint import load, save
from gputally.model.conservation import check_batch, tile
from gputally.model.device_meter import DeviceMeter
from gputally.model.reading import DeviceGap, DeviceReading, GapReason
from gputally.model.refused import Refused
from gputally.model.usage import POLICIES, Batch, Sharing
from gputally.model.workload import Attribution, Holder, Owner, Workload

from .host import HostRun, PaperHost, Run, S, ServiceRun, true_shares

GPU = "nvidia:GPU-0"


def lawful(host: PaperHost) -> None:
    assert [v for batch in host.batches for v in check_batch(batch)] == []
    for device in host.devices:
        tiling = tile(row.segment.boot for row in host.rows if row.segment.device_id == device)
        assert tiling.holes == () and tiling.overlaps == ()


def test_alone_for_30_s_then_two_for_30_s_is_45_and_15() -> None:
    host = PaperHost([Run(1, "a", 0, 90 * S), Run(2, "b", 30 * S, 90 * S)])
    for tick in range(61):
        host.tick(tick * S)
    assert (host.allocated_ns("a"), host.allocated_ns("b")) == (45 * S, 15 * S)
    lawful(host)


def test_seven_equal_holders_of_a_minute_get_the_whole_minute() -> None:
    host = PaperHost([Run(n, f"t{n}", 0, 90 * S) for n in range(1, 8)])
    for tick in range(61):
        host.tick(tick * S)
    assert sum(host.allocated_ns(f"t{n}") for n in range(1, 8)) == 60 * S
    lawful(host)


def test_a_process_is_billed_from_its_start_to_its_end_not_from_tick_to_tick() -> None:
    host = PaperHost([Run(1, "a", 10 * S + 123_456_789, 20 * S + 987_654_321)])
    for tick in range(61):
        host.tick(tick * S)
    assert host.allocated_ns("a") == 10 * S + 864_197_532
    assert host.rows[0].idle_ns == 60 * S - host.allocated_ns("a")


def test_a_process_that_opens_the_device_long_after_it_started_is_billed_from_the_first_evidence() -> None:
    old = Run(1, "a", 0, 1000 * S)
    host = PaperHost([])
    for tick in range(400, 460):
        host.runs = [old] if tick >= 430 else []
        host.tick(tick * S)
    host.stop()
    assert host.allocated_ns("a") == 29 * S
    assert max(r.edge_uncertainty_ns for r in host.records) == S


def test_a_window_that_crosses_midnight_of_a_month_is_cut_there() -> None:
    may_31_ns = 1_748_735_999_500_000_000  # 2025-05-31T23:59:59.5Z
    host = PaperHost([Run(1, "a", 5 * S, 7 * S)], offset_ns=may_31_ns - 5 * S)
    for tick in range(70):
        host.tick(tick * S)
    june_ns = 1_748_736_000 * S
    june = sum(r.allocated_ns for r in host.records if r.segment.window_start_ns >= june_ns)
    assert (host.allocated_ns("a") - june, june) == (500_000_000, 1_500_000_000)
    lawful(host)


def test_a_late_reading_within_three_intervals_is_bridged_and_beyond_is_a_gap() -> None:
    host = PaperHost([Run(1, "a", 0, 900 * S)])
    for at_s in (0, 1, 4, 5, 9, 10):
        host.tick(at_s * S)
    host.stop()
    assert host.allocated_ns("a") == 6 * S
    assert host.unobserved_ns() == {"overload": 4 * S}
    lawful(host)


def test_a_hung_gpu_is_a_gap_with_its_reason_and_costs_the_others_nothing() -> None:
    devices = tuple(f"nvidia:GPU-{n}" for n in range(8))
    host = PaperHost([Run(n + 1, f"t{n}", 0, 900 * S, f"nvidia:GPU-{n}") for n in range(8)], devices)
    for tick in range(121):
        host.tick(tick * S, {"nvidia:GPU-3": GapReason.NVML_HANG} if 30 <= tick < 80 else None)
    assert [host.unobserved_ns(name) for name in devices if name != "nvidia:GPU-3"] == [{}] * 7
    assert host.unobserved_ns("nvidia:GPU-3") == {"nvml_hang": 51 * S}
    lawful(host)


def test_a_gap_is_settled_while_it_lasts_so_that_windows_close() -> None:
    host = PaperHost([])
    host.tick(0)
    for tick in range(1, 200):
        host.tick(tick * S, {GPU: GapReason.GPU_LOST})
    assert [row.unobserved_ns for row in host.rows] == [(("gpu_lost", 60 * S),)] * 3
    assert host.batches[-1].complete_through_ns == host.offset_ns + 180 * S


def test_energy_is_split_by_time_and_the_rest_is_idle_to_the_millijoule() -> None:
    host = PaperHost([Run(1, "a", 0, 30 * S)])
    for tick in range(61):
        host.tick(tick * S)
    assert [r.energy_mj for r in host.records] == [9_000_000]
    assert (host.rows[0].idle_energy_mj, host.rows[0].unobserved_energy_mj) == (9_000_000, 0)
    lawful(host)


def test_a_counter_that_falls_begins_a_new_segment_and_what_it_shows_since_is_new() -> None:
    host = PaperHost([])
    for at_s, counter in ((0, 500), (1, 700), (2, 40), (3, 90), (60, 0)):
        host.observe(at_s * S, (DeviceReading(GPU, at_s * S, energy_mj=counter),))
    spent = [(row.energy_start_mj, row.energy_end_mj) for row in host.rows]
    assert spent == [(500, 700), (0, 90), (0, 0)]
    lawful(host)


def test_a_clock_step_neither_loses_nor_makes_time() -> None:
    host = PaperHost([Run(1, "a", 0, 900 * S)])
    for tick in range(100):
        host.offset_ns += {40: 3600 * S, 70: -7200 * S}.get(tick, 0)
        host.tick(tick * S)
    host.stop()
    assert host.allocated_ns("a") == 99 * S
    assert len({row.segment.window_start_ns for row in host.rows}) >= 3
    lawful(host)


def test_new_rules_cut_the_segment_and_the_past_stays_with_the_old() -> None:
    host = PaperHost([Run(1, "a", 0, 900 * S)])
    for tick in range(61):
        host.rules_version = "r1" if tick < 30 else "r2"
        host.tick(tick * S)
    assert [(r.rules_version, r.allocated_ns) for r in host.records] == [("r1", 30 * S), ("r2", 30 * S)]
    lawful(host)


def test_the_memory_policy_shares_by_memory_and_the_equal_one_does_not() -> None:
    runs = [Run(1, "a", 0, 90 * S, memory_bytes=3 << 30), Run(2, "b", 0, 90 * S, memory_bytes=1 << 30)]
    by_memory, equally = PaperHost(runs, sharing=Sharing.MEMORY), PaperHost(runs)
    for tick in range(61):
        by_memory.tick(tick * S)
        equally.tick(tick * S)
    assert (by_memory.allocated_ns("a"), by_memory.allocated_ns("b")) == (45 * S, 15 * S)
    assert (equally.allocated_ns("a"), equally.allocated_ns("b")) == (30 * S, 30 * S)


def restart(host: PaperHost) -> None:
    host.meter = load(save(host.meter, Refused()))[0]


def test_a_restart_neither_loses_nor_doubles_a_nanosecond_and_marks_what_it_bridged() -> None:
    host = PaperHost([Run(1, "a", 0, 900 * S)])
    for tick in (*range(20), *range(50, 61)):
        if tick == 50:
            restart(host)
        host.tick(tick * S)
    assert host.allocated_ns("a") == 60 * S
    assert [r.inferred_ns for r in host.records] == [31 * S]
    lawful(host)


def test_a_holder_that_ended_unseen_leaves_its_share_unobserved() -> None:
    host = PaperHost([Run(1, "a", 0, 900 * S), Run(2, "b", 0, 30 * S)])
    for tick in (*range(20), *range(50, 61)):
        if tick == 50:
            restart(host)
            host.told_ns = 50 * S
        host.tick(tick * S)
    assert host.unobserved_ns() == {"daemon_down": 31 * S // 2}
    assert host.allocated_ns("b") == 19 * S // 2
    lawful(host)


def test_a_host_process_does_not_inherit_the_share_of_a_tenant_that_ended_unseen() -> None:
    host = PaperHost([HostRun(1, "root", 0, 900 * S), Run(2, "a", 0, 30 * S)])
    for tick in (*range(20), *range(50, 61)):
        if tick == 50:
            restart(host)
            host.told_ns = 50 * S
        host.tick(tick * S)
    assert host.unobserved_ns() == {"daemon_down": 31 * S}
    assert sum(r.allocated_ns for r in host.records if r.workload.is_host) == 10 * S
    lawful(host)


def test_idle_time_is_never_inferred() -> None:
    host = PaperHost([])
    for tick in (*range(20), *range(50, 61)):
        if tick == 50:
            restart(host)
        host.tick(tick * S)
    assert host.rows[0].idle_ns == 29 * S
    assert host.unobserved_ns() == {"daemon_down": 31 * S}


def test_over_more_than_a_day_nothing_is_inferred() -> None:
    host = PaperHost([Run(1, "a", 0, 10**15)])
    host.tick(0)
    restart(host)
    host.tick(25 * 3600 * S)
    host.stop()
    assert host.allocated_ns("a") == 0
    assert host.unobserved_ns() == {"daemon_down": 25 * 3600 * S}
    lawful(host)


def test_a_checkpoint_comes_back_as_it_was() -> None:
    host = PaperHost([Run(1, "a", 0, 900 * S), Run(2, "b", 3 * S, 900 * S)])
    for tick in range(20):
        host.tick(tick * S)
    again = load(save(host.meter, Refused()))[0]
    again.devices[GPU].resumed = False
    assert again == host.meter


processes = st.tuples(st.integers(1, 5), st.integers(0, 300 * 10**9), st.integers(1, 120 * 10**9))


@settings(max_examples=60, deadline=None)
@given(
    lives=st.lists(processes, max_size=8),
    delays=st.lists(st.integers(200_000_000, 2_800_000_000), min_size=3, max_size=120),
    crashes=st.sets(st.integers(1, 100), max_size=4),
    hangs=st.sets(st.integers(1, 100), max_size=10),
)
def test_whatever_happens_every_nanosecond_is_counted_once(
    lives: list[tuple[int, int, int]], delays: list[int], crashes: set[int], hangs: set[int]
) -> None:
    host = PaperHost([Run(n + 1, f"t{t}", start, start + length) for n, (t, start, length) in enumerate(lives)])
    at_ns = 0
    for tick, delay in enumerate(delays):
        host.tick(at_ns, {GPU: GapReason.NVML_HANG} if tick in hangs else None)
        if tick in crashes and host.meter.devices:
            restart(host)
        at_ns += delay
    host.tick(at_ns)
    host.stop()
    lawful(host)
    assert sum(row.segment.boot.length_ns for row in host.rows) == at_ns - min(
        (row.segment.boot.start_ns for row in host.rows), default=at_ns
    )


@settings(max_examples=60, deadline=None)
@given(
    lives=st.lists(processes, max_size=6),
    delays=st.lists(st.integers(200_000_000, 2_800_000_000), min_size=3, max_size=120),
)
def test_each_tenants_share_agrees_with_the_truth_within_the_stated_uncertainty(
    lives: list[tuple[int, int, int]], delays: list[int]
) -> None:
    """Nothing is hidden from the meter here but processes that live between two ticks: they are left out."""
    edges = [sum(delays[:n]) for n in range(len(delays) + 1)]
    runs = [Run(n + 1, f"t{t}", start, start + length) for n, (t, start, length) in enumerate(lives)]
    runs = [r for r in runs if any(r.start_ns <= at < r.end_ns for at in edges)]
    host = PaperHost(runs)
    for at_ns in edges:
        host.tick(at_ns)
    host.stop()
    truth = true_shares(runs, GPU, edges[0], edges[-1])
    for tenant in {r.tenant for r in runs}:
        exact, scale = truth.get(tenant, (0, 1))
        mine = [r for r in host.records if r.owner.tenant == tenant]
        slack = sum(r.edge_uncertainty_ns for r in mine) + len(host.rows)
        assert abs(sum(r.allocated_ns for r in mine) * scale - exact) <= slack * scale


def test_a_gap_before_the_first_reading_makes_no_device() -> None:
    host = PaperHost([])
    host.observe(0, (DeviceGap(GPU, 0, GapReason.GPU_LOST),))
    assert host.meter.devices == {}


def test_a_storm_of_workloads_begins_new_segments_and_nobody_is_lumped_together() -> None:
    runs = [Run(n + 1, f"t{n:03d}", n * S // 5, n * S // 5 + 3 * S) for n in range(250)]
    host = PaperHost(runs)
    for tick in range(61):
        host.tick(tick * S)
    assert {r.owner.tenant for r in host.records} >= {run.tenant for run in runs[:285]}
    assert max(row.record_count for row in host.rows) <= 120
    lawful(host)


def test_more_holders_at_once_than_a_segment_takes_are_booked_together_and_still_add_up() -> None:
    host = PaperHost([Run(n + 1, f"t{n:03d}", 0, 900 * S) for n in range(150)])
    for tick in range(61):
        host.tick(tick * S)
    lumped = [r for r in host.records if r.workload.id == "__other__"]
    assert lumped and all(r.owner.tenant == "unattributed" for r in lumped)
    lawful(host)


def test_a_device_whose_first_tick_is_a_gap_is_metered_from_its_first_good_reading() -> None:
    host = PaperHost([Run(1, "a", 0, 900 * S)])
    for tick in range(61):
        host.tick(tick * S, {GPU: GapReason.NVML_ERROR} if tick < 3 else None)
    host.stop()
    assert host.allocated_ns("a") == 57 * S


def test_an_exit_that_is_told_before_the_list_lacks_the_process_is_not_forgotten() -> None:
    """It ended between the reading of the list and the look at its exit."""
    run = Run(1, "a", 0, 10 * S + 5_000_000)
    host = PaperHost([run])
    for tick in range(10):
        host.tick(tick * S)
    host.observe(10 * S, (host.look(GPU, 10 * S),), Attribution("r1", {1: run.holder}, {run.process: run.end_ns}))
    host.told_ns = run.end_ns
    for tick in range(11, 20):
        host.tick(tick * S)
    host.stop()
    assert host.allocated_ns("a") == run.end_ns
    lawful(host)


def test_an_exit_that_is_told_during_a_short_gap_is_not_forgotten() -> None:
    host = PaperHost([Run(1, "a", 0, 9 * S + 100_000_000)])
    for tick in range(20):
        host.tick(tick * S, {GPU: GapReason.NVML_ERROR} if tick == 10 else None)
    host.stop()
    assert host.allocated_ns("a") == 9 * S + 100_000_000


def test_exits_are_not_remembered_for_ever_while_a_device_is_a_gap() -> None:
    host = PaperHost([Run(n + 1, "a", n * S, n * S + S // 2) for n in range(500)])
    host.tick(0)
    for tick in range(1, 500):
        host.tick(tick * S, {GPU: GapReason.GPU_LOST})
    assert host.meter.devices[GPU].ended == {}


def test_a_clock_set_forward_and_back_completes_no_window_that_is_open() -> None:
    host = PaperHost([Run(1, "a", 0, 9000 * S)])
    for tick in range(400):
        host.offset_ns += {70: 7200 * S, 80: -7200 * S}.get(tick, 0)
        host.tick(tick * S)
    for batch in host.batches:
        named = [row.segment.window_start_ns for row in batch.rows]
        assert batch.complete_through_ns is None or batch.complete_through_ns > max(named, default=0)


def test_a_slewing_clock_does_not_open_a_window_that_is_complete() -> None:
    host = PaperHost([Run(1, "a", 0, 900 * S)], interval_ns=S // 20)
    for tick in range(1200):
        host.tick(tick * S // 20)
    host.offset_ns -= 90_000_000
    host.tick(60 * S + 1_000_000)
    host.rules_version = "r2"
    host.tick(60 * S + 41_000_000)
    host.tick(60 * S + 200_000_000)
    host.stop()
    names = [row.segment.window_start_ns for row in host.rows]
    assert names == sorted(names) and names.count(host.offset_ns + 90_000_000) == 1
    lawful(host)


def test_more_workloads_than_a_segment_takes_are_bridged_over_a_restart_without_a_hole() -> None:
    host = PaperHost([Run(n + 1, f"t{n:03d}", 0, 900 * S) for n in range(150)])
    for tick in range(20):
        host.tick(tick * S)
    restart(host)
    for tick in range(40, 61):
        host.tick(tick * S)
    lawful(host)


def test_a_driver_that_starts_slowly_after_a_restart_does_not_cost_what_can_be_inferred() -> None:
    host = PaperHost([Run(1, "a", 0, 900 * S)])
    for tick in (*range(20), *range(25, 61)):
        if tick == 25:
            restart(host)
        host.tick(tick * S, {GPU: GapReason.NVML_HANG} if 25 <= tick < 45 else None)
    assert host.allocated_ns("a") == 60 * S
    assert [r.inferred_ns for r in host.records] == [26 * S]


def test_a_driver_that_does_not_come_after_a_restart_is_given_up_and_windows_close() -> None:
    host = PaperHost([Run(1, "a", 0, 900 * S)])
    for tick in range(20):
        host.tick(tick * S)
    restart(host)
    for tick in range(25, 200):
        host.tick(tick * S, {GPU: GapReason.NVML_HANG})
    assert len(host.rows) == 3
    lawful(host)


@settings(max_examples=60, deadline=None)
@given(
    lives=st.lists(processes, max_size=6),
    sharing=st.sampled_from(POLICIES),
    some=st.lists(st.integers(1, 119), max_size=60, unique=True),
    others=st.lists(st.integers(1, 119), max_size=60, unique=True),
)
def test_the_same_edges_under_other_ticks_give_the_same_nanoseconds(
    lives: list[tuple[int, int, int]], sharing: Sharing, some: list[int], others: list[int]
) -> None:
    """Nobody is there between two ticks only, and what is sampled is the same whenever it is read."""
    runs = [Run(n + 1, f"t{t}", 0, 120 * S - length // 120) for n, (t, _, length) in enumerate(lives)]
    told: list[list[tuple[str, int, int, int]]] = []
    for ticks in (some, others):
        host = PaperHost(runs, sharing=sharing, interval_ns=60 * S)
        for at_s in sorted({0, 118, 120, *ticks}):
            host.tick(at_s * S)
        host.stop()
        lawful(host)
        told.append(sorted((r.owner.tenant, r.allocated_ns, r.held_ns, r.busy_ns) for r in host.records))
    assert told[0] == told[1]


def test_two_tenants_on_one_gpu_under_each_policy_share_to_the_nanosecond_and_the_millijoule() -> None:
    runs = [
        Run(1, "a", 0, 90 * S, memory_bytes=3 << 30, sm_percent=20),
        Run(2, "b", 0, 90 * S, memory_bytes=1 << 30, sm_percent=50),
    ]
    whole_mj = 60 * 300_000
    for sharing, of_a in ((Sharing.EQUAL, (1, 2)), (Sharing.MEMORY, (3, 4)), (Sharing.BUSY, (2, 7))):
        host = PaperHost(runs, sharing=sharing)
        for tick in range(61):
            host.tick(tick * S)
        a, b = sorted(host.records, key=lambda r: r.owner.tenant)
        assert a.allocated_ns == (60 * S * of_a[0] * 2 + of_a[1]) // (of_a[1] * 2)
        assert a.allocated_ns + b.allocated_ns == 60 * S
        assert a.energy_mj == (whole_mj * of_a[0] * 2 + of_a[1]) // (of_a[1] * 2)
        assert (a.energy_mj or 0) + (b.energy_mj or 0) == whole_mj
        assert (a.busy_ns, b.busy_ns) == (12 * S, 30 * S)
        lawful(host)


def test_a_minute_among_three_is_a_third_each() -> None:
    """G13."""
    host = PaperHost([Run(n, f"t{n}", 0, 90 * S) for n in range(1, 4)])
    for tick in range(61):
        host.tick(tick * S)
    assert [r.allocated_ns for r in host.records] == [20 * S] * 3


@dataclass(frozen=True)
class UidRun(Run):
    """A process of one service, whose owner a rule tells by the uid of its first process."""

    @property
    def holder(self) -> Holder:
        return Holder(self.process, Workload("service", "train.service"), Owner(self.tenant, rule="1"), "/s", 7, 0)


def test_a_workload_that_changes_owner_between_two_ticks_is_the_new_ones_from_its_process_on() -> None:
    """Not from the next tick on: the first owner is not billed for what another one's process did."""
    first = UidRun(7, "one", 1 * S, 10 * S + 200_000_000)
    second = UidRun(8, "two", 10 * S + 500_000_000, 40 * S + 300_000_000)
    third = UidRun(9, "one", 40 * S + 300_000_000, 50 * S)
    host = PaperHost([first, second, third])
    for second_of_boot in range(61):
        host.tick(second_of_boot * S)
    host.stop()
    assert host.allocated_ns("one") == 9_200_000_000 + 9_700_000_000
    assert host.allocated_ns("two") == 29_800_000_000
    lawful(host)


def test_two_looks_closer_together_than_two_samples_do_not_make_anybody_idle() -> None:
    told: dict[int, int] = {}
    for gap_ms, expected_ms in ((100, 1000), (500, 500)):
        host = PaperHost([Run(1, "a", 0, 900 * S, sm_percent=100)])
        for tick in range(1001 // gap_ms + 1):
            host.runs = [replace(host.runs[0], sm_percent=None if tick % 3 == 1 else 100)]
            host.observe(
                tick * gap_ms * S // 1000, (replace(host.look(GPU, tick * gap_ms * S // 1000), utilization_percent=0),)
            )
        host.stop()
        told[gap_ms] = sum(r.busy_ns for r in host.records) * 1000 // S
        assert told[gap_ms] == expected_ms


def test_windows_that_end_while_the_daemon_is_down_are_closed_each_by_itself_when_it_is_back() -> None:
    host = PaperHost([Run(1, "a", 0, 900 * S)])
    for tick in (*range(20), *range(250, 310)):
        if tick == 250:
            restart(host)
        host.tick(tick * S)
    host.stop()
    edges = [(row.segment.boot.start_ns // S, row.segment.boot.end_ns // S) for row in host.rows]
    assert edges == [(0, 60), (60, 120), (120, 180), (180, 240), (240, 300), (300, 309)]
    assert [r.inferred_ns // S for r in host.records] == [41, 60, 60, 60, 10, 0]
    lawful(host)


def test_who_left_just_before_a_gap_is_not_billed_on_in_the_quiet_ticks_after_it() -> None:
    host = PaperHost([Run(1, "a", 0, 10 * S), Run(2, "b", 0, 100 * S)])
    for second in [*range(11), *range(30, 61)]:
        host.tick(second * S)
    assert host.unobserved_ns() == {"overload": 20 * S}
    assert (host.allocated_ns("a"), host.allocated_ns("b")) == (5 * S, 35 * S)
    lawful(host)


@settings(max_examples=80, deadline=None)
@given(
    lives=st.lists(processes, max_size=6),
    sharing=st.sampled_from(POLICIES),
    delays=st.lists(st.integers(200_000_000, 2_800_000_000), min_size=3, max_size=150),
    hangs=st.sets(st.integers(1, 150), max_size=5),
)
def test_the_short_way_of_a_quiet_tick_books_just_what_the_long_way_does(
    lives: list[tuple[int, int, int]], sharing: Sharing, delays: list[int], hangs: set[int]
) -> None:
    told: list[list[Batch]] = []
    for quick in (True, False):
        runs = [
            Run(n + 1, f"t{t}", start, start + length, sm_percent=None if n == 3 else 7 * n)
            for n, (t, start, length) in enumerate(lives)
        ]
        host, at_ns = PaperHost(runs, sharing=sharing), 0
        with pytest.MonkeyPatch.context() as patch:
            if not quick:
                patch.setattr(DeviceMeter, "_goes_on", lambda *_: False)
            for tick, delay in enumerate(delays):
                host.tick(at_ns, {GPU: GapReason.NVML_HANG} if tick in hangs else None)
                at_ns += delay
            host.stop()
        told.append(host.batches)
    assert told[0] == told[1]


def test_a_tick_without_samples_is_shared_equally_and_weighs_no_more_than_others() -> None:
    runs = [Run(1, "a", 0, 90 * S, sm_percent=80), Run(2, "b", 0, 90 * S, sm_percent=20)]
    host = PaperHost(runs, sharing=Sharing.BUSY)
    for tick in range(61):
        host.runs = [replace(run, sm_percent=None) for run in runs] if tick > 30 else runs
        host.observe(tick * S, (replace(host.look(GPU, tick * S), utilization_percent=100),))
    assert (host.allocated_ns("a"), host.allocated_ns("b")) == (39 * S, 21 * S)
    assert {r.owner.tenant: r.busy_ns for r in host.records} == {"a": 39 * S, "b": 21 * S}
    lawful(host)


def test_an_mps_server_or_a_display_server_without_a_rule_has_no_part_of_a_tenants_time() -> None:
    for unit, has in (("nvidia-mps.service", 0), ("gdm.service", 0), ("trainer.service", 30 * S)):
        host = PaperHost([Run(1, "a", 0, 90 * S), ServiceRun(2, unit, 0, 90 * S)])
        for tick in range(61):
            host.tick(tick * S)
        served = [r for r in host.records if r.workload.kind == "service"]
        assert [r.allocated_ns for r in served] == [has]
        assert [r.held_ns for r in served] == [60 * S]
        lawful(host)


def test_a_process_that_began_a_moment_before_the_list_is_billed_from_the_list_on() -> None:
    host = PaperHost([Run(1, "a", 10 * S - 15_000_000, 40 * S)])
    for tick in range(61):
        at_ns = tick * S
        runs, host.runs = host.runs, host.runs if tick != 10 else []
        host.tick(at_ns)
        host.runs = runs
    assert host.allocated_ns("a") == 30 * S
    assert max(r.edge_uncertainty_ns for r in host.records) >= S


def test_windows_of_another_length_after_a_restart_lie_on_their_own_grid() -> None:
    host = PaperHost([Run(1, "a", 0, 900 * S)], window_s=10)
    for tick in range(25):
        host.tick(tick * S)
    restart(host)
    host.meter.reconfigure(60 * S, Sharing.EQUAL)
    for tick in range(25, 300):
        host.tick(tick * S)
    assert {r.segment.window_start_ns % r.segment.window_length_ns for r in host.rows} == {0}
    lawful(host)
