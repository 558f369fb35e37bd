"""What reading 8 GPUs with 64 processes costs, beside a plain pynvml loop that reads the same facts.

Claims: at most 64 NVML calls in a tick and 50 in the mean; the child takes no more than 1.3
times the CPU of the plain loop, child and daemon together no more than 2.5 times: what it
costs that a hang in the driver is survived; at most 14 MiB for the child.

At one tick a second most of the CPU goes into caches that have grown cold: at a
hundred ticks a second the same work takes half and less.

    python bench/bench_probe.py [ticks a second [seconds]]
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pynvml
import trio

from gputally.plugins.nvml.probe import NvmlProbe
from gputally.simulator.scenario import Scenario, SimProcess, driver_environment

GPUS, PROCESSES_EACH = 8, 8
GIB = 1 << 30
S = 1_000_000_000
MOST_CALLS, MOST_CALLS_MEAN, MOST_CHILD_RATIO, MOST_RATIO, MOST_MIB = 64, 50, 1.3, 2.5, 14


def main() -> None:
    if sys.argv[1:2] == ["plain"]:
        plain_loop(float(sys.argv[2]), float(sys.argv[3]))
        return
    per_s, seconds = (float(word) for word in (sys.argv[1:] + ["4", "15"][len(sys.argv) - 1 :])[:2])
    with tempfile.TemporaryDirectory() as folder:
        scenario = Path(folder, "scenario")
        busy_host().write(scenario)
        environment = {**os.environ, **driver_environment(scenario)}
        rival = subprocess.Popen(
            [sys.executable, __file__, "plain", str(per_s), str(seconds)],
            env=environment, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        ours = trio.run(probe_loop, environment, per_s, seconds)
        theirs = [float(word) for word in rival.communicate()[0].split()]
    tell(ours, theirs, per_s, seconds)


def busy_host() -> Scenario:
    scenario = Scenario.host(GPUS)
    for index in range(GPUS * PROCESSES_EACH):
        process = SimProcess(5000 + index, memory_bytes=GIB, sm_percent=12)
        scenario = scenario.with_process(index % GPUS, process).with_utilization(index % GPUS, 96)
    return scenario


async def probe_loop(environment: dict[str, str], per_s: float, seconds: float) -> list[float]:
    """Child's ms a tick, daemon's ms a tick, mean and most calls, MiB of the child."""
    probe = NvmlProbe(2.0, environment=environment)
    try:
        for _ in range(3):
            await probe.read(int(S / per_s))
        pid = probe.child_pid or 0
        calls, daemon_ns, child_ns = list[int](), 0, cpu_ns(pid)
        for _ in range(int(per_s * seconds)):
            await trio.sleep(1 / per_s)
            begin_ns = time.process_time_ns()
            reading = await probe.read(int(S / per_s))
            daemon_ns += time.process_time_ns() - begin_ns
            calls.append(reading.driver_calls)
        child_ns = cpu_ns(pid) - child_ns
        ticks = len(calls)
        memory = alone_mib(pid)
    finally:
        await probe.aclose(2)
    return [child_ns / ticks / 1e6, daemon_ns / ticks / 1e6, sum(calls) / ticks, max(calls), memory]


def cpu_ns(pid: int) -> int:
    """Time on a CPU, in ns (Documentation/scheduler/sched-stats.rst)."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0])


def alone_mib(pid: int) -> float:
    """Proportional set size."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("the kernel tells no Pss")


def plain_loop(per_s: float, seconds: float) -> None:
    """The same facts through pynvml's wrappers, handles cached. Prints ms a tick, calls a tick, MiB."""
    pynvml.nvmlInit()
    handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
    for _ in range(3):
        read_plainly(handles)
    spent_ns, ticks = 0, int(per_s * seconds)
    for _ in range(ticks):
        time.sleep(1 / per_s)
        begin_ns = time.process_time_ns()
        read_plainly(handles)
        spent_ns += time.process_time_ns() - begin_ns
    print(spent_ns / ticks / 1e6, count_calls(lambda: read_plainly(handles)), alone_mib(os.getpid()))


def read_plainly(handles: list[pynvml.c_nvmlDevice_t]) -> list[object]:
    facts: list[object] = []
    for handle in handles:
        facts += pynvml.nvmlDeviceGetComputeRunningProcesses(handle)
        facts += pynvml.nvmlDeviceGetGraphicsRunningProcesses(handle)
        facts += pynvml.nvmlDeviceGetMPSComputeRunningProcesses(handle)
        facts.append(pynvml.nvmlDeviceGetUtilizationRates(handle))
        facts.append(pynvml.nvmlDeviceGetMemoryInfo(handle, version=pynvml.nvmlMemory_v2))
        facts.append(pynvml.nvmlDeviceGetTotalEnergyConsumption(handle))
        try:
            facts += pynvml.nvmlDeviceGetProcessUtilization(handle, time.time_ns() // 1000 - 1_000_000)
        except pynvml.NVMLError:
            continue  # nothing new
    return facts


def count_calls(work: Callable[[], object]) -> int:
    count = 0
    original = pynvml._nvmlGetFunctionPointer

    def counting(name: str) -> Callable[..., int]:
        def call(*arguments: object) -> int:
            nonlocal count
            count += 1
            return original(name)(*arguments)

        return call

    pynvml._nvmlGetFunctionPointer = counting
    work()
    pynvml._nvmlGetFunctionPointer = original
    return count


def tell(ours: list[float], theirs: list[float], per_s: float, seconds: float) -> None:
    child_ms, daemon_ms, calls, most_calls, mib = ours
    plain_ms, plain_calls, plain_mib = theirs
    print(f"{GPUS} GPUs, {GPUS * PROCESSES_EACH} processes, {per_s:g} ticks a second for {seconds:g} s")
    print(f"child        {child_ms:6.3f} ms a tick   {calls:5.1f} calls a tick (most {most_calls:g})   {mib:5.1f} MiB")
    print(f"daemon       {daemon_ms:6.3f} ms a tick   (asking, waiting, unpacking)")
    print(f"plain pynvml {plain_ms:6.3f} ms a tick   {plain_calls:5.1f} calls a tick             {plain_mib:5.1f} MiB")
    print(f"child / plain: {child_ms / plain_ms:.2f} of the CPU, {calls / plain_calls:.2f} of the calls")
    print(f"child and daemon / plain: {(child_ms + daemon_ms) / plain_ms:.2f} of the CPU")
    held = (
        most_calls <= MOST_CALLS and calls <= MOST_CALLS_MEAN
        and child_ms <= MOST_CHILD_RATIO * plain_ms and child_ms + daemon_ms <= MOST_RATIO * plain_ms
        and mib <= MOST_MIB
    )  # fmt: skip
    if not held:
        sys.exit("a claim at the head of this file does not hold here")


if __name__ == "__main__":
    main()
