"""Starts a storm of short processes; run by storm.py as a program of its own, so that forking stays cheap.

    storm_launcher.py SECONDS PER_S LIFE_S GROUP...

Takes turns among the files GROUP, each the cgroup.procs that a job moves itself into, or - for none.
Says on standard output, a line each: ``S PID GROUP BEFORE_NS AFTER_NS`` when a job has begun and sits in its
group (the fork was between the two), ``E PID NS`` as a job's last deed. CLOCK_BOOTTIME.
"""

import os
import signal
import sys
import time
from contextlib import suppress


def now_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def live(turn: int, group: int | None, before_ns: int, life_ns: int) -> None:
    """All of a job. Single writes: lines of many processes do not mix."""
    born_ns = now_ns()
    if group is not None:
        os.write(group, b"0")  # the writer itself; see cgroups(7)
    os.write(1, f"S {os.getpid()} {turn} {before_ns} {born_ns}\n".encode())
    time.sleep(max(0, before_ns + life_ns - now_ns()) / 1e9)
    os.write(1, f"E {os.getpid()} {now_ns()}\n".encode())
    os._exit(0)


def main(seconds: str, per_s: str, life_s: str, *names: str) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody is left as a zombie
    groups = [None if name == "-" else os.open(name, os.O_WRONLY) for name in names]
    step_ns, life_ns = round(1e9 / float(per_s)), round(float(life_s) * 1e9)
    began_ns = now_ns()
    for number in range(round(float(seconds) * float(per_s))):
        time.sleep(max(0, began_ns + number * step_ns - now_ns()) / 1e9)
        before_ns = now_ns()
        if not os.fork():
            live(number % len(groups), groups[number % len(groups)], before_ns, life_ns)
    with suppress(ChildProcessError):
        os.wait()  # for all of them: an orphan might stay as a zombie


if __name__ == "__main__":
    main(*sys.argv[1:])
