"""Processes that come and go quickly: what the driver still says of those that have ended, and at what cost."""

import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

from gputally.simulator.scenario import (
    Scenario,
    SimDevice,
    SimProcess,
    Step,
    boottime_ns,
    process_line,
)

from .client import Client, Refused, on_host, wall_minus_boot_ns

NOT_FOUND = 6
PERIOD_US = 50_000
MS_NS = 1_000_000
GRAPHICS = "nvmlDeviceGetGraphicsRunningProcesses(gpu(0))"


def host_with(*processes: SimProcess, period_us: int = PERIOD_US) -> Scenario:
    return Scenario((SimDevice("GPU-a", processes=processes),), sample_period_ns=period_us * 1000)


def samples(client: Client, seen_us: int = 1, device: int = 0) -> dict[int, dict[str, int]]:
    """The newest sample of each pid; there must be no second one."""
    try:
        rows: list[dict[str, int]] = client.ask(f"nvmlDeviceGetProcessUtilization(gpu({device}), {seen_us})")
    except Refused as refused:
        assert refused.code == NOT_FOUND
        return {}
    assert len({row["pid"] for row in rows}) == len(rows), "one newest sample for each pid"
    return {row["pid"]: row for row in rows}


def boot_ns(row: dict[str, int]) -> int:
    return row["timeStamp"] * 1000 - wall_minus_boot_ns()


def sleeper() -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)


def test_a_job_shorter_than_a_period_has_a_sample_where_the_grid_fell_into_its_life(tmp_path: Path) -> None:
    """30 jobs of a third of a period, end to end: each point of the grid falls into one of them."""
    length_ns = PERIOD_US * 1000 // 3
    begin_ns = boottime_ns() - 31 * length_ns
    # All pids have one phase, so that the points of all are one grid.
    jobs = [SimProcess(PERIOD_US * (i + 1), begin_ns + i * length_ns, begin_ns + (i + 1) * length_ns, sm_percent=70)
            for i in range(30)]  # fmt: skip
    with on_host(tmp_path, host_with(*jobs)) as client:
        found = samples(client)
        assert 9 <= len(found) <= 11, "a third of them"
        for pid, row in found.items():
            job = next(job for job in jobs if job.pid == pid)
            assert job.end_ns is not None
            assert job.start_ns - 10_000 <= boot_ns(row) <= job.end_ns + 10_000
            assert row["smUtil"] == 70


def test_of_two_processes_with_one_pid_the_newest_sample_is_given(tmp_path: Path) -> None:
    now_ns = boottime_ns()
    before = SimProcess(7, now_ns - 900 * MS_NS, now_ns - 500 * MS_NS, sm_percent=20)
    after = SimProcess(7, now_ns - 400 * MS_NS, sm_percent=80)
    graphics = SimProcess(7, now_ns - 400 * MS_NS, kind="graphics", sm_percent=30)
    for order in ((before, after, graphics), (graphics, after, before)):
        with on_host(tmp_path, host_with(*order)) as client:
            assert samples(client)[7]["smUtil"] == 80
    with on_host(tmp_path, host_with(before, replace(after, sm_percent=0))) as client:
        assert samples(client)[7]["smUtil"] == 20, "an idle one leaves none"


def test_what_was_busy_before_it_fell_idle_can_still_be_read(tmp_path: Path) -> None:
    idle_ns = boottime_ns() - 4 * PERIOD_US * 1000
    with on_host(tmp_path, host_with(SimProcess(7, sm_percent=(Step(0, 90), Step(idle_ns, 0))))) as client:
        row = samples(client)[7]
        assert row["smUtil"] == 90
        assert boot_ns(row) < idle_ns + 10_000
        assert samples(client, row["timeStamp"]) == {}


def test_a_process_that_followed_its_pid_to_the_end_leaves_its_last_sample(tmp_path: Path) -> None:
    child = sleeper()
    try:
        process = SimProcess(child.pid, follow=True, sm_percent=60)
        with on_host(tmp_path, host_with(process)) as client:
            for _ in range(20):
                assert child.pid in samples(client)
                time.sleep(0.01)
            alive_us = time.time_ns() // 1000
            child.kill()
            time.sleep(0.15)
            row = samples(client)[child.pid]
            assert alive_us - 2 * PERIOD_US <= row["timeStamp"] <= alive_us + 20_000, "of its life, not of its death"
            assert client.ask("nvmlDeviceGetComputeRunningProcesses(gpu(0))") == []
            child.wait()
            assert samples(client)[child.pid] == row
            assert samples(client, row["timeStamp"]) == {}
    finally:
        child.kill()
        child.wait()


def test_samples_of_the_ended_are_kept_for_the_length_of_the_ring(tmp_path: Path) -> None:
    child = sleeper()
    period_us = 5000  # a ring of 64 periods is 0.32 s
    with on_host(tmp_path, host_with(SimProcess(child.pid, follow=True, sm_percent=60), period_us=period_us)) as client:
        assert child.pid in samples(client)
        child.kill()
        child.wait()
        assert child.pid in samples(client)
        time.sleep(0.4)
        assert samples(client) == {}


def test_a_scenario_that_is_written_again_does_not_wake_the_dead(tmp_path: Path) -> None:
    """Nor forgets when they were last seen, nor asks about each of them anew."""
    child = sleeper()
    process = SimProcess(child.pid, follow=True, sm_percent=60)
    host = host_with(process, SimProcess(5, sm_percent=10))
    with on_host(tmp_path, host) as client:
        for _ in range(12):
            assert child.pid in samples(client)
            time.sleep(0.01)
        child.kill()
        child.wait()
        time.sleep(0.01)
        row = samples(client)[child.pid]
        for i in range(8):
            others = tuple(SimProcess(100 + j) for j in range(i))
            client.becomes(host.with_device(replace(host.devices[0], processes=(*others, *host.devices[0].processes))))
            assert samples(client)[child.pid] == row
            assert child.pid not in [p["pid"] for p in client.ask("nvmlDeviceGetComputeRunningProcesses(gpu(0))")]


def test_one_that_was_gone_before_anybody_looked_was_there_when_the_file_was_written(tmp_path: Path) -> None:
    child = sleeper()
    child.kill()
    child.wait()
    written_us = time.time_ns() // 1000
    with on_host(tmp_path, host_with(SimProcess(child.pid, follow=True, sm_percent=60))) as client:
        time.sleep(0.2)
        row = samples(client)[child.pid]
        assert written_us - PERIOD_US - 1000 <= row["timeStamp"] <= written_us + 300_000
        assert client.ask("nvmlDeviceGetComputeRunningProcesses(gpu(0))") == []


def test_a_pid_that_is_used_again_needs_a_line_with_another_start(tmp_path: Path) -> None:
    """The old line stays dead, the new one is asked about anew."""
    child = sleeper()
    gone = sleeper()
    try:
        line = SimProcess(gone.pid, follow=True, kind="graphics")
        with on_host(tmp_path, host_with(line)) as client:
            assert len(client.ask(GRAPHICS)) == 1
            gone.kill()
            gone.wait()
            time.sleep(0.01)
            assert client.ask(GRAPHICS) == []
            again = SimProcess(child.pid, boottime_ns(), follow=True, kind="graphics")
            client.becomes(host_with(line, again))
            assert [row["pid"] for row in client.ask(GRAPHICS)] == [child.pid]
    finally:
        for process in (child, gone):
            process.kill()
            process.wait()


def storm_lines(count: int, begin_ns: int) -> list[str]:
    """200 starts of 0.2 s a second over 8 devices."""
    return [
        process_line(i % 8, SimProcess(1000 + i, begin_ns + i * 5 * MS_NS, begin_ns + i * 5 * MS_NS + 200 * MS_NS,
                                       memory_bytes=1 << 30, sm_percent=60, follow=True))
        for i in range(count)
    ]  # fmt: skip


def test_a_storm_of_short_jobs_is_read_whole_and_quickly(tmp_path: Path) -> None:
    """3,000 lines, replaced 50 times; how long a call takes that has to read them. docs/simulator.md has the figure."""
    host = Scenario.host(8)
    with on_host(tmp_path, host) as client:
        slowest_ns = []
        for _ in range(50):
            host.write(client.scenario, storm_lines(3000, boottime_ns() - 15_000 * MS_NS))
            time.sleep(0.006)
            begin = "kept.update(begin=__import__('time').process_time_ns())"
            client.ask(begin)
            client.ask("nvmlDeviceGetCount()")
            slowest_ns.append(client.ask("__import__('time').process_time_ns() - kept['begin']"))
        print(f"median CPU time of a call that reads 3,000 lines: {sorted(slowest_ns)[25] / 1e6:.2f} ms")
        found = {pid for device in range(8) for pid in samples(client, 1, device)}
        assert len(found) > 1500, "those of the last ten seconds, each at least with one point of the grid"
        assert sorted(slowest_ns)[25] < 200 * MS_NS


def test_lines_behind_a_scenario_are_part_of_it(tmp_path: Path) -> None:
    with on_host(tmp_path, Scenario.host(1)) as client:
        Scenario.host(1).write(client.scenario, [process_line(0, SimProcess(7)), process_line(0, SimProcess(8))])
        time.sleep(0.02)
        assert [row["pid"] for row in client.ask("nvmlDeviceGetComputeRunningProcesses(gpu(0))")] == [7, 8]
