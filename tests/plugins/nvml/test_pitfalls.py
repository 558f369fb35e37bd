"""Each way in which NVML is known to mislead, by name: with the real binding, in a real child, on the fake driver.

The numbers are those of the list of NVML's pitfalls in our design notes; other files test each more deeply.
"""

import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from gputally.model.reading import DeviceReading, GapReason, HostReading, ProcessOnDevice
from gputally.model.usage import Partition
from gputally.plugins.nvml.probe import check_namespaces
from gputally.simulator.scenario import Fault, Quirk, Scenario, SimProcess, boottime_ns, cut_into

from .rig import Host, S, all_good, gaps, good, hang, on_host

GIB, MS = 1 << 30, 1_000_000
A100 = "NVIDIA A100-SXM4-80GB"
TWO = (SimProcess(4001, memory_bytes=GIB, sm_percent=70), SimProcess(4002, memory_bytes=2 * GIB, sm_percent=20))


def gpu(*quirks: Quirk, processes: tuple[SimProcess, ...] = TWO) -> Scenario:
    scenario = Scenario.host(1)
    return scenario.with_device(replace(scenario.devices[0], quirks=quirks, processes=processes))


def by_id(reading: HostReading) -> dict[str, DeviceReading]:
    return {one.device_id: one for one in reading.readings if isinstance(one, DeviceReading)}


def memory(reading: HostReading, device: int = 0) -> dict[int, int | None]:
    return {process.pid: process.memory_bytes for process in good(reading)[device].processes}


# 1: process utilization is a ring of samples, with junk among them


@pytest.mark.parametrize("quirk", ["zeros", "junk", "wild_utilization"])
def test_samples_that_cannot_be_true_are_counted_and_give_nobody_a_share(tmp_path: Path, quirk: Quirk) -> None:
    async def story(host: Host) -> None:
        shares: set[int | None] = set()
        for _ in range(8):
            reading = await host.read()
            shares |= {process.sm_percent for process in good(reading)[0].processes}
            assert good(reading)[0].passed == ()
            assert reading.rejected
            await trio.sleep(0.05)
        assert shares <= {None, 70, 20}

    on_host(tmp_path, gpu(quirk), story)


def test_a_sample_is_told_once_however_long_the_driver_repeats_it(tmp_path: Path) -> None:
    now_ns = boottime_ns()
    job = SimProcess(7001, start_ns=now_ns, end_ns=now_ns + 300 * MS, sm_percent=80)

    async def story(host: Host) -> None:
        await host.read()
        await trio.sleep(0.4)
        passed = [one.pid for _ in range(12) for one in good(await host.read())[0].passed]
        assert passed == [7001]

    on_host(tmp_path, gpu(processes=(job,)), story)


def test_nothing_new_is_neither_an_error_nor_a_gap(tmp_path: Path) -> None:
    async def story(host: Host) -> None:
        for _ in range(3):
            reading = await host.read()
            assert all_good(reading)
            assert reading.rejected == ()

    on_host(tmp_path, gpu(processes=(SimProcess(4001, sm_percent=0),)), story)


# 2: process lists


def test_a_list_that_grows_between_two_calls_is_told_whole(tmp_path: Path) -> None:
    crowd = tuple(SimProcess(pid, memory_bytes=1) for pid in range(1, 301))

    async def story(host: Host) -> None:
        for _ in range(3):
            assert len(memory(await host.read())) == 300

    on_host(tmp_path, gpu("growing_list", "stale_count", processes=crowd), story)


@pytest.mark.parametrize(
    ("quirk", "reason"),
    [("wide_rows", "row_"), ("odd_pids", "row_pid"), ("zero_rows", "row_pid"), ("huge_memory", "row_memory")],
)
def test_a_list_that_cannot_be_true_is_a_gap_and_bills_nobody(tmp_path: Path, quirk: Quirk, reason: str) -> None:
    async def story(host: Host) -> None:
        reading = await host.read()
        assert gaps(reading) == {0: GapReason.BAD_READING}
        assert all(told.startswith(reason) for told, _ in reading.rejected)
        await host.becomes(gpu())
        assert memory(await host.read()) == {4001: GIB, 4002: 2 * GIB}

    on_host(tmp_path, gpu(quirk), story)


def test_a_process_in_any_of_the_three_lists_is_seen_and_in_two_of_them_once(tmp_path: Path) -> None:
    kinds = (SimProcess(1), SimProcess(2, kind="graphics"), SimProcess(3, kind="mps"), SimProcess(1, kind="graphics"))

    async def story(host: Host) -> None:
        assert memory(await host.read()) == {1: GIB, 2: GIB, 3: GIB}

    on_host(tmp_path, gpu(processes=kinds), story)


def test_memory_that_is_unavailable_is_unknown_and_not_zero(tmp_path: Path) -> None:
    async def story(host: Host) -> None:
        assert good(await host.read())[0].processes == (ProcessOnDevice(7, None),)

    on_host(tmp_path, gpu(processes=(SimProcess(7, memory_bytes=None),)), story)


# 3: pids are the host's


def test_in_another_pid_namespace_nobody_may_be_billed(tmp_path: Path) -> None:
    folder = tmp_path / "self" / "ns"
    folder.mkdir(parents=True)
    for kind, inode in (("pid", 4026532999), ("cgroup", 4026531835)):
        (folder / kind).symlink_to(f"{kind}:[{inode}]")
    assert "the host's pid namespace" in (check_namespaces(str(tmp_path)) or "")


# 4: ghosts


def test_memory_that_no_listed_process_holds_is_in_the_devices_and_a_dead_pid_is_told_as_it_stands(
    tmp_path: Path,
) -> None:
    """Whose it is, is for the attribution to say: the driver's word is neither dropped nor put on somebody else."""
    ghost = SimProcess((1 << 22) - 3, memory_bytes=3 * GIB)
    scenario = gpu(processes=(ghost,))
    scenario = scenario.with_device(replace(scenario.devices[0], unlisted_bytes=5 * GIB))

    async def story(host: Host) -> None:
        reading = await host.read()
        assert memory(reading) == {ghost.pid: 3 * GIB}
        assert good(reading)[0].memory_used_bytes == 8 * GIB

    on_host(tmp_path, scenario, story)


# 5: energy


def test_a_counter_that_falls_is_another_epoch_and_never_a_negative_number(tmp_path: Path) -> None:
    async def story(host: Host) -> None:
        before = good(await host.read())[0]
        await host.becomes(host.scenario.with_energy_step(0, boottime_ns()))
        held_back, after = good(await host.read())[0], good(await host.read())[0]
        assert held_back.energy_mj is None
        assert before.energy_mj is not None
        assert after.energy_mj is not None
        assert after.energy_mj < before.energy_mj
        assert after.epoch != before.epoch
        assert dict((await host.read()).rejected) == {"energy_backwards": 1}

    on_host(tmp_path, Scenario.host(1), story)


def test_a_board_without_a_counter_tells_its_power_and_says_that_it_is_power(tmp_path: Path) -> None:
    scenario = Scenario.host(1).with_power(0, 123_456)

    async def story(host: Host) -> None:
        one = good(await host.read())[0]
        assert (one.energy_mj, one.power_mw) == (None, 123_456)

    on_host(tmp_path, scenario.with_device(replace(scenario.devices[0], energy="unsupported")), story)


# 6: utilization


def test_a_device_at_37100_per_cent_has_no_utilization(tmp_path: Path) -> None:
    async def story(host: Host) -> None:
        reading = await host.read()
        assert good(reading)[0].utilization_percent is None
        assert dict(reading.rejected)["rate_percent"] == 1

    on_host(tmp_path, gpu("wild_utilization").with_utilization(0, 55), story)


# 7: memory


def test_memory_in_use_is_without_what_the_driver_reserves_and_with_it_where_it_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def second(host: Host) -> None:
        assert good(await host.read())[0].memory_used_bytes == 3 * GIB

    async def first(host: Host) -> None:
        reserved = host.scenario.devices[0].reserved_bytes
        assert good(await host.read())[0].memory_used_bytes == 3 * GIB + reserved
        assert "with what the driver reserves for itself" in caplog.text

    on_host(tmp_path, gpu(), second)
    assert not caplog.text
    on_host(tmp_path, gpu().with_fault(Fault("nvmlDeviceGetMemoryInfo_v2", "FUNCTION_NOT_FOUND")), first)


# 8: MIG


def test_a_cut_gpu_has_no_utilization_and_its_energy_is_not_repeated_by_its_instances(tmp_path: Path) -> None:
    scenario = Scenario.host(1, A100).with_mig_layout(0, cut_into(A100, *["1g.10gb"] * 7))
    scenario = scenario.with_device(replace(scenario.devices[0], quirks=("mig_energy",)))

    async def story(host: Host) -> None:
        reading = await host.read()
        whole, *cut = [one for one in reading.readings if isinstance(one, DeviceReading)]
        assert reading.devices[0].partition == Partition(7, 8)
        assert whole.utilization_percent is None
        assert whole.energy_mj is not None
        assert [(one.energy_mj, one.power_mw, one.utilization_percent) for one in cut] == [(None, None, None)] * 7
        assert sum(device.slices.compute for device in reading.devices if device.slices) == 7

    on_host(tmp_path, scenario, story)


def test_an_instance_that_comes_back_under_its_id_was_seen_to_be_gone(tmp_path: Path) -> None:
    (part,) = cut_into(A100, "3g.40gb")

    async def story(host: Host) -> None:
        before = (await host.read()).devices
        await host.becomes(host.scenario.with_mig_instance(0, part))
        assert (await host.read()).devices == before[:1]
        assert (await host.read()).devices == before

    on_host(tmp_path, Scenario.host(1, A100).with_mig_layout(0, [part]), story)


# 9: errors


def test_not_supported_stays_until_the_driver_is_another_and_unknown_does_not(tmp_path: Path) -> None:
    async def story(host: Host) -> None:
        for error, forgotten in (("UNKNOWN", True), ("NOT_SUPPORTED", False)):
            await host.becomes(host.scenario.with_fault(Fault("nvmlDeviceGetUtilizationRates", error)))
            assert good(await host.read())[0].utilization_percent is None
            await host.becomes(host.scenario.without_faults())
            assert (good(await host.read())[0].utilization_percent is not None) == forgotten
        await host.becomes(host.scenario.with_driver_reload(boottime_ns()))
        assert good(await host.until(all_good))[0].utilization_percent is not None

    on_host(tmp_path, gpu(), story)


def test_one_lost_gpu_does_not_end_the_enumeration_of_the_others(tmp_path: Path) -> None:
    async def story(host: Host) -> None:
        assert len(good(await host.read())) == 3
        await host.becomes(host.scenario.with_returned(1))
        assert len(good(await host.until(lambda reading: len(good(reading)) == 4))) == 4

    on_host(tmp_path, Scenario.host(4).with_lost(1), story)


def test_a_gpu_that_returns_is_seen_only_by_who_initialises_anew_and_somebody_does(tmp_path: Path) -> None:
    async def story(host: Host) -> None:
        await host.read()
        first_pid = host.probe.child_pid
        await host.becomes(host.scenario.with_lost(1))
        assert gaps(await host.read()) == {1: GapReason.GPU_LOST}
        await host.becomes(host.scenario.with_returned(1))
        await host.until(all_good)
        assert host.probe.child_pid != first_pid

    on_host(tmp_path, Scenario.host(2), story)


def test_a_gpu_that_returns_under_another_index_is_still_itself(tmp_path: Path) -> None:
    scenario = Scenario.host(3)
    for index in range(3):
        scenario = scenario.with_process(index, SimProcess(100 + index))

    async def story(host: Host) -> None:
        before = {name: [p.pid for p in one.processes] for name, one in by_id(await host.read()).items()}
        await host.becomes(host.scenario.with_lost(2))
        await host.read()
        await host.becomes(host.scenario.with_returned(2).with_order(2, 1))
        after = await host.until(all_good)
        assert {name: [p.pid for p in one.processes] for name, one in by_id(after).items()} == before
        assert len(after.devices) == 3

    on_host(tmp_path, scenario, story)


def test_a_call_that_never_returns_costs_its_own_gpu_and_no_other(tmp_path: Path) -> None:
    async def story(host: Host) -> None:
        await host.read()
        await host.becomes(host.scenario.with_fault(hang(1)))
        assert gaps(await host.read()) == {1: GapReason.NVML_HANG}
        await host.becomes(host.scenario.without_faults())
        await host.until(all_good)

    on_host(tmp_path, Scenario.host(3), story)


def test_a_library_that_no_longer_fits_the_driver_is_cured_by_a_new_process(tmp_path: Path) -> None:
    async def story(host: Host) -> None:
        await host.read()
        first_pid = host.probe.child_pid
        await host.becomes(host.scenario.with_driver_upgrade("600.10", boottime_ns()))
        await host.until(all_good)
        assert host.probe.child_pid != first_pid

    on_host(tmp_path, Scenario.host(2), story)


# 10: accounting


def test_accounting_tells_of_a_job_that_nothing_else_shows_and_is_never_switched_on_unasked(tmp_path: Path) -> None:
    async def jobs_found(host: Host) -> set[int]:
        await host.read()
        start_ns = boottime_ns()
        await host.becomes(host.scenario.with_process(0, SimProcess(7001, start_ns, start_ns + 30 * MS)))
        await trio.sleep(0.05)
        return {one.pid for one in good(await host.read())[0].passed if one.accounted}

    async def off(host: Host) -> None:
        assert await jobs_found(host) == set()

    async def on(host: Host) -> None:
        assert await jobs_found(host) == {7001}

    silent = replace(Scenario.host(1), sample_period_ns=3600 * S)
    on_host(tmp_path, silent, off)
    on_host(tmp_path, silent.with_accounting(0), on)


def test_a_board_that_does_not_know_how_busy_it_is_accounts_all_the_same(tmp_path: Path) -> None:
    scenario = replace(Scenario.host(1).with_accounting(0), sample_period_ns=3600 * S)
    scenario = scenario.with_device(replace(scenario.devices[0], utilization="unsupported"))

    async def story(host: Host) -> None:
        await host.read()
        start_ns = boottime_ns()
        await host.becomes(host.scenario.with_process(0, SimProcess(7001, start_ns, start_ns + 30 * MS)))
        await trio.sleep(0.05)
        reading = await host.read()
        (one,) = good(reading)[0].passed
        assert one.accounted is not None
        assert (one.accounted.time_ns, one.accounted.sm_percent) == (30 * MS, None)
        assert reading.rejected == ()

    on_host(tmp_path, scenario, story)


# 11: traps of the binding


@pytest.mark.parametrize("quirk", ["empty_success", "stale_count"])
def test_what_the_binding_makes_an_exception_of_is_an_ordinary_answer(tmp_path: Path, quirk: Quirk) -> None:
    """NVMLError(SUCCESS) of nothing new, and TypeError of memory that is unavailable."""

    async def story(host: Host) -> None:
        for _ in range(3):
            assert memory(await host.read()) == {7: None}
        assert host.probe.restarts == 0

    on_host(tmp_path, gpu(quirk, processes=(SimProcess(7, memory_bytes=None),)), story)


# 12: zero GPUs


def test_a_host_that_had_gpus_yesterday_and_shows_none_has_lost_them_and_used_nothing_unseen(tmp_path: Path) -> None:
    async def story(host: Host) -> None:
        await host.read()
        await host.becomes(replace(host.scenario, devices=()))
        os.kill(host.probe.child_pid or 0, signal.SIGKILL)
        await trio.sleep(0.05)
        reading = await host.until(lambda reading: reading.trouble is GapReason.GPU_LOST)
        assert set(gaps(reading).values()) == {GapReason.GPU_LOST}
        assert len(reading.devices) == 2

    on_host(tmp_path, Scenario.host(2), story)


def test_a_driver_that_answers_and_sees_no_gpu_is_trouble_from_the_start(tmp_path: Path) -> None:
    async def story(host: Host) -> None:
        reading = await host.read()
        assert (reading.trouble, reading.readings) == (GapReason.GPU_LOST, ())

    on_host(tmp_path, Scenario(), story)


# 13: Xid events


def test_an_xid_is_told_and_is_why_the_gpu_is_a_gap(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def story(host: Host) -> None:
        await host.read()
        await host.becomes(host.scenario.with_xid(0, 79, boottime_ns()).with_lost(0))
        reading = await host.read()
        assert [xid.code for xid in reading.xids] == [79]
        assert gaps(reading) == {0: GapReason.GPU_LOST}
        assert "not read (gpu_lost): Xid 79, the GPU has fallen off the bus" in caplog.text

    on_host(tmp_path, Scenario.host(2), story)


# and time


def test_stamps_are_of_the_clock_that_nobody_sets(tmp_path: Path) -> None:
    now_ns = boottime_ns()
    job = SimProcess(7001, start_ns=now_ns, end_ns=now_ns + 300 * MS, sm_percent=80)

    async def story(host: Host) -> None:
        await host.read()
        await trio.sleep(0.4)
        (one,) = good(await host.read())[0].passed
        assert all(now_ns - MS <= ns <= now_ns + 301 * MS for ns in one.evidence_ns)
        assert time.clock_gettime_ns(time.CLOCK_BOOTTIME) > now_ns

    on_host(tmp_path, gpu(processes=(job,)), story)
