"""What the kernel says of the clocks, against the same asked by other ways; and nothing where it may not be asked."""

import ctypes
import platform
import shutil
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gputally.model.usage import ClockState
from gputally.plugins import clock
from gputally.plugins.clock import STA_UNSYNC, HostClock, Timex, clock_state

S = 1_000_000_000
CALLS = {"x86_64": (159, 305), "aarch64": (171, 266)}
"""adjtimex and clock_adjtime by machine: <asm/unistd.h>."""
REFUSING = """
import ctypes, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
refused = [int(word) for word in sys.argv[1:]]
filter = [(0x20, 0, 0, 0), *((0x15, len(refused) - n, 0, call) for n, call in enumerate(refused))]
filter += [(0x06, 0, 0, 0x7FFF0000), (0x06, 0, 0, 0x00050001)]  # allow; EPERM
program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *one) for one in filter))
head = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(filter), ctypes.addressof(program)))
assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, head) == 0, ctypes.get_errno()
from gputally.plugins.clock import HostClock
print(HostClock().look()[0].value)
"""


def calls() -> tuple[int, int]:
    if platform.machine() not in CALLS:
        pytest.skip(f"no numbers of system calls for {platform.machine()}")
    return CALLS[platform.machine()]


def test_the_state_is_what_the_raw_call_says() -> None:
    told, libc = ctypes.create_string_buffer(208), ctypes.CDLL(None, use_errno=True)
    state = libc.syscall(calls()[0], told)
    if state < 0:
        assert clock_state() is ClockState.UNKNOWN
        return
    (status,) = struct.unpack_from("i", told.raw, 40)
    synced = state != 5 and not status & STA_UNSYNC
    assert clock_state() is (ClockState.SYNCED if synced else ClockState.UNSYNCED)


def test_the_structure_is_the_compilers(tmp_path: Path) -> None:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("needs a C compiler")
    names = ("status", "tick", "shift", "tai")
    prints = "".join(f'printf("%zu ", offsetof(struct timex, {name}));' for name in names)
    source = tmp_path / "timex.c"
    source.write_text(
        f"#include <stddef.h>\n#include <stdio.h>\n#include <sys/timex.h>\n"
        f'int main(void) {{ {prints} printf("%zu", sizeof(struct timex)); }}\n'
    )
    subprocess.run([compiler, source, "-o", tmp_path / "timex"], check=True)
    told = subprocess.run([tmp_path / "timex"], capture_output=True, text=True, check=True).stdout
    ours = [*(getattr(Timex, name).offset for name in names), ctypes.sizeof(Timex)]
    assert told.split() == [str(number) for number in ours]


def test_what_the_kernel_wrote_into_it_is_plausible() -> None:
    if clock_state() is ClockState.UNKNOWN:
        pytest.skip("this host does not let adjtimex be read")
    told = clock._TIMEX  # pyright: ignore[reportPrivateUsage]
    assert 9_000 <= told.tick <= 11_000, "µs between ticks of 10 ms, by adjtimex(2)"
    assert abs(told.sec - time.time()) < 60


def test_a_sandbox_that_refuses_the_call_leaves_the_state_unknown() -> None:
    """As ProtectClock=yes of systemd and containers without CAP_SYS_TIME do: by a filter that answers EPERM."""
    command = [sys.executable, "-c", REFUSING, *map(str, calls())]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "unknown\n"


def test_the_state_is_looked_at_once_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[int] = []

    def state() -> ClockState:
        looked.append(1)
        return ClockState.SYNCED

    monkeypatch.setattr(clock, "clock_state", state)
    one = HostClock()
    for _ in range(1000):
        assert one.look()[0] is ClockState.SYNCED
    assert len(looked) <= 2  # two, should these thousand take more than a second


def test_the_time_that_was_slept_through_does_not_jitter() -> None:
    one = HostClock()
    assert len({one.look()[1] for _ in range(10_000)}) == 1
    aside = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    assert abs(one.look()[1] - aside) < S


@pytest.mark.root
def test_a_thousand_seconds_of_suspend_are_seen() -> None:
    """A time namespace moves CLOCK_BOOTTIME away from CLOCK_MONOTONIC, as a suspend does."""
    code = "from gputally.plugins.clock import HostClock; print(HostClock().look()[1])"
    told: list[int] = []
    for shift in ((), ("unshare", "--time", "--fork", "--boottime", "1000")):
        done = subprocess.run([*shift, sys.executable, "-c", code], capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"no time namespace here: {done.stderr.strip()}")
        told.append(int(done.stdout))
    assert abs(told[1] - told[0] - 1000 * S) < 1_000_000


def test_a_suspend_between_two_looks_is_seen_to_its_full_length(monkeypatch: pytest.MonkeyPatch) -> None:
    now = {time.CLOCK_BOOTTIME: 5_000 * S, time.CLOCK_MONOTONIC: 4_000 * S}

    def read(which: int) -> int:
        for each in now:
            now[each] += 100
        return now[which]

    monkeypatch.setattr("gputally.plugins.clock.time.clock_gettime_ns", read)
    one = HostClock()
    before_ns = one.look()[1]
    assert abs(before_ns - 1_000 * S) <= 200 and one.look()[1] == before_ns
    now[time.CLOCK_BOOTTIME] += 7 * S
    assert abs(one.look()[1] - before_ns - 7 * S) <= 200


def test_clocks_that_a_preemption_pulled_apart_are_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    now_ns, stalls = [9_000 * S], [0, 3 * S, 0, 0]

    def read(which: int) -> int:
        now_ns[0] += 100 + (stalls.pop(0) if stalls else 0)
        return now_ns[0]

    monkeypatch.setattr("gputally.plugins.clock.time.clock_gettime_ns", read)
    assert HostClock().look()[1] == 0
