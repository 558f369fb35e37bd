"""What a call into the fake driver costs, beside a call through ctypes that does nothing.

A real driver answers its cheap calls in a few microseconds; a fake one that were slower than that
would make every measurement of the sampler one of the simulator.
"""

import ctypes
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from gputally.simulator.driver import LIBRARY, build_driver
from gputally.simulator.scenario import Scenario, SimProcess, Step, driver_environment

CALLS = 100_000
ROUNDS = 5
BOUND_NS = 500
NOTHING = "nothing (libc abs)"
Call = Callable[[], object]


def host() -> Scenario:
    """Eight devices with eight processes each and a history of a thousand steps."""
    steps = tuple(Step(i * 10**9, i % 100) for i in range(1000))
    power = tuple(Step(i * 10**9, 70_000 + i) for i in range(1000))
    scenario = Scenario.host(8)
    for gpu in range(8):
        scenario = scenario.with_utilization(gpu, steps).with_power(gpu, power)
        for i in range(8):
            scenario = scenario.with_process(gpu, SimProcess(1000 + 8 * gpu + i, sm_percent=10))
    return scenario


def calls() -> dict[str, Call]:
    """Bound once with buffers that are used again, as the sampler does it."""
    nvml, libc = ctypes.CDLL(LIBRARY), ctypes.CDLL(None)
    assert nvml.nvmlInit_v2() == 0
    handle, value, count = ctypes.c_void_p(), (ctypes.c_uint64 * 16)(), ctypes.c_uint()
    assert nvml.nvmlDeviceGetHandleByIndex_v2(0, ctypes.byref(handle)) == 0
    rows = (ctypes.c_uint64 * 3 * 64)()
    into, counted = ctypes.byref(value), ctypes.byref(count)

    def listed() -> object:
        count.value = 64
        return nvml.nvmlDeviceGetComputeRunningProcesses_v3(handle, counted, rows)

    return {
        NOTHING: lambda: libc.abs(handle, into),
        "utilization": lambda: nvml.nvmlDeviceGetUtilizationRates(handle, into),
        "power": lambda: nvml.nvmlDeviceGetPowerUsage(handle, into),
        "energy": lambda: nvml.nvmlDeviceGetTotalEnergyConsumption(handle, into),
        "memory, 8 processes": lambda: nvml.nvmlDeviceGetMemoryInfo(handle, into),
        "process list, 8 rows": listed,
    }


def cost_ns(call: Call) -> int:
    """The best of some rounds: noise only ever adds."""
    best = 1 << 62
    for _ in range(ROUNDS):
        begin_ns = time.perf_counter_ns()
        for _ in range(CALLS):
            call()
        best = min(best, time.perf_counter_ns() - begin_ns)
    return best // CALLS


def measure() -> dict[str, int]:
    """In a process of its own: the linker reads LD_LIBRARY_PATH at its start."""
    build_driver()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scenario"
        host().write(path)
        environment = {**os.environ, **driver_environment(path)}
        done = subprocess.run([sys.executable, __file__, "child"], env=environment, capture_output=True, check=True)
    result: dict[str, int] = json.loads(done.stdout)
    return result


def main() -> int:
    found = measure()
    nothing_ns = found.pop(NOTHING)
    print(f"{NOTHING:24} {nothing_ns:6} ns")
    for name, ns in found.items():
        print(f"{name:24} {ns:6} ns  {ns / nothing_ns:5.2f} times nothing, {ns - nothing_ns:5} ns in the driver")
    worst_ns = found["energy"] - nothing_ns
    print(f"energy: {worst_ns} ns in the driver, bound {BOUND_NS}")
    return int(worst_ns > BOUND_NS)


if __name__ == "__main__":
    if sys.argv[1:] == ["child"]:
        print(json.dumps({name: cost_ns(call) for name, call in calls().items()}))
    else:
        raise SystemExit(main())
