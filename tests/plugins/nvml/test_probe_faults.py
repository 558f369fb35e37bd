"""What goes wrong on a GPU host costs what it touches, for as long as it lasts, and nothing else."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from gputally.model.reading import GapReason, HostReading
from gputally.plugins.nvml.probe import NvmlProbe, Patience
from gputally.simulator.driver import LIBRARY, build_driver
from gputally.simulator.scenario import Fault, Scenario, boottime_ns, driver_environment

from .rig import DEADLINE_S, EVERY_NS, HASTY, Host, S, all_good, gaps, good, hang, on_host

PROMPT_S = 0.35
"""A tick in which nobody waits for a hang; generous, for a busy machine."""


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


# ---- hangs


def test_a_hang_of_one_gpu_among_eight_costs_no_other_a_reading(tmp_path: Path) -> None:
    async def story(host: Host) -> None:
        await host.read()
        first_pid = host.probe.child_pid
        await host.becomes(host.scenario.with_fault(hang(3)))
        reading, took_s = await host.timed_read()
        assert took_s < DEADLINE_S + 0.3
        assert gaps(reading) == {3: GapReason.NVML_HANG}
        assert len(good(reading)) == 7
        for _ in range(5):
            reading, took_s = await host.timed_read()
            assert gaps(reading) == {3: GapReason.NVML_HANG}
            assert took_s < PROMPT_S
        assert (host.probe.abandoned, len(host.probe.child_pids)) == (1, 2)
        assert first_pid in host.probe.child_pids
        assert first_pid is not None and alive(first_pid)

        await host.becomes(host.scenario.without_faults())
        await host.until(all_good)
        assert host.probe.abandoned == 0
        assert host.probe.child_pid == first_pid

    on_host(tmp_path, Scenario.host(8), story)


def test_a_call_that_is_slow_but_within_the_deadline_is_no_gap(tmp_path: Path) -> None:
    async def story(host: Host) -> None:
        await host.read()
        fault = Fault("nvmlDeviceGetComputeRunningProcesses", device=2, delay_ns=S * 6 // 10)
        await host.becomes(host.scenario.with_fault(fault))
        for _ in range(4):
            assert all_good(await host.read())
        assert len(host.probe.child_pids) == 2

    on_host(tmp_path, Scenario.host(4), story)


def test_a_driver_that_is_slow_everywhere_is_read_when_it_answers(tmp_path: Path) -> None:
    """Eight devices of 0.15 s each take longer than the deadline, and none of them hangs."""

    async def story(host: Host) -> None:
        await host.read()
        fault = Fault("nvmlDeviceGetComputeRunningProcesses", delay_ns=S * 15 // 100)
        await host.becomes(host.scenario.with_fault(fault))
        seen = [0] * 8
        for _ in range(8):
            for index in good(await host.probe.read(S)):
                seen[index] += 1
            await trio.sleep(0.2)
        assert min(seen) >= 2

    on_host(tmp_path, Scenario.host(8), story)


def test_a_second_gpu_that_hangs_costs_that_gpu_too(tmp_path: Path) -> None:
    async def story(host: Host) -> None:
        await host.read()
        await host.becomes(host.scenario.with_fault(hang(3)))
        await host.read()
        await host.becomes(host.scenario.with_fault(hang(5)))
        reading = await host.read()
        assert gaps(reading) == {3: GapReason.NVML_HANG, 5: GapReason.NVML_HANG}
        assert len(host.probe.child_pids) == 3
        await host.becomes(host.scenario.without_faults())
        await host.until(all_good)

    on_host(tmp_path, Scenario.host(8), story)


def test_when_every_gpu_hangs_all_are_gaps_and_processes_are_bounded(tmp_path: Path) -> None:
    async def story(host: Host) -> None:
        await host.read()
        await host.becomes(host.scenario.with_fault(hang()))
        for _ in range(12):
            reading, took_s = await host.timed_read()
            assert took_s < DEADLINE_S + 0.3
            assert set(gaps(reading).values()) == {GapReason.NVML_HANG}
            assert reading.trouble is GapReason.NVML_HANG
            assert len(host.probe.child_pids) <= 4
        _, took_s = await host.timed_read()
        assert took_s < PROMPT_S
        await host.becomes(host.scenario.without_faults())
        await host.until(all_good)

    on_host(tmp_path, Scenario.host(3), story)


def test_a_gpu_that_hangs_before_we_start_costs_the_others_a_few_seconds_at_most(tmp_path: Path) -> None:
    async def story(host: Host) -> None:
        reading = await host.until(lambda reading: len(reading.readings) == 3)
        assert len(good(reading)) == 3
        await host.becomes(host.scenario.without_faults())
        assert len(good(await host.until(lambda reading: len(reading.readings) == 4))) == 4

    on_host(tmp_path, Scenario.host(4).with_fault(hang(2)), story)


def test_a_hang_in_init_is_told_and_ends_when_it_ends(tmp_path: Path) -> None:
    async def story(host: Host) -> None:
        reading, took_s = await host.timed_read()
        assert took_s < DEADLINE_S + 0.3
        assert (reading.trouble, reading.readings) == (GapReason.NVML_HANG, ())
        for _ in range(3):
            reading, took_s = await host.timed_read()
            assert reading.trouble is GapReason.NVML_HANG
            assert took_s < PROMPT_S
        assert len(host.probe.child_pids) == 1
        await host.becomes(host.scenario.without_faults())
        assert (await host.until(all_good)).trouble is None

    on_host(tmp_path, Scenario.host(2).with_fault(hang(call="nvmlInit*")), story)


def test_a_hang_in_init_of_a_replacement_leaves_known_devices_as_gaps(tmp_path: Path) -> None:
    async def story(host: Host) -> None:
        await host.read()
        await host.becomes(host.scenario.with_fault(hang(call="nvmlInit*")))
        os.kill(host.probe.child_pid or 0, signal.SIGKILL)
        await trio.sleep(0.05)
        await host.read()
        reading, took_s = await host.timed_read()
        assert set(gaps(reading)) == {0, 1}
        assert took_s < PROMPT_S
        await host.becomes(host.scenario.without_faults())
        await host.until(all_good)

    on_host(tmp_path, Scenario.host(2), story)


# ---- lost and returned


def test_a_lost_gpu_is_a_gap_and_its_return_is_seen_without_a_gap_of_others(tmp_path: Path) -> None:
    async def story(host: Host) -> None:
        await host.read()
        await host.becomes(host.scenario.with_lost(1))
        for _ in range(8):
            reading = await host.read()
            assert gaps(reading) == {1: GapReason.GPU_LOST}
            assert len(good(reading)) == 3
            await trio.sleep(0.05)
        await host.becomes(host.scenario.with_returned(1))

        def back(reading: HostReading) -> bool:
            assert set(gaps(reading)) <= {1}
            return all_good(reading)

        reading = await host.until(back)
        assert len(reading.devices) == 4

    on_host(tmp_path, Scenario.host(4), story)


def test_a_gpu_that_is_not_even_enumerated_any_more_is_lost_and_still_exists(tmp_path: Path) -> None:
    async def story(host: Host) -> None:
        await host.read()
        uuid = host.scenario.devices[1].uuid
        await host.becomes(host.scenario.without_device(1))
        os.kill(host.probe.child_pid or 0, signal.SIGKILL)
        await trio.sleep(0.05)
        reading = await host.until(lambda reading: len(good(reading)) == 2)
        assert gaps(reading) == {1: GapReason.GPU_LOST}
        assert reading.readings[1].device_id == f"nvidia:{uuid}"

    on_host(tmp_path, Scenario.host(3), story)


def test_a_gpu_that_was_lost_before_we_started_is_taken_in_when_it_returns(tmp_path: Path) -> None:
    async def story(host: Host) -> None:
        assert len((await host.read()).readings) == 1
        await host.becomes(host.scenario.with_returned(0))
        await host.until(lambda reading: len(good(reading)) == 2)

    on_host(tmp_path, Scenario.host(2).with_lost(0), story)


def assert_only(reading: HostReading, *expected: int) -> None:
    assert set(gaps(reading)) <= set(expected), gaps(reading)


def test_a_gpu_that_is_back_stays_observed_while_another_one_hangs(tmp_path: Path) -> None:
    async def story(host: Host) -> None:
        await host.read()
        await host.becomes(host.scenario.with_lost(1))
        await host.read()
        await host.becomes(host.scenario.with_returned(1))
        await host.until(all_good)
        for _ in range(3):
            await trio.sleep(0.1)
            assert_only(await host.read())
        await host.becomes(host.scenario.with_fault(hang(2)))
        for _ in range(4):
            assert_only(await host.read(), 2)
            await trio.sleep(0.1)
        await host.becomes(host.scenario.without_faults())
        await host.until(all_good)

    slow_scouts = replace(HASTY, renew_ns=S * 3 // 2, renew_cap_ns=S * 3 // 2)  # none that mends it within the tick
    on_host(tmp_path, Scenario.host(4), story, patience=slow_scouts)


def test_a_gpu_that_came_back_during_a_hang_stays_observed_when_the_hang_ends(tmp_path: Path) -> None:
    async def story(host: Host) -> None:
        await host.read()
        await host.becomes(host.scenario.with_fault(hang(2)))
        await host.read()
        await host.becomes(host.scenario.with_lost(1))
        assert gaps(await host.read()) == {1: GapReason.GPU_LOST, 2: GapReason.NVML_HANG}
        await host.becomes(host.scenario.with_returned(1))
        await host.until(lambda reading: gaps(reading) == {2: GapReason.NVML_HANG})
        await host.becomes(host.scenario.without_faults())

        def healed(reading: HostReading) -> bool:
            assert_only(reading, 2)
            return all_good(reading)

        await host.until(healed)
        for _ in range(5):
            await trio.sleep(0.1)
            assert_only(await host.read())

    on_host(tmp_path, Scenario.host(4), story)


# ---- the driver


def test_without_a_driver_library_we_stay_up_and_notice_when_it_comes(tmp_path: Path) -> None:
    folder = tmp_path / "lib"
    folder.mkdir()
    scenario_file = tmp_path / "scenario"
    Scenario.host(2).write(scenario_file)
    environment = {**os.environ, "LD_LIBRARY_PATH": str(folder), "GPUTALLY_SCENARIO": str(scenario_file)}

    async def main() -> None:
        probe = NvmlProbe(DEADLINE_S, patience=HASTY, environment=environment)
        try:
            for _ in range(3):
                reading = await probe.read(EVERY_NS)
                assert (reading.trouble, reading.readings) == (GapReason.DRIVER_MISSING, ())
                await trio.sleep(0.1)
            (folder / LIBRARY).symlink_to(build_driver() / LIBRARY)
            with trio.fail_after(5):
                while (await probe.read(EVERY_NS)).trouble is not None:
                    await trio.sleep(0.1)
            assert all_good(await probe.read(EVERY_NS))
        finally:
            await probe.aclose(2)

    trio.run(main)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "libnvidia-ml.so.1 not found; install the NVIDIA driver"),
        (b"", "libnvidia-ml.so.1 cannot be loaded: "),
        (b"no library at all" * 64, "invalid ELF header"),
    ],
)
def test_a_library_that_is_missing_or_broken_is_told_once_and_as_what_it_is(
    tmp_path: Path, content: bytes | None, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    if content is not None:
        (tmp_path / LIBRARY).write_bytes(content)
    environment = {**os.environ, "LD_LIBRARY_PATH": str(tmp_path)}

    async def main() -> None:
        probe = NvmlProbe(DEADLINE_S, patience=HASTY, environment=environment)
        try:
            for _ in range(4):
                assert (await probe.read(EVERY_NS)).trouble is GapReason.DRIVER_MISSING
                await trio.sleep(0.1)
        finally:
            await probe.aclose(2)

    trio.run(main)
    assert told in caplog.text
    assert caplog.text.count("no GPU can be read") == 1


def test_a_driver_that_is_unloaded_makes_all_devices_gaps_until_it_is_back(tmp_path: Path) -> None:
    async def story(host: Host) -> None:
        await host.read()
        await host.becomes(host.scenario.with_driver_missing())
        reading = await host.read()
        assert set(gaps(reading)) == {0, 1}
        assert reading.trouble in (GapReason.DRIVER_RELOAD, GapReason.DRIVER_MISSING)
        reading = await host.read()
        assert set(gaps(reading).values()) <= {GapReason.DRIVER_RELOAD, GapReason.DRIVER_MISSING}
        await host.becomes(host.scenario.with_driver_reload(boottime_ns()))
        reading = await host.until(all_good)

    on_host(tmp_path, Scenario.host(2), story)


def test_a_driver_that_was_upgraded_under_us_is_read_by_a_new_process(tmp_path: Path) -> None:
    async def story(host: Host) -> None:
        before = await host.read()
        first_pid = host.probe.child_pid
        await host.becomes(host.scenario.with_driver_upgrade("999.1", boottime_ns()))
        reading = await host.until(all_good)
        assert host.probe.child_pid != first_pid
        assert (good(reading)[0].energy_mj or 0) < (good(before)[0].energy_mj or 0)

    on_host(tmp_path, Scenario.host(2), story)


def test_a_library_that_differs_from_the_module_is_told_as_a_reload(tmp_path: Path) -> None:
    scenario = Scenario.host(2)
    broken = replace(scenario, driver=replace(scenario.driver, library="1.0"))

    async def story(host: Host) -> None:
        assert (await host.read()).trouble is GapReason.DRIVER_RELOAD
        await host.becomes(scenario)
        await host.until(all_good)

    on_host(tmp_path, broken, story)


def test_no_gpu_at_all_is_trouble_and_not_an_idle_host(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def story(host: Host) -> None:
        assert (await host.read()).trouble is GapReason.GPU_LOST
        assert "the driver sees no GPU; see whether nvidia-smi -L" in caplog.text
        await host.becomes(Scenario.host(2))
        await host.until(all_good)

    on_host(tmp_path, Scenario(), story)


def test_a_host_whose_gpus_all_vanish_has_lost_them_while_the_driver_answers(tmp_path: Path) -> None:
    async def story(host: Host) -> None:
        await host.read()
        await host.becomes(host.scenario.without_device(1).without_device(0))
        os.kill(host.probe.child_pid or 0, signal.SIGKILL)
        await trio.sleep(0.05)
        for _ in range(3):
            reading = await host.read()
            assert gaps(reading) == {0: GapReason.GPU_LOST, 1: GapReason.GPU_LOST}
            assert reading.trouble is GapReason.GPU_LOST
            await trio.sleep(0.1)

    on_host(tmp_path, Scenario.host(2), story)


# ---- the child


def test_a_killed_child_is_replaced_within_the_tick(tmp_path: Path) -> None:
    async def story(host: Host) -> None:
        await host.read()
        pid = host.probe.child_pid or 0
        os.kill(pid, signal.SIGKILL)
        await trio.sleep(0.05)
        reading = await host.read()
        assert all_good(reading)
        assert host.probe.child_pid not in (None, pid)
        assert host.probe.restarts == 1

    on_host(tmp_path, Scenario.host(4), story)


def test_a_child_that_keeps_being_killed_is_no_busy_loop(tmp_path: Path) -> None:
    async def story(host: Host) -> None:
        pids = set[int]()
        with trio.move_on_after(2):
            while True:
                await host.read()
                if host.probe.child_pid is not None:
                    pids.add(host.probe.child_pid)
                    os.kill(host.probe.child_pid, signal.SIGKILL)
                await trio.sleep(0.02)
        assert 2 <= len(pids) <= 8
        assert host.probe.restarts >= len(pids) - 1

    on_host(tmp_path, Scenario.host(1), story, patience=Patience(revive_ns=S // 4))


def test_signals_of_the_terminal_and_of_systemd_do_not_end_the_child(tmp_path: Path) -> None:
    async def story(host: Host) -> None:
        await host.read()
        pid = host.probe.child_pid or 0
        assert os.getsid(pid) == pid
        for number in (signal.SIGTERM, signal.SIGINT):
            os.kill(pid, number)
            assert all_good(await host.read())
        assert host.probe.child_pid == pid

    on_host(tmp_path, Scenario.host(1), story)


def test_the_child_leaves_when_the_daemon_dies(tmp_path: Path) -> None:
    async def main() -> None:
        host = Host(tmp_path, Scenario.host(1), HASTY, DEADLINE_S)
        await host.read()
        pid = host.probe.child_pid or 0
        child = next(iter(host.probe._children))  # pyright: ignore[reportPrivateUsage]
        child.leave()  # all that a dead daemon does: its end of the pipe is closed
        with trio.fail_after(3):
            while alive(pid):
                await trio.sleep(0.01)
        await host.probe.aclose(1)

    trio.run(main)


KILLED_DAEMON = """
import sys, trio
from gputally.plugins.nvml.probe import NvmlProbe

async def main():
    probe = NvmlProbe(0.6)
    await probe.read(200_000_000)
    print(*probe.child_pids, flush=True)
    while True:
        await probe.read(200_000_000)
        print(*probe.child_pids, flush=True)
        await trio.sleep(0.1)

trio.run(main)
"""


async def all_gone(pids: list[int]) -> None:
    while any(map(alive, pids)):
        await trio.sleep(0.02)


def test_a_child_that_hangs_outlives_a_killed_daemon_by_its_call_and_no_longer(tmp_path: Path) -> None:
    async def main() -> None:
        scenario, file = Scenario.host(2), tmp_path / "scenario"
        scenario.write(file)
        environment = {**os.environ, **driver_environment(file)}
        command = [sys.executable, "-c", KILLED_DAEMON]
        daemon = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        assert daemon.stdout is not None
        try:
            stuck = int(daemon.stdout.readline())
            scenario.with_fault(hang(1)).write(file)
            pids = [stuck]
            while len(pids) < 2:
                pids = [int(word) for word in daemon.stdout.readline().split()]
        finally:
            daemon.kill()
            daemon.wait()
            daemon.stdout.close()
        with trio.fail_after(5):
            await all_gone([pid for pid in pids if pid != stuck])
        await trio.sleep(0.2)
        assert alive(stuck)
        scenario.write(file)
        with trio.fail_after(5):
            await all_gone([stuck])

    trio.run(main)


# ---- letting go


def test_closing_is_polite_and_quick_when_nothing_hangs(tmp_path: Path) -> None:
    async def main() -> None:
        host = Host(tmp_path, Scenario.host(2), HASTY, DEADLINE_S)
        await host.read()
        pids, begin_s = host.probe.child_pids, trio.current_time()
        await host.probe.aclose(3)
        assert trio.current_time() - begin_s < 1
        assert not any(alive(pid) for pid in pids)
        await host.probe.aclose(3)  # again is nothing

    trio.run(main)


def test_closing_never_waits_longer_than_its_deadline_for_a_hung_child(tmp_path: Path) -> None:
    async def main() -> None:
        host = Host(tmp_path, Scenario.host(2), HASTY, DEADLINE_S)
        await host.read()
        await host.becomes(host.scenario.with_fault(hang(1)))
        await host.read()
        pids, begin_s = host.probe.child_pids, trio.current_time()
        await host.probe.aclose(1)
        assert trio.current_time() - begin_s < 1.2
        assert len(pids) == 2
        assert not any(alive(pid) for pid in pids)

    trio.run(main)


def test_released_means_that_no_process_of_ours_holds_the_driver(tmp_path: Path) -> None:
    async def story(host: Host) -> None:
        await host.read()
        assert await host.probe.release(2)
        assert host.probe.child_pids == ()
        reading = await host.read()
        assert set(gaps(reading).values()) == {GapReason.RELEASED}
        assert reading.trouble is GapReason.RELEASED
        host.probe.resume()
        assert all_good(await host.read())

    on_host(tmp_path, Scenario.host(2), story)


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    async def story(host: Host) -> None:
        await host.read()
        before = descriptors()
        for _ in range(3):
            os.kill(host.probe.child_pid or 0, signal.SIGKILL)
            await trio.sleep(0.02)
            await host.until(all_good)
        assert descriptors() == before

    on_host(tmp_path, Scenario.host(1), story, patience=replace(HASTY, revive_ns=1, revive_cap_ns=1))


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_a_tick_that_is_cancelled_leaves_the_next_one_whole(tmp_path: Path, share: float) -> None:
    async def story(host: Host) -> None:
        await host.read()
        await host.becomes(host.scenario.with_fault(hang(0)))
        with trio.move_on_after(share):
            await host.read()
        await host.becomes(host.scenario.without_faults())
        await host.until(all_good)

    on_host(tmp_path, Scenario.host(2), story)
