"""What metering costs its host: CPU, NVML calls, wake-ups and memory of all daemon processes together.

8 GPUs, 64 real processes, 1 Hz, 60 s windows, the uplink streaming to a real collector over loopback.
Whole windows only, so that closing, committing, connecting and sending are in the average. Beside it,
in the same run, a bare pynvml loop that reads the same facts and does nothing with them.

Bounds believed in before measuring: 2 ms of CPU a tick (aim 1 ms), 64 NVML calls a tick,
80 MiB of PSS without the log's map, of which bare imports take some 60.

    make bench-tick            two windows, about two and a half minutes
    python bench/bench_tick.py --windows 1
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gputally.cli.socket_asking import ask_daemon
from gputally.simulator.rig import Rig
from gputally.simulator.scenario import Scenario
from gputally.simulator.stack import addresses, collector_config, daemon_config, running

GPUS, PROCESSES_PER_GPU, WINDOW_S = 8, 8, 60
RULES = ({"match": {"path": "/tenants.slice/tenant-*"}, "tenant": "{1}"},)
MIB = 1 << 20

BARE_LOOP = """
import resource, sys, time
import pynvml as n
n.nvmlInit()
handles = [n.nvmlDeviceGetHandleByIndex(i) for i in range(n.nvmlDeviceGetCount())]
def cpu():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
def processes(handle):
    try: n.nvmlDeviceGetProcessUtilization(handle, int((time.time() - 1) * 1e6))
    except n.NVMLError: pass
began, ticks = cpu(), int(sys.argv[1])
for tick in range(ticks):
    for h in handles:
        n.nvmlDeviceGetUtilizationRates(h); n.nvmlDeviceGetMemoryInfo(h, version=n.nvmlMemory_v2)
        n.nvmlDeviceGetTotalEnergyConsumption(h); n.nvmlDeviceGetComputeRunningProcesses(h); processes(h)
    time.sleep(1)
print((cpu() - began) / ticks * 1000)
"""

IMPORTS = """
import sys
for name in sys.argv[1:]: __import__(name)
print("ready", flush=True); sys.stdin.read()
"""
DAEMON_IMPORTS = ("trio", "grpc", "google.protobuf.message", "lmdb", "msgpack", "zstandard", "click", "json", "logging")


@dataclass(frozen=True)
class Used:
    """Totals of one process since its start."""

    cpu_ns: int
    switches: int


def used(pid: int) -> Used:
    """CPU in ns and voluntary switches (a wake-up each) of all threads that live now."""
    tasks = list(Path(f"/proc/{pid}/task").iterdir())
    switches = 0
    for task in tasks:
        for line in (task / "status").read_text().splitlines():
            if line.startswith("voluntary_ctxt_switches"):
                switches += int(line.split()[1])
    return Used(process_cpu_ns(pid), switches)


def process_cpu_ns(pid: int) -> int:
    """CPU of a process with all threads it ever had: its own clock, in ns (clock_getcpuclockid(3))."""
    return time.clock_gettime_ns((~pid << 3) | 2)


def pss_bytes(pid: int) -> int:
    """Proportional memory of a process, without the map of the write-ahead log."""
    total, of_log = 0, False
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        first = line.split(maxsplit=1)[0]
        if not first.endswith(":"):
            of_log = line.endswith("data.mdb")
        elif first == "Pss:" and not of_log:
            total += int(line.split()[1]) * 1024
    return total


def children(pid: int) -> list[int]:
    return [
        int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()
    ]


def bare_imports_bytes() -> int:
    """PSS of two interpreters that import what the daemon and its NVML child must, and do nothing."""
    idle = [
        subprocess.Popen([sys.executable, "-c", IMPORTS, *names], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for names in (DAEMON_IMPORTS, ("pynvml", "msgpack"))
    ]
    for process in idle:
        assert process.stdout is not None
        process.stdout.readline()
    total = sum(pss_bytes(process.pid) for process in idle)
    for process in idle:
        process.communicate()
    return total


def measure(folder: Path, windows: int) -> dict[str, Any]:
    with ExitStack() as stack:
        rig = stack.enter_context(Rig.opened(folder / "host", Scenario.host(GPUS)))
        for gpu in range(GPUS):
            for number in range(PROCESSES_PER_GPU):
                tenant = f"t{gpu}-{number % 4}"
                rig.start(tenant, f"/tenants.slice/tenant-{tenant}/docker-{gpu:032x}{number:032x}.scope", gpu)
        config = collector_config(folder, {})
        collector = stack.enter_context(running(["collector", "--config", str(config)], folder / "collector.log"))
        intake, _ = addresses(collector)
        config = daemon_config(folder, rig.proc, intake, RULES, metering={"window_s": WINDOW_S})
        daemon = stack.enter_context(
            running(["daemon", "--config", str(config)], folder / "daemon.log", rig.environment)
        )
        bare = subprocess.Popen(
            [sys.executable, "-c", BARE_LOOP, str(windows * WINDOW_S)],
            env={"PATH": "/usr/bin", **rig.environment},
            stdout=subprocess.PIPE,
        )
        time.sleep(10)
        result = observe(folder, daemon.process.pid, windows)
        assert bare.stdout is not None
        result["bare_ms"] = float(bare.stdout.read())
        bare.wait()
        daemon.stop()
    return result


def observe(folder: Path, daemon: int, windows: int) -> dict[str, Any]:
    """The daemon's processes over whole windows."""
    (child,) = children(daemon)
    before = {pid: used(pid) for pid in (daemon, child)}
    ticks_before = ask_daemon(str(folder / "daemon.sock"))["sampling"]["ticks"]
    time.sleep(windows * WINDOW_S)
    after = {pid: used(pid) for pid in (daemon, child)}
    told = ask_daemon(str(folder / "daemon.sock"))
    ticks = told["sampling"]["ticks"] - ticks_before
    assert children(daemon) == [child], "the NVML child was replaced: start again"
    assert told["log"]["unacked_frames"] <= 1, "the uplink did not work: start again"
    assert told["attribution"]["processes"] == GPUS * PROCESSES_PER_GPU, told["attribution"]
    return {
        "ticks": ticks,
        "parent_ms": (after[daemon].cpu_ns - before[daemon].cpu_ns) / ticks / 1e6,
        "child_ms": (after[child].cpu_ns - before[child].cpu_ns) / ticks / 1e6,
        "parent_wakeups_per_s": (after[daemon].switches - before[daemon].switches) / (windows * WINDOW_S),
        "child_wakeups_per_s": (after[child].switches - before[child].switches) / (windows * WINDOW_S),
        "nvml_calls": told["sampling"]["nvml_calls_per_tick"],
        "pss_bytes": pss_bytes(daemon) + pss_bytes(child),
        "child_pss_bytes": pss_bytes(child),
        "frames": told["log"]["last_seq"],
    }


def report(result: dict[str, Any], imports_bytes: int) -> None:
    parent_ms, child_ms, bare_ms = result["parent_ms"], result["child_ms"], result["bare_ms"]
    parent_wakes, child_wakes = result["parent_wakeups_per_s"], result["child_wakeups_per_s"]
    pss, imports = result["pss_bytes"] / MIB, imports_bytes / MIB
    total_ms = parent_ms + child_ms
    print(
        f"{GPUS} GPUs, {GPUS * PROCESSES_PER_GPU} processes, 1 Hz, {result['ticks']} ticks, {result['frames']} frames"
    )
    print(f"CPU per tick          {total_ms:6.2f} ms   (bound 2, aim 1), {total_ms / bare_ms:.1f} x the bare loop")
    print(f"  NVML child          {child_ms:6.2f} ms")
    print(f"  daemon              {parent_ms:6.2f} ms   pipe, attribution, meter, log, uplink")
    print(f"  bare pynvml loop    {bare_ms:6.2f} ms   the same facts, nothing done with them")
    print(
        f"wake-ups per second   {parent_wakes + child_wakes:6.1f}   daemon {parent_wakes:.1f}, child {child_wakes:.1f}"
    )
    print(f"NVML calls per tick   {result['nvml_calls']:6d}      (bound 64)")
    print(f"memory (PSS)          {pss:6.1f} MiB  (bound 80), {pss / imports:.2f} x bare imports ({imports:.1f} MiB)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--windows", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="gputally-bench-") as folder:
        result = measure(Path(folder), options.windows)
    imports_bytes = bare_imports_bytes()
    if options.json:
        print(json.dumps({**result, "imports_bytes": imports_bytes}, indent=2))
    else:
        report(result, imports_bytes)


if __name__ == "__main__":
    main()
