"""What it costs to follow every process of the host through the process connector, and whether one is lost.

Claims: 1,000 processes a second, taken up as the daemon takes them up, cost under
4 % of one core where they end at once, as most do, and under 15 % where each
lives long enough to be looked at; a burst of 20,000 forks is followed without a
loss. Figures are scaled to 1,000 a second where this machine did not reach that.

    bench/bench_connector.py [SECONDS]
"""

import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import closing, contextmanager

import trio

from gputally.daemon.attributing import follow_processes
from gputally.plugins.attribution.attributor import CgroupAttributor, make_attributor
from gputally.plugins.attribution.connector import ConnectorUnusable

RATE = 1000
BURST = 20_000
LOADS = (  # what, seconds that each lives, whether it becomes another program, percent of a core at most
    ("forks that end at once", 0.0, False, 4.0),
    ("forks and execs that end at once", 0.0, True, 4.0),
    ("forks that live 0.2 s, and are looked at", 0.2, False, 15.0),
)
FORKER = """
import os, sys, time, signal
rate, total, life_s, program = float(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), sys.argv[4] == "True"
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
began, made = time.monotonic(), 0
while made < total or not total:
    if program:
        os.posix_spawn("/bin/true", ["true"], {})
    elif not os.fork():
        time.sleep(life_s)
        os._exit(0)
    made += 1
    if rate:
        time.sleep(max(0.0, began + made / rate - time.monotonic()))
"""


def main(arguments: list[str]) -> None:
    length_s = float(arguments[0]) if arguments else 5.0
    try:
        quiet = measure(length_s)
    except ConnectorUnusable as why:
        print(f"skipped: {why}")
        return
    print(f"nothing of ours running: {quiet[1]:.0f} processes a second, {quiet[0]:.2f} % of a core")
    for what, life_s, program, most_percent in LOADS:
        with forking(RATE, 0, life_s, program):
            time.sleep(1)
            percent, rate = measure(length_s)
        cost = percent / rate * 1000
        print(f"{what}: {rate:.0f} a second, {percent:.2f} % of a core, {cost:.2f} % for 1,000 a second")
        assert cost < most_percent, f"more than {most_percent} % of a core"
    burst()


def measure(length_s: float) -> tuple[float, float]:
    """(percent of a core, processes a second) of following for so long, in a process that does nothing else."""
    with opened() as attributor:
        began_s, cpu_s = time.monotonic(), time.process_time()
        trio.run(follow_for, attributor, length_s)
        length_s, cpu_s = time.monotonic() - began_s, time.process_time() - cpu_s
        assert attributor.follower is not None
        assert attributor.follower.overruns == 0, "events were lost"
        return 100 * cpu_s / length_s, attributor.follower.ended / length_s


async def follow_for(attributor: CgroupAttributor, length_s: float) -> None:
    with trio.move_on_after(length_s):
        await follow_processes(attributor)


def burst() -> None:
    """As fast as this machine forks, with nobody taking anything up until it is over, nearly."""
    with opened() as attributor, forking(0, BURST, 0.0, False) as forker:
        began_s, cpu_s = time.monotonic(), time.process_time()
        while forker.poll() is None:
            time.sleep(0.05)
            attributor.note_happenings()
        length_s, cpu_s = time.monotonic() - began_s, time.process_time() - cpu_s
        assert attributor.follower is not None
        attributor.note_happenings()
        lost, seen = attributor.follower.overruns, attributor.follower.ended
        print(f"a burst of {BURST} forks in {length_s:.1f} s: {seen} followed to their end, {lost} overruns, "
              f"{cpu_s / BURST * 1e6:.1f} µs of CPU each")  # fmt: skip
        assert lost == 0, "events were lost"
        assert seen >= BURST, "somebody was missed"


@contextmanager
def opened() -> Generator[CgroupAttributor]:
    with closing(make_attributor("/proc", "/sys/fs/cgroup", [], process_connector=True)) as attributor:
        yield attributor


@contextmanager
def forking(rate: float, total: int, life_s: float, program: bool) -> Generator[subprocess.Popen[bytes]]:
    words = [str(rate), str(total), str(life_s), str(program)]
    with subprocess.Popen([sys.executable, "-S", "-E", "-c", FORKER, *words]) as child:
        try:
            yield child
        finally:
            child.kill()


if __name__ == "__main__":
    main(sys.argv[1:])
