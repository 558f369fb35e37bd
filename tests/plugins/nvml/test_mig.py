"""A GPU in MIG mode and its instances: one family, of one instant, as the hardware says and as it changes."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from gputally.model.reading import Device, DeviceGap, DeviceReading, GapReason, HostReading, ProcessOnDevice
from gputally.model.usage import Partition
from gputally.simulator.scenario import Fault, Scenario, SimInstance, SimProcess, cut_into

from .rig import Host, all_good, gaps, good, hang, on_host

A100, H100 = "NVIDIA A100-SXM4-80GB", "NVIDIA H100 80GB HBM3"
GIB = 1 << 30
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: a driver tells placements to nobody else")


def sliced(*profiles: str, gpus: int = 1, model: str = A100) -> Scenario:
    return Scenario.host(gpus, model).with_mig_layout(0, cut_into(model, *profiles))


def private(*profiles: str) -> Scenario:
    """As without privileges: only the instances tell who is in them."""
    scenario = sliced(*profiles)
    return scenario.with_device(replace(scenario.devices[0], quirks=("mig_private",)))


def within(pid: int, gpu_instance: int, compute_instance: int = 0) -> SimProcess:
    return SimProcess(pid, memory_bytes=GIB, gpu_instance=gpu_instance, compute_instance=compute_instance)


def parent(reading: HostReading) -> Device:
    return next(device for device in reading.devices if device.slices is None)


def instances(reading: HostReading) -> list[Device]:
    return [device for device in reading.devices if device.slices is not None]


def parts(reading: HostReading) -> dict[str, tuple[int, int]]:
    """Compute and memory slices by the profile in the model's name."""
    return {d.model.rpartition(" ")[2]: (d.slices.compute, d.slices.memory) for d in instances(reading) if d.slices}


def pids(reading: HostReading) -> list[list[int]]:
    """Of the GPU and each instance, as they are told."""
    return [[p.pid for p in one.processes] for one in reading.readings if isinstance(one, DeviceReading)]


@needs_root
def test_a_cut_gpu_and_its_instances_are_devices_with_their_parts_of_the_whole(tmp_path: Path) -> None:
    async def story(host: Host) -> None:
        reading = await host.read()
        whole, *cut = reading.devices
        assert whole.partition == Partition(7, 8)
        assert whole.slices is None
        assert parts(reading) == {"3g.40gb": (3, 4), "2g.20gb": (2, 2), "1g.10gb": (1, 1)}
        for device in cut:
            assert device.device_id.startswith("nvidia:MIG-")
            assert device.partition is None
            assert device.slices is not None
            assert (device.slices.parent_id, device.slices.compute_of, device.slices.memory_of) == (
                whole.device_id,
                7,
                8,
            )
        assert [device.memory_bytes >> 20 for device in cut] == [40_192, 19_968, 9_728]
        assert [part.device_id for part in reading.readings] == [device.device_id for device in reading.devices]

    on_host(tmp_path, sliced("3g.40gb", "2g.20gb", "1g.10gb"), story)


def test_without_root_slices_of_memory_are_counted_in_the_smallest_profile(tmp_path: Path) -> None:
    scenario = sliced("3g.40gb", "2g.20gb", "1g.10gb", "1g.10gb")
    for call in ("nvmlDeviceGetGpuInstancePossiblePlacements*", "nvmlDeviceGetGpuInstanceById"):
        scenario = scenario.with_fault(Fault(call, "NO_PERMISSION"))

    async def story(host: Host) -> None:
        reading = await host.read()
        assert parent(reading).partition == Partition(7, 8)
        assert parts(reading) == {"3g.40gb": (3, 4), "2g.20gb": (2, 2), "1g.10gb": (1, 1)}
        assert len(instances(reading)) == 4

    on_host(tmp_path, scenario, story)


def test_a_name_that_lies_changes_no_fraction(tmp_path: Path) -> None:
    lying = replace(cut_into(A100, "1g.10gb")[0], profile="7g.80gb")

    async def story(host: Host) -> None:
        assert parts(await host.read()) == {"7g.80gb": (1, 1)}

    on_host(tmp_path, Scenario.host(1, A100).with_mig_layout(0, [lying]), story)


@needs_root
def test_compute_instances_that_share_a_gpu_instance_share_its_memory_slices_too(tmp_path: Path) -> None:
    """2 and 1 of 3 compute slices: of 4 memory slices 2 and 1. The last one is nobody's."""
    shared = [
        SimInstance(1, 0, compute_slices=2, gpu_slices=3, memory_slices=4, profile="2c.3g.40gb"),
        SimInstance(1, 1, compute_slices=1, gpu_slices=3, memory_slices=4, profile="1c.3g.40gb"),
    ]

    async def story(host: Host) -> None:
        assert parts(await host.read()) == {"2c.3g.40gb": (2, 2), "1c.3g.40gb": (1, 1)}

    on_host(tmp_path, Scenario.host(1, A100).with_mig_layout(0, shared), story)


def test_a_family_is_read_at_one_instant_and_only_the_gpu_counts_energy(tmp_path: Path) -> None:
    scenario = sliced("3g.40gb", "3g.40gb", gpus=2)
    scenario = scenario.with_device(replace(scenario.devices[0], quirks=("mig_energy",)))

    async def story(host: Host) -> None:
        for _ in range(4):
            reading = await host.read()
            whole, *cut = [part for part in reading.readings[:3] if isinstance(part, DeviceReading)]
            assert {part.at_ns for part in cut} == {whole.at_ns}
            assert {part.epoch for part in cut} == {whole.epoch}
            assert whole.energy_mj is not None
            assert [(part.energy_mj, part.power_mw) for part in cut] == [(None, None)] * 2
            beside = reading.readings[3]
            assert isinstance(beside, DeviceReading)
            assert beside.at_ns > whole.at_ns

    on_host(tmp_path, scenario, story)


@pytest.mark.parametrize("private_lists", [False, True])
def test_each_process_is_in_its_own_instance(tmp_path: Path, private_lists: bool) -> None:
    """Also where the driver does not tell who is on the whole GPU."""
    scenario = (private if private_lists else sliced)("3g.40gb", "3g.40gb")
    for process in (
        within(11, 1),
        within(12, 2),
        within(13, 2),
        SimProcess(14, kind="graphics", gpu_instance=2, compute_instance=0),
    ):
        scenario = scenario.with_process(0, process)

    async def story(host: Host) -> None:
        reading = await host.read()
        assert pids(reading) == [[], [11], [12, 13, 14]]
        one = reading.readings[1]
        assert isinstance(one, DeviceReading)
        assert one.processes == (ProcessOnDevice(11, GIB, None),)
        assert one.memory_used_bytes == GIB
        assert one.utilization_percent is None
        assert one.passed == ()

    on_host(tmp_path, scenario, story)


def test_neither_utilization_nor_samples_are_asked_of_a_cut_gpu(tmp_path: Path) -> None:
    async def story(host: Host) -> None:
        await host.read()
        assert (await host.read()).driver_calls == 3  # processes, energy, memory
        assert host.probe.other_calls > 0
        reading = await host.read()
        whole = reading.readings[0]
        assert isinstance(whole, DeviceReading)
        assert whole.utilization_percent is None
        assert reading.rejected == ()

    on_host(tmp_path, sliced("3g.40gb", "3g.40gb").with_process(0, within(11, 1)), story)


# ---- layouts change


def test_a_gpu_that_is_cut_while_it_runs_is_whole_before_and_a_family_after(tmp_path: Path) -> None:
    async def story(host: Host) -> None:
        whole = await host.read()
        assert parent(whole).partition is None
        await host.becomes(host.scenario.with_mig_layout(0, cut_into(A100, "3g.40gb", "3g.40gb")))
        await host.read()
        cut = await host.read()
        assert parent(cut).partition == Partition(7, 8)
        assert len(instances(cut)) == 2
        await host.becomes(host.scenario.with_device(replace(host.scenario.devices[0], mig="disabled", instances=())))
        joined = await host.read()
        assert joined.devices == whole.devices
        assert all_good(joined)
        one = good(joined)[0]
        assert one.utilization_percent == 0  # asked for again, though it was refused while MIG was on

    on_host(tmp_path, Scenario.host(1, A100), story)


@needs_root
def test_a_gpu_that_is_cut_and_used_between_two_ticks_is_never_taken_for_a_whole_one(tmp_path: Path) -> None:
    async def story(host: Host) -> None:
        for tick in range(4):
            await host.read()
            cut = host.scenario.with_mig_layout(0, cut_into(A100, "3g.40gb"))
            await host.becomes(cut.with_process(0, within(700 + tick, 1)))
            assert pids(await host.read()) == [[], [700 + tick]]
            await host.becomes(Scenario.host(1, A100))
            assert parent(await host.read()).partition is None

    on_host(tmp_path, Scenario.host(1, A100), story)


def test_an_instance_that_is_created_is_found_within_two_ticks(tmp_path: Path) -> None:
    async def story(host: Host) -> None:
        await host.read()
        await host.becomes(host.scenario.with_mig_instance(0, *cut_into(A100, "1g.10gb")))
        found = [len(instances(await host.read())) for _ in range(2)]
        assert found[-1] == 2

    on_host(tmp_path, sliced("3g.40gb"), story)


def test_one_with_a_process_is_found_at_once(tmp_path: Path) -> None:
    async def story(host: Host) -> None:
        for tick in range(6):
            await host.read()
            (created,) = cut_into(A100, "1g.10gb")
            pid = 700 + tick
            grown = host.scenario.with_mig_instance(0, created).with_process(0, within(pid, created.gpu_instance))
            await host.becomes(grown)
            assert [pid] in pids(await host.read())
            await host.becomes(host.scenario.without_process(0, pid).without_mig_instance(0, created.gpu_instance))

    on_host(tmp_path, sliced("3g.40gb"), story)


def test_an_instance_that_is_destroyed_is_gone_from_the_very_next_reading(tmp_path: Path) -> None:
    async def story(host: Host) -> None:
        before = await host.read()
        await host.becomes(host.scenario.without_mig_instance(0, 2))
        after = await host.read()
        assert [device.device_id for device in after.devices] == [device.device_id for device in before.devices[:2]]
        assert len(after.readings) == 2
        assert all_good(after)

    on_host(tmp_path, sliced("3g.40gb", "3g.40gb"), story)


def test_one_that_is_created_again_under_its_ids_is_missing_for_a_reading_so_that_everybody_sees_it(
    tmp_path: Path,
) -> None:
    async def story(host: Host) -> None:
        before = instances(await host.read())
        for _ in range(5):  # at whatever tick it happens
            await host.becomes(host.scenario.with_mig_instance(0, *cut_into(A100, "3g.40gb")))
            assert instances(await host.read()) == before[1:]
            again = await host.read()
            assert {device.device_id for device in instances(again)} == {device.device_id for device in before}
            assert all_good(again)

    on_host(tmp_path, sliced("3g.40gb", "3g.40gb"), story)


def test_a_layout_that_is_replaced_as_a_whole_is_told_as_a_whole(tmp_path: Path) -> None:
    async def story(host: Host) -> None:
        assert len(instances(await host.read())) == 7
        await host.becomes(host.scenario.with_mig_layout(0, cut_into(A100, "3g.40gb", "3g.40gb")))
        reading = await host.until(lambda reading: len(parts(reading)) == 1 and "3g.40gb" in parts(reading), 3)
        assert len(instances(reading)) == 2
        assert parent(reading).partition == Partition(7, 8)

    on_host(tmp_path, sliced(*["1g.10gb"] * 7), story)


def test_processes_in_instances_that_nobody_knows_are_counted_and_billed_to_nobody(tmp_path: Path) -> None:
    async def story(host: Host) -> None:
        reading = await host.read()
        assert pids(reading) == [[], []]
        assert dict(reading.rejected) == {"row_instance": 1}

    on_host(tmp_path, sliced("3g.40gb").with_process(0, within(11, 99)), story)


# ---- trouble


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [("lost", GapReason.GPU_LOST), ("hang", GapReason.NVML_HANG), ("error", GapReason.NVML_ERROR)],
)
def test_what_befalls_the_gpu_befalls_its_instances(tmp_path: Path, trouble: str, reason: GapReason) -> None:
    async def story(host: Host) -> None:
        before = await host.read()
        if trouble == "lost":
            await host.becomes(host.scenario.with_lost(0))
        else:
            fault = Fault("nvmlDeviceGetComputeRunningProcesses", "UNKNOWN", device=0)
            await host.becomes(host.scenario.with_fault(hang(0) if trouble == "hang" else fault))
        reading = await host.read()
        assert gaps(reading) == dict.fromkeys(range(3), reason)
        assert len({part.at_ns for part in reading.readings[:3]}) == 1
        assert reading.devices == before.devices
        assert isinstance(reading.readings[3], DeviceReading)
        await host.becomes(host.scenario.with_returned(0) if trouble == "lost" else host.scenario.without_faults())
        assert (await host.until(all_good)).devices == before.devices

    on_host(tmp_path, sliced("3g.40gb", "3g.40gb", gpus=2), story)


def test_an_instance_whose_own_list_cannot_be_read_is_a_gap_alone(tmp_path: Path) -> None:
    scenario = private("3g.40gb", "3g.40gb")

    async def story(host: Host) -> None:
        first, second = instances(await host.read())
        fault = Fault(
            "nvmlDeviceGetComputeRunningProcesses", "UNKNOWN", device=second.device_id.removeprefix("nvidia:")
        )
        await host.becomes(host.scenario.with_fault(fault))
        _, one, other = (await host.read()).readings
        assert isinstance(one, DeviceReading)
        assert one.device_id == first.device_id
        assert isinstance(other, DeviceGap)
        assert other.reason is GapReason.NVML_ERROR

    on_host(tmp_path, scenario, story)


def test_a_cut_gpu_that_does_not_say_into_how_much_is_a_gap(tmp_path: Path) -> None:
    async def story(host: Host) -> None:
        assert gaps(await host.read()) == {0: GapReason.NVML_ERROR}
        await host.becomes(host.scenario.without_faults())
        assert all_good(await host.read())

    on_host(tmp_path, sliced("3g.40gb").with_fault(Fault("nvmlDeviceGetGpuInstanceProfileInfo", "UNKNOWN")), story)


def test_another_child_goes_on_with_the_same_family(tmp_path: Path) -> None:
    async def story(host: Host) -> None:
        before = await host.read()
        await host.probe.release(2)
        released = await host.read()
        assert set(gaps(released).values()) == {GapReason.RELEASED}
        assert released.devices == before.devices
        host.probe.resume()
        assert (await host.until(all_good)).devices == before.devices

    on_host(tmp_path, sliced("3g.40gb", "2g.20gb"), story)


# ---- activity


def test_from_hopper_on_each_instance_tells_how_busy_it_is(tmp_path: Path) -> None:
    scenario = sliced("3g.40gb", "2g.20gb", model=H100)
    scenario = scenario.with_mig_utilization(0, 80, 1).with_mig_utilization(0, 30, 3)

    async def story(host: Host) -> None:
        told = list[list[int | None]]()
        for _ in range(3):
            reading = await host.read()
            told.append([p.utilization_percent for p in reading.readings if isinstance(p, DeviceReading)])
            await trio.sleep(0.25)
        assert told == [[None, None, None], [None, 80, 30], [None, 80, 30]]

    on_host(tmp_path, scenario, story)


def test_two_readings_within_one_refresh_of_the_driver_tell_the_same(tmp_path: Path) -> None:
    async def story(host: Host) -> None:
        await host.read()
        await trio.sleep(0.25)
        told = {good(await host.read())[1].utilization_percent for _ in range(10)}
        assert told == {80}

    on_host(tmp_path, sliced("3g.40gb", model=H100).with_mig_utilization(0, 80, 1), story)


def test_who_of_several_in_one_gpu_instance_is_busy_is_not_known(tmp_path: Path) -> None:
    shared = [SimInstance(1, number, compute_slices=1, gpu_slices=3, memory_slices=4) for number in range(2)]
    scenario = Scenario.host(1, H100).with_mig_layout(0, shared).with_mig_utilization(0, 80, 1)

    async def story(host: Host) -> None:
        for _ in range(3):
            reading = good(await host.read())
            assert [reading[index].utilization_percent for index in (1, 2)] == [None, None]
            await trio.sleep(0.15)

    on_host(tmp_path, scenario, story)


def test_a_family_of_seven_on_each_of_eight_gpus_stays_within_the_budget(tmp_path: Path) -> None:
    scenario = Scenario.host(8, H100)
    for gpu in range(8):
        scenario = scenario.with_mig_layout(gpu, cut_into(H100, *["1g.10gb"] * 7))

    async def story(host: Host) -> None:
        assert len((await host.read()).readings) == 64
        calls = [((await host.read()).driver_calls, host.probe.other_calls) for _ in range(12)]
        assert max(ours for ours, _ in calls) <= 64
        assert max(others for _, others in calls) <= 8 * (1 + 1 + 7 * 3) + 1

    on_host(tmp_path, scenario, story)
