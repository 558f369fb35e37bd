"""Who is on a device: three lists, three generations of symbols, and the size protocol between them."""

import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from gputally.simulator.scenario import Scenario, SimDevice, SimProcess, Step, boottime_ns, present

from .client import Client, on_host

COMPUTE = "nvmlDeviceGetComputeRunningProcesses"
INSUFFICIENT_SIZE, INVALID_ARGUMENT = 7, 2
NO_INSTANCE = 0xFFFFFFFF
LISTS = {
    "compute": COMPUTE,
    "graphics": "nvmlDeviceGetGraphicsRunningProcesses",
    "mps": "nvmlDeviceGetMPSComputeRunningProcesses",
}


def pids(client: Client, call: str = COMPUTE) -> list[int]:
    return [row["pid"] for row in client.ask(f"{call}(gpu(0))")]


def host_with(*processes: SimProcess) -> Scenario:
    return Scenario((SimDevice("GPU-a", processes=processes),))


def test_each_kind_of_process_stands_in_its_own_list(tmp_path: Path) -> None:
    host = host_with(SimProcess(1), SimProcess(2, kind="graphics"), SimProcess(3, kind="mps"), SimProcess(4))
    with on_host(tmp_path, host) as client:
        for kind, call in LISTS.items():
            expected = [p.pid for p in host.devices[0].processes if p.kind == kind]
            assert pids(client, call) == pids(client, f"{call}_v2") == expected
        everyone = client.ask("nvmlDeviceGetRunningProcessDetailList(gpu(0), nvmlProcessDetailList_v1, 3)")
        assert [row["pid"] for row in everyone] == [1, 2, 3, 4]


@pytest.mark.parametrize(("version", "bytes_"), [("", 16), ("_v2", 24), ("_v3", 24)])
@pytest.mark.parametrize("call", LISTS.values())
def test_old_symbols_give_the_same_rows_in_their_own_layout(
    tmp_path: Path, call: str, version: str, bytes_: int
) -> None:
    kind = next(kind for kind, name in LISTS.items() if name == call)
    one = SimProcess(11, kind=kind, memory_bytes=2**33, gpu_instance=3, compute_instance=1)  # type: ignore[arg-type]
    with on_host(tmp_path, host_with(one, replace(one, pid=12, memory_bytes=5))) as client:
        client.ask("kept.update(count=c_uint(9), rows=create_string_buffer(9 * 24))")
        assert client.ask(f"raw('{call}{version}', gpu(0), byref(kept['count']), kept['rows'])") == 0
        rows = bytes(client.ask("list(kept['rows'].raw)"))
        assert client.ask("kept['count'].value") == 2
    for row, pid, memory in ((rows, 11, 2**33), (rows[bytes_:], 12, 5)):
        assert (int.from_bytes(row[:4], "little"), int.from_bytes(row[8:16], "little")) == (pid, memory)
        if version:
            assert (row[16], row[20]) == (3, 1)
    assert not any(rows[2 * bytes_ :])


def test_a_row_says_who_holds_how_much(tmp_path: Path) -> None:
    memory = (Step(0, 10), Step(boottime_ns(), 7_000_000_000))
    with on_host(tmp_path, host_with(SimProcess(1, memory_bytes=memory), SimProcess(2, memory_bytes=None))) as client:
        known, unknown = client.ask(f"{COMPUTE}(gpu(0))")
        assert known == {"pid": 1, "usedGpuMemory": 7_000_000_000, "gpuInstanceId": NO_INSTANCE,
                         "computeInstanceId": NO_INSTANCE}  # fmt: skip
        assert unknown["usedGpuMemory"] is None


def test_a_caller_without_room_is_told_how_much_it_needs(tmp_path: Path) -> None:
    with on_host(tmp_path, host_with(*(SimProcess(i) for i in range(1, 8)))) as client:
        client.ask("kept.update(count=c_uint(0), rows=(c_nvmlProcessInfo_v3_t * 16)())")
        call = f"raw('{COMPUTE}_v3', gpu(0), byref(kept['count']), kept['rows'])"
        for room in (0, 6):
            client.ask(f"setattr(kept['count'], 'value', {room})")
            assert client.ask(call) == INSUFFICIENT_SIZE
            assert client.ask("kept['count'].value") == 7
            assert client.ask("kept['rows'][0].pid") == 0, "nothing is written when not all fits"
        assert client.ask(call) == 0
        assert client.ask("[row.pid for row in kept['rows']][:8]") == [1, 2, 3, 4, 5, 6, 7, 0]
        assert client.ask(f"raw('{COMPUTE}_v3', gpu(0), byref(kept['count']), None)") == INVALID_ARGUMENT
        assert client.ask(f"raw('{COMPUTE}_v3', gpu(0), None, None)") == INVALID_ARGUMENT


def test_an_empty_device_needs_no_room(tmp_path: Path) -> None:
    with on_host(tmp_path, host_with()) as client:
        assert pids(client) == []
        assert client.ask(f"raw('{COMPUTE}_v3', gpu(0), byref(c_uint(0)), None)") == 0


def test_a_process_is_there_from_its_start_until_its_end(tmp_path: Path) -> None:
    now_ns = boottime_ns()
    host = host_with(
        SimProcess(1, end_ns=now_ns - 1), SimProcess(2, start_ns=now_ns + 10**12), SimProcess(3, start_ns=now_ns)
    )
    with on_host(tmp_path, host) as client:
        assert pids(client) == [p.pid for p in present(host.devices[0], boottime_ns())] == [3]
        end_ns = boottime_ns() + 50_000_000
        client.becomes(host.with_ended(0, 3, end_ns))
        while boottime_ns() < end_ns:
            told, after_ns = pids(client), boottime_ns()
            assert told == [3] or after_ns >= end_ns
        assert pids(client) == []


def test_a_process_that_follows_leaves_with_its_pid(tmp_path: Path) -> None:
    """As a zombie already: it has closed its files, though its parent has not asked for it."""
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        stays, leaves = SimProcess(child.pid, kind="graphics"), SimProcess(child.pid, follow=True, memory_bytes=9)
        with on_host(tmp_path, host_with(leaves, stays)) as client:
            assert pids(client) == [child.pid]
            child.kill()
            time.sleep(0.05)
            assert pids(client) == []
            assert pids(client, LISTS["graphics"]) == [child.pid], "without follow it is a ghost"
            child.wait()
            assert pids(client) == []
            used = client.ask("nvmlDeviceGetMemoryInfo(gpu(0), version=nvmlMemory_v2).used")
            assert used == stays.memory_bytes
    finally:
        child.kill()
        child.wait()


def test_wide_rows_confuse_a_reader_and_never_pass_the_end_of_its_memory(tmp_path: Path) -> None:
    """Drivers 535.43 to 535.86 put 32 bytes behind symbols of 24."""
    host = host_with(*(SimProcess(i, memory_bytes=i) for i in (21, 22, 23)))
    host = host.with_device(replace(host.devices[0], quirks=("wide_rows",)))
    with on_host(tmp_path, host) as client:
        assert [row["pid"] for row in client.ask(f"{COMPUTE}(gpu(0))")] != [21, 22, 23]
        assert pids(client, f"{COMPUTE}_v2") == [21, 22, 23], "only the third version was hurt"
        client.ask("kept.update(rows=create_string_buffer(b'!' * 100), count=c_uint(3))")
        assert client.ask(f"raw('{COMPUTE}_v3', gpu(0), byref(kept['count']), kept['rows'])") == 0
        written = bytes(client.ask("list(kept['rows'].raw)"))
        assert (written[32], written[64], written[72:]) == (22, 23, b"!" * 28 + b"\0")


def test_a_list_may_grow_between_the_two_calls(tmp_path: Path) -> None:
    host = host_with(*(SimProcess(i) for i in (1, 2, 3)))
    with on_host(tmp_path, host.with_device(replace(host.devices[0], quirks=("stale_count",)))) as client:
        client.ask("kept.update(count=c_uint(0), rows=(c_nvmlProcessInfo_v3_t * 8)())")
        assert client.ask(f"raw('{COMPUTE}_v3', gpu(0), byref(kept['count']), None)") == INSUFFICIENT_SIZE
        assert client.ask("kept['count'].value") == 2
        call = f"raw('{COMPUTE}_v3', gpu(0), byref(kept['count']), kept['rows'])"
        assert client.ask(call) == INSUFFICIENT_SIZE
        assert (client.ask("kept['count'].value"), client.ask(call)) == (3, 0)
