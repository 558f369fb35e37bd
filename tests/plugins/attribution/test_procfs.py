"""What the kernel says of a process, read so that nobody can slip in between."""

import os
import subprocess
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gputally.plugins.attribution.identity import identify
from gputally.plugins.attribution.kernel import TICK_NS, ProcessGone, ProcessHidden, Stat
from gputally.plugins.attribution.procfs import ProcFolder, parse_stat

PROC = ProcFolder("/proc")
FIELDS = b" S 1 1 1 0 -1 4194560 " + b"0 " * 12 + b"4711 0 0\n"


@pytest.mark.parametrize("name", [b"sleep", b"a b", b"a) S 1 1 (b", b"))))", b"(", b"\xff\n 4 5", b""])
def test_a_program_cannot_fake_its_start_by_its_name(name: bytes) -> None:
    assert parse_stat(b"77 (" + name + b")" + FIELDS) == Stat(4711 * TICK_NS, exiting=False)


def test_a_process_on_its_way_out_is_seen_as_such() -> None:
    assert parse_stat(b"77 (x)" + FIELDS.replace(b" S ", b" Z ")).exiting
    assert parse_stat(b"77 (x)" + FIELDS.replace(b"4194560", b"4194564")).exiting


@given(st.binary(max_size=300))
def test_what_is_no_stat_is_hidden_and_nothing_worse(raw: bytes) -> None:
    try:
        parse_stat(raw)
    except ProcessHidden:
        return


def test_a_start_is_known_to_the_tick_on_the_clock_that_counts_through_suspend() -> None:
    before_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    with subprocess.Popen(["sleep", "60"]) as child:
        after_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        start_ns = PROC.read_stat(child.pid).start_ns
        child.kill()
    assert before_ns - TICK_NS <= start_ns <= after_ns


def test_the_uid_is_the_real_one() -> None:
    assert PROC.read_uid(os.getpid()) == os.getuid()


def test_nobody_is_gone() -> None:
    with pytest.raises(ProcessGone):
        identify(PROC, 2**22 + 1)


def test_a_pid_that_changes_hands_while_we_look_is_not_taken_for_either(tmp_path: Path) -> None:
    class Changing(ProcFolder):
        start = 0

        def read_stat(self, pid: int) -> Stat:
            self.start += 1
            return Stat(self.start, exiting=False)

    (tmp_path / "5").mkdir()
    (tmp_path / "5" / "cgroup").write_text("0::/\n")
    with pytest.raises(ProcessGone):
        identify(Changing(str(tmp_path)), 5)
