"""MIG: devices that are cut into instances, cut anew while programs run, and what each may be asked."""

import os
import re
from dataclasses import replace
from pathlib import Path

import pytest

from gputally.simulator.scenario import Fault, Scenario, SimDevice, SimInstance, SimProcess, cut_into

from .client import Client, on_host, running

INVALID_ARGUMENT, NOT_SUPPORTED, NO_PERMISSION, NOT_FOUND, TIMEOUT, IS_LOST = 2, 3, 4, 6, 10, 15
NO_INSTANCE = 0xFFFFFFFF
A100 = "NVIDIA A100-SXM4-80GB"
MIB, GIB = 1 << 20, 1 << 30
COMPUTE = "nvmlDeviceGetComputeRunningProcesses"
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: a driver tells placements to nobody else")


def sliced(*profiles: str, gpus: int = 1) -> Scenario:
    host = Scenario.host(gpus, A100)
    return host.with_mig_layout(0, cut_into(A100, *profiles))


def mig(index: int, device: int = 0) -> str:
    return f"nvmlDeviceGetMigDeviceHandleByIndex(gpu({device}), {index})"


def found(client: Client) -> dict[int, str]:
    """Index and UUID of each MIG device, found as every program has to find them."""
    most = client.ask("nvmlDeviceGetMaxMigDeviceCount(gpu(0))")
    there = [i for i in range(most) if client.code(mig(i)) != NOT_FOUND]
    return {i: client.ask(f"nvmlDeviceGetUUID({mig(i)})") for i in there}


def test_a_device_is_cut_into_what_the_scenario_says(tmp_path: Path) -> None:
    with on_host(tmp_path, sliced("3g.40gb", "2g.20gb", "1g.10gb", "1g.10gb", gpus=2)) as client:
        assert client.ask("nvmlDeviceGetMigMode(gpu(0))") == [1, 1]
        assert client.ask("nvmlDeviceGetMaxMigDeviceCount(gpu(0))") == 7
        assert [client.code(mig(i)) for i in range(8)] == [
            0,
            0,
            0,
            0,
            NOT_FOUND,
            NOT_FOUND,
            NOT_FOUND,
            INVALID_ARGUMENT,
        ]
        attributes = [client.ask(f"nvmlDeviceGetAttributes({mig(i)})") for i in range(4)]
        keys = ("gpuInstanceSliceCount", "computeInstanceSliceCount", "memorySizeMB", "multiprocessorCount")
        assert [tuple(one[key] for key in keys) for one in attributes] == [
            (3, 3, 40_192, 42), (2, 2, 19_968, 28), (1, 1, 9_728, 14), (1, 1, 9_728, 14)]  # fmt: skip
        assert client.ask(f"nvmlDeviceGetName({mig(2)})") == "NVIDIA A100-SXM4-80GB MIG 1g.10gb"
        ids = [(client.ask(f"nvmlDeviceGetGpuInstanceId({mig(i)})"),
                client.ask(f"nvmlDeviceGetComputeInstanceId({mig(i)})")) for i in range(4)]  # fmt: skip
        assert ids == [(1, 0), (3, 0), (7, 0), (8, 0)]
        assert [client.ask(f"nvmlDeviceGetIndex({mig(i)})") for i in range(4)] == [0, 1, 2, 3]
        assert client.ask(f"nvmlDeviceIsMigDeviceHandle({mig(0)})") == 1
        assert client.ask("nvmlDeviceIsMigDeviceHandle(gpu(0))") == 0
        parent = f"nvmlDeviceGetDeviceHandleFromMigDeviceHandle({mig(3)})"
        assert client.ask(f"nvmlDeviceGetUUID({parent}) == nvmlDeviceGetUUID(gpu(0))")
        memory = client.ask(f"nvmlDeviceGetMemoryInfo({mig(2)})")
        assert (memory["total"], memory["used"]) == (9_728 * MIB, 0)


def test_a_device_that_is_not_cut_has_no_mig_devices(tmp_path: Path) -> None:
    off, never = SimDevice("GPU-off"), SimDevice("GPU-never", mig="unsupported")
    with on_host(tmp_path, Scenario((off, never, replace(off, uuid="GPU-empty", mig="enabled")))) as client:
        assert [client.ask(f"nvmlDeviceGetMaxMigDeviceCount(gpu({i}))") for i in range(3)] == [0, 0, 7]
        assert [client.code(mig(0, i)) for i in range(3)] == [NOT_SUPPORTED, NOT_SUPPORTED, NOT_FOUND]
        for call in ("GetGpuInstanceId", "GetComputeInstanceId", "GetAttributes"):
            assert client.code(f"nvmlDevice{call}(gpu(0))") == NOT_SUPPORTED, "which only a MIG device has"
        assert client.code("nvmlDeviceGetDeviceHandleFromMigDeviceHandle(gpu(0))") == INVALID_ARGUMENT


def test_uuids_come_back_with_their_ids_and_lead_to_their_device(tmp_path: Path) -> None:
    host = sliced("1g.10gb", "1g.10gb", gpus=2).with_mig_layout(1, cut_into(A100, "1g.10gb"))
    with on_host(tmp_path, host) as client:
        uuids = [client.ask(f"nvmlDeviceGetUUID({mig(*place)})") for place in ((0, 0), (1, 0), (0, 1))]
        assert len(set(uuids)) == 3
        assert all(re.fullmatch(r"MIG-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", uuid) for uuid in uuids)
        client.becomes(host.without_mig_instance(0, 8))
        assert client.code(f"nvmlDeviceGetHandleByUUID({uuids[1]!r})") == NOT_FOUND
        client.becomes(host.without_mig_instance(0, 8).with_mig_instance(0, *cut_into(A100, "1g.10gb")))
        assert client.ask(f"nvmlDeviceGetUUID({mig(0)})") == uuids[0]
        by_uuid = f"nvmlDeviceGetHandleByUUID({uuids[2]!r})"
        assert client.ask(f"[nvmlDeviceGetUUID({by_uuid}), nvmlDeviceIsMigDeviceHandle({by_uuid}).value]") == [
            uuids[2],
            1,
        ]


def test_only_the_whole_device_has_power_and_energy_and_nobody_utilization(tmp_path: Path) -> None:
    host = sliced("3g.40gb", "3g.40gb").with_power(0, 200_000)
    with on_host(tmp_path, host) as client:
        for handle in ("gpu(0)", mig(0)):
            for call in ("GetUtilizationRates({})", "GetProcessUtilization({}, 1)", "GetAccountingStats({}, 5)",
                         "GetSamples({}, NVML_GPU_UTILIZATION_SAMPLES, 0)"):  # fmt: skip
                assert client.code(f"nvmlDevice{call.format(handle)}") == NOT_SUPPORTED, (handle, call)
        board = ["GetPowerUsage({})", "GetTotalEnergyConsumption({})", "GetFieldValues({}, [83])"]
        assert [client.code(f"nvmlDevice{call.format('gpu(0)')}") for call in board] == [0, 0, 0]
        assert {client.code(f"nvmlDevice{call.format(mig(0))}") for call in board} == {NOT_SUPPORTED}
        assert (
            client.code(f"nvmlDeviceGetSerial({mig(0)})")
            == client.code(f"nvmlDeviceGetPciInfo({mig(0)})")
            == NOT_SUPPORTED
        )


def test_some_drivers_repeat_the_boards_energy_for_each_mig_device(tmp_path: Path) -> None:
    """Who adds those up bills the board seven times."""
    host = sliced(*["1g.10gb"] * 7)
    host = host.with_device(replace(host.devices[0], quirks=("mig_energy",), power_mw=0)).with_power(0, 10**9)
    with on_host(tmp_path, host) as client:
        first, *rest = client.ask("[nvmlDeviceGetTotalEnergyConsumption(h) for h in [gpu(0), *("
                                  "nvmlDeviceGetMigDeviceHandleByIndex(gpu(0), i) for i in range(7))]]")  # fmt: skip
        assert all(first <= energy < first + 10**9 for energy in rest)
        assert client.ask(f"nvmlDeviceGetPowerUsage({mig(6)})") == 10**9


def test_an_instance_lists_its_own_processes_and_the_device_all_of_them(tmp_path: Path) -> None:
    host = sliced("3g.40gb", "3g.40gb")
    for pid, gpu_instance in ((11, 1), (12, 2), (13, 2)):
        host = host.with_process(
            0, SimProcess(pid, memory_bytes=pid * GIB, gpu_instance=gpu_instance, compute_instance=0)
        )
    host = host.with_process(0, SimProcess(14, memory_bytes=GIB, kind="graphics", gpu_instance=2, compute_instance=0))
    with on_host(tmp_path, host) as client:
        rows = client.ask(f"{COMPUTE}(gpu(0))")
        assert [(row["pid"], row["gpuInstanceId"], row["computeInstanceId"]) for row in rows] == [
            (11, 1, 0), (12, 2, 0), (13, 2, 0)]  # fmt: skip
        lists = [[row["pid"] for row in client.ask(f"{COMPUTE}({mig(i)})")] for i in range(2)]
        assert lists == [[11], [12, 13]]
        assert [row["pid"] for row in client.ask(f"nvmlDeviceGetGraphicsRunningProcesses({mig(1)})")] == [14]
        used = [client.ask(f"nvmlDeviceGetMemoryInfo({handle}, version=nvmlMemory_v2).used")
                for handle in (mig(0), mig(1), "gpu(0)")]  # fmt: skip
        assert used == [11 * GIB, 26 * GIB, 37 * GIB]


def test_two_compute_instances_share_the_memory_of_their_gpu_instance(tmp_path: Path) -> None:
    half = replace(cut_into(A100, "3g.40gb")[0], gpu_slices=3)
    host = Scenario.host(1, A100).with_mig_layout(0, [
        replace(half, compute_instance=0, compute_slices=1, multiprocessors=14, profile="1c.3g.40gb"),
        replace(half, compute_instance=1, compute_slices=2, multiprocessors=28, profile="2c.3g.40gb"),
    ])  # fmt: skip
    with on_host(tmp_path, host) as client:
        both = [client.ask(f"nvmlDeviceGetAttributes({mig(i)})") for i in range(2)]
        assert [(a["computeInstanceSliceCount"], a["gpuInstanceSliceCount"]) for a in both] == [(1, 3), (2, 3)]
        assert {a["memorySizeMB"] for a in both} == {40_192}
        assert client.ask(f"nvmlDeviceGetName({mig(1)})").endswith(" MIG 2c.3g.40gb")


# ---- denominators


@pytest.mark.parametrize("version", [1, 2])
def test_the_profile_of_the_whole_device_tells_its_slices(tmp_path: Path, version: int) -> None:
    call = f"nvmlDeviceGetGpuInstanceProfileInfo(gpu(0), NVML_GPU_INSTANCE_PROFILE_{{}}, version={version})"
    with on_host(tmp_path, sliced("1g.10gb")) as client:
        whole = client.ask(call.format("7_SLICE"))
        assert (whole["id"], whole["sliceCount"], whole["instanceCount"]) == (0, 7, 1)
        assert (whole["multiprocessorCount"], whole["memorySizeMB"]) == (98, 80 * 1024)
        sizes = {n: client.ask(call.format(f"{n}_SLICE")) for n in (1, 2, 3, 4)}
        assert {n: (s["id"], s["sliceCount"], s["instanceCount"]) for n, s in sizes.items()} == {
            1: (19, 1, 7), 2: (14, 2, 3), 3: (9, 3, 2), 4: (5, 4, 1)}  # fmt: skip
        assert client.code(call.format("8_SLICE")) == NOT_SUPPORTED, "no such profile on this board"
        assert client.code(call.format("COUNT")) == INVALID_ARGUMENT, "the end of the enumeration"


def test_the_largest_profile_is_found_by_looking_at_all(tmp_path: Path) -> None:
    """Boards differ: an A30 has four slices of each kind."""
    a30 = SimDevice("GPU-a30", "NVIDIA A30", memory_bytes=24 * GIB, mig="enabled",
                    mig_compute_slices=4, mig_memory_slices=4, multiprocessors=56)  # fmt: skip
    with on_host(tmp_path, Scenario((a30,))) as client:
        call = "nvmlDeviceGetGpuInstanceProfileInfo(gpu(0), {})"
        there = [i for i in range(client.ask("NVML_GPU_INSTANCE_PROFILE_COUNT")) if not client.code(call.format(i))]
        slices = [client.ask(call.format(i))["sliceCount"] for i in there]
        assert sorted(slices) == [1, 2, 4]
        assert client.ask("nvmlDeviceGetMaxMigDeviceCount(gpu(0))") == 4


@needs_root
def test_placements_tell_memory_slices(tmp_path: Path) -> None:
    """Compute slices are 7 and memory slices 8: 3g.40gb is three sevenths and four eighths."""
    room = "kept.update(count=c_uint(8), rows=(c_nvmlGpuInstancePlacement_t * 8)())"
    ask = "nvmlDeviceGetGpuInstancePossiblePlacements(gpu(0), {}, kept['rows'], byref(kept['count']))"
    with on_host(tmp_path, sliced("3g.40gb", "2g.20gb", "1g.20gb")) as client:
        for profile, expected in ((0, [(0, 8)]), (9, [(0, 4), (4, 4)]), (19, [(i, 1) for i in range(7)])):
            client.ask(room)
            client.ask(ask.format(profile))
            rows = client.ask("list(kept['rows'])[:kept['count'].value]")
            assert [(row["start"], row["size"]) for row in rows] == expected
        info = "nvmlGpuInstanceGetInfo(nvmlDeviceGetGpuInstanceById(gpu(0), {})).{}"
        found = [[client.ask(info.format(id_, f"placement.{key}")) for key in ("start", "size")] for id_ in (1, 3, 7)]
        assert found == [[0, 4], [4, 2], [6, 2]]
        assert [client.ask(info.format(id_, "profileId")) for id_ in (1, 3, 7)] == [9, 14, 19]
        assert client.code("nvmlDeviceGetGpuInstanceById(gpu(0), 5)") == NOT_FOUND


def test_only_root_learns_placements(tmp_path: Path) -> None:
    with on_host(tmp_path, sliced("3g.40gb")) as client:
        if os.geteuid() == 0:
            client.ask("__import__('os').seteuid(65534)")
        assert client.code("nvmlDeviceGetGpuInstanceById(gpu(0), 1)") == NO_PERMISSION
        assert (
            client.code("nvmlDeviceGetGpuInstancePossiblePlacements(gpu(0), 0, None, byref(c_uint()))") == NO_PERMISSION
        )
        assert client.code("nvmlDeviceGetGpuInstanceProfileInfo(gpu(0), 4)") == 0


# ---- changes while programs run


def test_an_instance_that_was_destroyed_is_not_found_and_its_index_is_empty(tmp_path: Path) -> None:
    host = sliced("2g.20gb", "2g.20gb", "2g.20gb")
    with on_host(tmp_path, host) as client:
        before = found(client)
        client.ask(f"kept.update(held={mig(1)})")
        client.becomes(host.without_mig_instance(0, 4))
        calls = ["GetUUID", "GetMemoryInfo", "GetAttributes", "GetGpuInstanceId", "GetComputeRunningProcesses",
                 "GetDeviceHandleFromMigDeviceHandle", "IsMigDeviceHandle"]  # fmt: skip
        assert {client.code(f"nvmlDevice{call}(kept['held'])") for call in calls} == {NOT_FOUND}
        assert found(client) == {0: before[0], 2: before[2]}, "the others keep their indices"


def test_a_handle_is_good_for_the_one_that_it_was_given_out_for(tmp_path: Path) -> None:
    """Destroyed and created again under the same ids, with the same UUID: it is another one."""
    host = sliced("2g.20gb", "2g.20gb")
    with on_host(tmp_path, host) as client:
        client.ask(f"kept.update(held={mig(1)})")
        uuid = client.ask("nvmlDeviceGetUUID(kept['held'])")
        again = host.with_mig_instance(0, replace(host.devices[0].instances[1], index=None))
        assert again.devices[0].instances[1].generation > host.devices[0].instances[1].generation
        client.becomes(again)
        assert client.code("nvmlDeviceGetUUID(kept['held'])") == NOT_FOUND
        assert client.ask(f"nvmlDeviceGetUUID({mig(1)})") == uuid
        assert client.ask("nvmlDeviceGetUUID(kept['held'])") == uuid, (
            "asked for again: handles may be reused, says the header"
        )


def test_a_new_layout_destroys_all_that_was_there(tmp_path: Path) -> None:
    host = sliced("1g.10gb", "1g.10gb")
    with on_host(tmp_path, host) as client:
        client.ask(f"kept.update(held=[{mig(0)}, {mig(1)}])")
        client.becomes(host.with_mig_layout(0, cut_into(A100, "1g.10gb", "1g.10gb", "2g.20gb")))
        assert [client.code(f"nvmlDeviceGetUUID(kept['held'][{i}])") for i in range(2)] == [NOT_FOUND] * 2
        assert len(found(client)) == 3
        off = replace(host.devices[0], mig="disabled", instances=())
        client.becomes(host.with_device(off))
        assert client.code("nvmlDeviceGetUUID(kept['held'][0])") == NOT_FOUND
        assert client.code(mig(0)) == NOT_SUPPORTED
        assert client.code("nvmlDeviceGetUtilizationRates(gpu(0))") == 0


@needs_root
def test_a_gpu_instance_that_was_destroyed_is_invalid(tmp_path: Path) -> None:
    host = sliced("2g.20gb", "2g.20gb")
    with on_host(tmp_path, host) as client:
        client.ask("kept.update(held=nvmlDeviceGetGpuInstanceById(gpu(0), 4))")
        assert client.ask("nvmlGpuInstanceGetInfo(kept['held']).id") == 4
        client.becomes(host.without_mig_instance(0, 4))
        assert client.code("nvmlGpuInstanceGetInfo(kept['held'])") == INVALID_ARGUMENT
        assert client.code(f"nvmlGpuInstanceGetInfo(cast({mig(0)}, c_nvmlGpuInstance_t))") == INVALID_ARGUMENT


def test_a_lost_device_takes_its_mig_devices_along(tmp_path: Path) -> None:
    host = sliced("2g.20gb", gpus=2)
    with on_host(tmp_path, host) as client:
        client.ask(f"kept.update(held={mig(0)})")
        client.becomes(host.with_lost(0))
        assert client.code("nvmlDeviceGetMemoryInfo(kept['held'])") == client.code(mig(0)) == IS_LOST
        client.becomes(host.with_lost(0).with_returned(0))
        assert client.code("nvmlDeviceGetMemoryInfo(kept['held'])") == IS_LOST
        client.ask("[nvmlShutdown(), nvmlInit()]")
        assert client.code("nvmlDeviceGetMemoryInfo(kept['held'])") == INVALID_ARGUMENT, "to be asked for again"
        assert client.code(f"nvmlDeviceGetMemoryInfo({mig(0)})") == 0


def test_a_fault_can_be_of_one_mig_device(tmp_path: Path) -> None:
    host = sliced("3g.40gb", "3g.40gb")
    with on_host(tmp_path, host) as client:
        uuids = found(client)
        client.becomes(host.with_fault(Fault("nvmlDeviceGetMemoryInfo", error="TIMEOUT", device=uuids[1])))
        assert [client.code(f"nvmlDeviceGetMemoryInfo({handle})") for handle in ("gpu(0)", mig(0), mig(1))] == [
            0,
            0,
            TIMEOUT,
        ]


# ---- by hand


def test_a_person_can_write_instances(tmp_path: Path) -> None:
    (path := tmp_path / "scenario").write_text("""
        driver
        device uuid=GPU-a name="Some GPU" memory=80000000000 mig=enabled multiprocessors=98
        instance device=0 gpu_instance=2 compute_slices=3 memory_slices=4
        instance device=GPU-a gpu_instance=9 uuid=MIG-b name=Mine memory=10000000000 index=5
        process device=MIG-b pid=7
    """)
    with running(path) as client:
        client.ask("nvmlInit()")
        assert found(client) == {0: "MIG-GPU-a/2/0", 5: "MIG-b"}
        assert client.ask(f"nvmlDeviceGetName({mig(0)})") == "Some GPU MIG 3g"
        attributes = client.ask(f"nvmlDeviceGetAttributes({mig(0)})")
        assert (attributes["memorySizeMB"], attributes["multiprocessorCount"]) == (40_000_000_000 >> 20, 42)
        (row,) = client.ask(f"{COMPUTE}({mig(5)})")
        assert (row["pid"], row["gpuInstanceId"], row["computeInstanceId"]) == (7, 9, 0)
        assert client.ask(f"{COMPUTE}({mig(0)})") == []
        assert client.close() == ""


def test_the_name_of_a_profile_that_a_board_does_not_have_is_refused() -> None:
    with pytest.raises(KeyError, match=r"9g\.90gb"):
        cut_into(A100, "9g.90gb")
    with pytest.raises(KeyError, match="no MIG device"):
        sliced("1g.10gb").without_mig_instance(0, 5)


def test_mig_devices_take_the_first_index_that_is_free() -> None:
    host = sliced("2g.20gb", "2g.20gb", "2g.20gb").without_mig_instance(0, 3).with_mig_instance(0, SimInstance(9))
    assert {i.gpu_instance: i.index for i in host.devices[0].instances} == {4: 1, 5: 2, 9: 0}
