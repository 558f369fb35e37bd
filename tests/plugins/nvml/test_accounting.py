"""Where accounting is on, the driver's records of ended processes find those that no list and no sample shows."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from gputally.model.reading import Accounted, DeviceReading, HostReading
from gputally.simulator.scenario import Fault, Scenario, SimProcess, boottime_ns, cut_into

from .rig import Host, S, all_good, good, on_host

MS, GIB = 1_000_000, 1 << 30
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: a driver lets nobody else set the mode")


def accounted(reading: HostReading, device: int = 0) -> dict[int, Accounted]:
    part = reading.readings[device]
    assert isinstance(part, DeviceReading)
    return {one.pid: one.accounted for one in part.passed if one.accounted is not None}


def on() -> Scenario:
    """One GPU with accounting on. Samples are so rare that they find nobody."""
    return replace(Scenario.host(1).with_accounting(0), sample_period_ns=3600 * S)


async def job(host: Host, pid: int, length_ms: int = 40, sm_percent: int = 0, memory_bytes: int = GIB) -> SimProcess:
    """Comes and goes."""
    start_ns = boottime_ns()
    process = SimProcess(pid, start_ns, start_ns + length_ms * MS, memory_bytes, sm_percent)
    await host.becomes(host.scenario.with_process(0, process))
    await trio.sleep(length_ms / 1000 + 0.02)
    return process


def test_a_job_shorter_than_any_sample_is_told_with_its_start_and_length(tmp_path: Path) -> None:
    async def story(host: Host) -> None:
        await host.read()
        process = await job(host, 7001, sm_percent=60, memory_bytes=3 * GIB)
        reading = await host.read()
        (one,) = good(reading)[0].passed
        assert one.evidence_ns == ()
        told = one.accounted
        assert told is not None
        assert abs(told.start_ns - process.start_ns) < 5 * MS
        assert (told.time_ns, told.sm_percent, told.max_memory_bytes) == (40 * MS, 60, 3 * GIB)
        assert good(reading)[0].processes == ()

    on_host(tmp_path, on(), story)


def test_each_ended_process_is_told_once(tmp_path: Path) -> None:
    async def story(host: Host) -> None:
        await host.read()
        for pid in (7001, 7002, 7003):
            await job(host, pid, sm_percent=10)
        told = [sorted(accounted(await host.read())) for _ in range(5)]
        assert told == [[7001, 7002, 7003], [], [], [], []]

    on_host(tmp_path, on(), story)


def test_a_process_that_was_in_the_list_is_told_when_it_has_ended_and_not_before(tmp_path: Path) -> None:
    async def story(host: Host) -> None:
        start_ns = boottime_ns()
        await host.becomes(host.scenario.with_process(0, SimProcess(7001, start_ns=start_ns)))
        for _ in range(3):
            assert accounted(await host.read()) == {}
        await host.becomes(host.scenario.with_ended(0, 7001, boottime_ns()))
        told = accounted(await host.read())[7001]
        assert told.time_ns > 10 * MS

    on_host(tmp_path, on(), story)


def test_of_a_pid_that_is_used_again_each_process_is_told(tmp_path: Path) -> None:
    async def story(host: Host) -> None:
        await host.read()
        starts = set[int]()
        for _ in range(2):
            start_ns = boottime_ns()
            await host.becomes(host.scenario.with_process(0, SimProcess(7001, start_ns=start_ns)))
            assert [p.pid for p in good(await host.read())[0].processes] == [7001]
            await host.becomes(host.scenario.with_ended(0, 7001, boottime_ns()))
            starts.add(accounted(await host.read())[7001].start_ns)
        assert len(starts) == 2

    on_host(tmp_path, on(), story)


def test_what_ended_long_before_we_looked_is_not_told(tmp_path: Path) -> None:
    ago_ns = boottime_ns() - 60 * S
    old = SimProcess(6001, start_ns=ago_ns, end_ns=ago_ns + S)

    async def story(host: Host) -> None:
        assert accounted(await host.read()) == {}
        await job(host, 7001)
        assert list(accounted(await host.read())) == [7001]

    on_host(tmp_path, on().with_process(0, old), story)


def test_a_child_that_begins_anew_tells_no_record_twice(tmp_path: Path) -> None:
    async def story(host: Host) -> None:
        await host.read()
        await job(host, 7001)
        assert list(accounted(await host.read())) == [7001]
        await host.probe.release(2)
        host.probe.resume()
        assert accounted(await host.until(all_good)) == {}

    on_host(tmp_path, on(), story)


def test_samples_and_records_of_one_process_are_told_together(tmp_path: Path) -> None:
    async def story(host: Host) -> None:
        await host.read()
        await job(host, 7001, length_ms=400, sm_percent=70)
        (one,) = good(await host.read())[0].passed
        assert one.evidence_ns
        assert one.sm_percent == 70
        assert one.accounted is not None
        assert one.accounted.time_ns == 400 * MS

    on_host(tmp_path, Scenario.host(1).with_accounting(0), story)


def test_a_storm_longer_than_what_is_asked_in_a_tick_is_told_whole(tmp_path: Path) -> None:
    """The driver keeps the last 128 on a device."""

    async def story(host: Host) -> None:
        await host.read()
        now_ns = boottime_ns()
        jobs = tuple(SimProcess(8000 + i, start_ns=now_ns + i * MS, end_ns=now_ns + (i + 1) * MS) for i in range(128))
        await host.becomes(host.scenario.with_device(replace(host.scenario.devices[0], processes=jobs)))
        await trio.sleep(0.15)
        assert len(accounted(await host.read())) == 128

    on_host(tmp_path, on(), story)


@pytest.mark.parametrize(
    ("memory_bytes", "sm_percent", "reason"),
    [(200 * GIB, 50, "accounting_memory"), (GIB, 37_100, "accounting_percent")],
)
def test_garbage_in_a_record_is_counted_and_absent(
    tmp_path: Path, memory_bytes: int, sm_percent: int, reason: str
) -> None:
    async def story(host: Host) -> None:
        await host.read()
        await job(host, 7001, sm_percent=sm_percent, memory_bytes=memory_bytes)
        reading = await host.read()
        told = accounted(reading)[7001]
        assert (told.sm_percent is None) == (reason == "accounting_percent")
        assert (told.max_memory_bytes is None) == (reason == "accounting_memory")
        assert dict(reading.rejected)[reason] == 1

    on_host(tmp_path, on(), story)


# ---- the mode


def test_where_the_mode_is_off_it_stays_off_and_costs_next_to_nothing(tmp_path: Path) -> None:
    async def story(host: Host) -> None:
        for _ in range(3):
            await host.read()
            await job(host, 7001)
        assert accounted(await host.read()) == {}
        await host.read()
        assert host.probe.other_calls <= 3  # events, whether it is cut, and whether the mode has changed

    on_host(tmp_path, replace(Scenario.host(1), sample_period_ns=3600 * S), story)


@needs_root
def test_it_is_switched_on_where_the_operator_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")

    async def story(host: Host) -> None:
        await host.read()
        await job(host, 7001)
        assert list(accounted(await host.read())) == [7001]
        assert "accounting mode was off and is switched on now" in caplog.text

    on_host(tmp_path, replace(Scenario.host(1), sample_period_ns=3600 * S), story, accounting=True)


def test_a_refusal_is_told_once_with_its_cure(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def story(host: Host) -> None:
        await host.read()
        await host.probe.release(2)
        host.probe.resume()
        assert all_good(await host.until(all_good))
        (line,) = [record.getMessage() for record in caplog.records if "accounting" in record.getMessage()]
        assert "only root may" in line
        assert all(device.uuid in line for device in host.scenario.devices)

    refusal = Fault("nvmlDeviceSetAccountingMode", "NO_PERMISSION")
    on_host(tmp_path, Scenario.host(2).with_fault(refusal), story, accounting=True)


def test_on_a_gpu_in_mig_mode_it_is_not_asked_for(tmp_path: Path) -> None:
    scenario = Scenario.host(1, "NVIDIA A100-SXM4-80GB")
    scenario = scenario.with_mig_layout(0, cut_into("NVIDIA A100-SXM4-80GB", "3g.40gb"))

    async def story(host: Host) -> None:
        for _ in range(3):
            assert all_good(await host.read())
        assert (
            host.probe.other_calls <= 1 + 3 + 7
        )  # events, the mode, memory, who it is; free places at every second tick

    on_host(tmp_path, scenario, story, accounting=True)
