"""A process that came and went between two looks is found by its samples, once, whatever the driver adds to them."""

from dataclasses import replace
from pathlib import Path

import pytest
import trio

from gputally.model.reading import Accounted, DeviceReading, HostReading, PassedProcess
from gputally.plugins.nvml.passing import MAX_REMEMBERED, NEAR_NS, Passing
from gputally.simulator.scenario import Quirk, Scenario, SimProcess, boottime_ns

from .rig import Host, S, gaps, good, hang, on_host

SHORT_NS = 400_000_000


def passed(readings: list[HostReading], device: int = 0) -> dict[int, list[int]]:
    """Stamps by pid, in the order in which they were told."""
    found: dict[int, list[int]] = {}
    for reading in readings:
        part = reading.readings[device]
        if isinstance(part, DeviceReading):
            for one in part.passed:
                found.setdefault(one.pid, []).extend(one.evidence_ns)
    return found


async def after_a_short_job(host: Host, readings: list[HostReading], device: int = 0) -> tuple[int, int]:
    """A job comes and goes between two readings. Returns its life."""
    start_ns = boottime_ns()
    job = SimProcess(7001, start_ns=start_ns, end_ns=start_ns + SHORT_NS, sm_percent=80)
    await host.becomes(host.scenario.with_process(device, job))
    await trio.sleep(SHORT_NS / S + 0.05)
    readings.append(await host.read())
    return start_ns, start_ns + SHORT_NS


@pytest.mark.parametrize("others", [0, 1, 3])
def test_a_job_between_two_readings_has_passed_with_stamps_from_within_its_life(tmp_path: Path, others: int) -> None:
    scenario = Scenario.host(1)
    for pid in range(others):
        scenario = scenario.with_process(0, SimProcess(4001 + pid, sm_percent=10))

    async def story(host: Host) -> None:
        readings = [await host.read()]
        start_ns, end_ns = await after_a_short_job(host, readings)
        (one,) = good(readings[-1])[0].passed
        assert (one.pid, one.sm_percent, one.accounted) == (7001, 80, None)
        slack_ns = 2_000_000  # the two clocks are not read at the same instant
        assert all(start_ns - slack_ns <= ns <= end_ns + slack_ns for ns in one.evidence_ns)
        assert 7001 not in [process.pid for process in good(readings[-1])[0].processes]

    on_host(tmp_path, scenario, story)


def test_what_has_passed_is_told_once(tmp_path: Path) -> None:
    async def story(host: Host) -> None:
        readings = [await host.read()]
        await after_a_short_job(host, readings)
        for _ in range(8):
            await trio.sleep(0.1)
            readings.append(await host.read())
        (stamps,) = passed(readings).values()
        assert stamps == sorted(set(stamps))
        assert [bool(one.passed) for one in (good(reading)[0] for reading in readings)].count(True) == 1
        assert readings[-1].rejected == ()

    on_host(tmp_path, Scenario.host(1), story)


def test_a_process_in_a_list_has_not_passed(tmp_path: Path) -> None:
    async def story(host: Host) -> None:
        readings = list[HostReading]()
        for _ in range(10):
            readings.append(await host.read())
            await trio.sleep(0.1)
        assert passed(readings) == {}

    on_host(tmp_path, Scenario.host(1).with_process(0, SimProcess(4001, sm_percent=50)), story)


@pytest.mark.parametrize(
    ("quirk", "reasons"),
    [
        ("zeros", {"sample_zero"}),
        ("junk", {"sample_pid", "sample_percent", "sample_future"}),
        ("empty_success", set[str]()),
    ],
)
def test_junk_has_not_passed_and_is_counted_by_reason(tmp_path: Path, quirk: Quirk, reasons: set[str]) -> None:
    scenario = Scenario.host(1)
    scenario = scenario.with_device(replace(scenario.devices[0], quirks=(quirk,)))

    async def story(host: Host) -> None:
        first, second = await host.read(), await host.read()
        assert passed([first, second]) == {}
        assert {reason for reason, _ in second.rejected} == reasons
        if reasons:
            assert sum(dict(second.rejected).values()) > sum(dict(first.rejected).values())

    on_host(tmp_path, scenario, story)


def test_counts_of_junk_go_on_growing_when_the_child_is_replaced(tmp_path: Path) -> None:
    scenario = Scenario.host(1)
    scenario = scenario.with_device(replace(scenario.devices[0], quirks=("zeros",)))

    async def story(host: Host) -> None:
        before = dict((await host.read()).rejected)["sample_zero"]
        await host.probe.release(2)
        assert dict((await host.read()).rejected)["sample_zero"] == before
        host.probe.resume()
        assert dict((await host.read()).rejected)["sample_zero"] > before

    on_host(tmp_path, scenario, story)


def test_rows_that_cannot_be_true_are_counted(tmp_path: Path) -> None:
    async def story(host: Host) -> None:
        assert dict((await host.read()).rejected) == {"row_pid": 1}

    on_host(tmp_path, Scenario.host(1).with_process(0, SimProcess((1 << 22) + 1)), story)


def test_a_child_that_begins_anew_tells_nothing_twice(tmp_path: Path) -> None:
    async def story(host: Host) -> None:
        readings = [await host.read()]
        await after_a_short_job(host, readings)
        assert list(passed(readings)) == [7001]
        await host.probe.release(2)
        host.probe.resume()
        readings.append(await host.read())
        assert len(good(readings[-1])) == 1
        (stamps,) = passed(readings).values()
        assert len(stamps) == len(set(stamps)) == 1

    on_host(tmp_path, Scenario.host(1), story)


def test_who_passed_beside_a_hang_is_told_all_the_same(tmp_path: Path) -> None:
    async def story(host: Host) -> None:
        readings = [await host.read()]
        await host.becomes(host.scenario.with_fault(hang(1)))
        await after_a_short_job(host, readings)
        readings.append(await host.read())
        assert 1 in gaps(readings[-1])
        assert list(passed(readings)) == [7001]

    on_host(tmp_path, Scenario.host(2), story)


# ---- what several children tell


def test_one_stamp_as_two_children_see_it_is_one() -> None:
    passing = Passing()
    passing.hear([(7, [S, 2 * S], 40, None)])
    passing.hear([(7, [2 * S + NEAR_NS // 2], 40, None)])
    assert passing.take() == (PassedProcess(7, (S, 2 * S), 40),)
    assert passing.take() == ()


def test_one_record_as_two_children_see_it_is_one() -> None:
    passing = Passing()
    passing.hear([(7, [], None, (S, 3 * S, 40, 100))])
    assert passing.take() == (PassedProcess(7, (), None, Accounted(S, 3 * S, 40, 100)),)
    passing.hear([(7, [], None, (S + NEAR_NS // 2, 3 * S, 40, 100))])
    assert passing.take() == ()
    passing.hear([(7, [], None, (5 * S, S, 40, 100))])
    assert passing.take() == (PassedProcess(7, (), None, Accounted(5 * S, S, 40, 100)),)


def test_what_waits_for_a_reading_is_put_together() -> None:
    passing = Passing()
    passing.hear([(7, [S], 40, None)])
    passing.hear([(7, [3 * S], 60, None), (8, [3 * S], None, None), (7, [], None, (S, 2 * S, 55, None))])
    assert passing.take() == (
        PassedProcess(7, (S, 3 * S), 60, Accounted(S, 2 * S, 55, None)),
        PassedProcess(8, (3 * S,), None),
    )


def test_what_is_remembered_of_the_passed_is_bounded() -> None:
    passing = Passing()
    for begin in range(1, 5 * MAX_REMEMBERED, MAX_REMEMBERED // 2):
        passing.hear([(pid, [pid * S], 40, None) for pid in range(begin, begin + MAX_REMEMBERED // 2)])
        assert len(passing.take()) == MAX_REMEMBERED // 2
        assert len(passing._told_ns) <= MAX_REMEMBERED + MAX_REMEMBERED // 2  # pyright: ignore[reportPrivateUsage]
    passing.hear([(pid, [pid * S], 40, None) for pid in range(1, 2 * MAX_REMEMBERED)])
    assert len(passing.take()) == MAX_REMEMBERED
