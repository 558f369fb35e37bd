"""Opening a log: one owner, whole or not there, and messages that name the folder and the cure."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from gputally.storage.wal import Entry, HostIdChanged, Log, LogUnusable

MIB = 1024 * 1024
HOST = "gpu-01"
OPEN = (
    "from pathlib import Path; from gputally.storage.wal import Entry, Log, LogUnusable; import os, signal, sys, time\n"
)
KILL = "lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)\n"


def run(folder: Path, code: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", OPEN + code, str(folder)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def refused(folder: Path, *, host_id: str = HOST, cap_bytes: int = MIB) -> LogUnusable:
    with pytest.raises(LogUnusable) as caught:
        Log.open(folder, host_id, cap_bytes)
    assert str(folder) in str(caught.value)
    return caught.value


def write_some(folder: Path, count: int = 50) -> None:
    log = Log.open(folder, HOST, MIB)
    log.append([Entry(1, os.urandom(1_000)) for _ in range(count)], None)
    log.close()


def test_a_second_daemon_is_told_which_process_has_the_log_and_has_it_once_that_is_killed(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    holder = run(
        folder, f"log = Log.open(Path(sys.argv[1]), {HOST!r}, {MIB}); print('open', flush=True); time.sleep(60)"
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "open\n"
    error = refused(folder)
    assert f"in use by process {holder.pid}" in str(error)
    assert error.exit_code == 69
    holder.kill()
    holder.communicate()
    Log.open(folder, HOST, MIB).close()


def test_two_logs_in_one_process_stand_side_by_side_but_not_on_one_folder(tmp_path: Path) -> None:
    log, other = Log.open(tmp_path / "a", HOST, MIB), Log.open(tmp_path / "b", HOST, MIB)
    assert f"process {os.getpid()}" in str(refused(tmp_path / "a"))
    assert log.epoch != other.epoch
    log.close()
    other.close()


def test_a_log_of_another_host_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    write_some(folder)
    before = (folder / "data.mdb").read_bytes()
    error = refused(folder, host_id="gpu-02")
    assert isinstance(error, HostIdChanged)
    assert error.exit_code == 78
    assert "'gpu-01'" in str(error)
    assert "host.id" in str(error)
    assert (folder / "data.mdb").read_bytes() == before


def test_no_space_is_said_before_anything_is_taken_with_what_is_needed_and_free(tmp_path: Path) -> None:
    folder, cap_bytes = tmp_path / "log", 2**50
    error = refused(folder, cap_bytes=cap_bytes)
    assert error.exit_code == 74
    assert "bytes needed" in str(error)
    assert "log.cap_mib" in str(error)
    assert {path.name for path in folder.iterdir()} <= {"owner"}
    Log.open(folder, HOST, MIB).close()


def test_space_that_runs_out_while_it_is_reserved_is_no_space(tmp_path: Path) -> None:
    """RLIMIT_FSIZE stands for the disk that filled up between the question and the reservation."""
    folder = tmp_path / "log"
    child = run(
        folder,
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))\n"
        f"try: Log.open(Path(sys.argv[1]), {HOST!r}, {MIB})\n"
        "except LogUnusable as error: print(error.exit_code, error)",
    )
    out, err = child.communicate(timeout=30)
    assert out.startswith("74 "), err
    assert "bytes needed" in out
    assert {path.name for path in folder.iterdir()} <= {"owner"}


@pytest.mark.parametrize("path", ["/proc/gputally/log", "/dev/null/log"])
def test_a_folder_that_cannot_be_written_is_a_matter_of_configuration(path: str) -> None:
    error = refused(Path(path))
    assert error.exit_code == 78
    assert "log.path" in str(error)


STEPS = {
    "as soon as the folder is there": f"Path.mkdir = {KILL}",
    "before the environment is made": f"import gputally.storage.wal_files as w; w._make_environment = {KILL}",
    "before its space is reserved": f"os.posix_fallocate = {KILL}",
    "after its space was reserved": f"os.fsync = {KILL}",
    "before it is put in its place": f"Path.rename = {KILL}",
    "after it was put in its place": f"import gputally.storage.wal_files as w; w.sync_folder = {KILL}",
}


@pytest.mark.parametrize("step", STEPS)
def test_a_crash_while_a_log_is_made_leaves_nothing_half_made(step: str, tmp_path: Path) -> None:
    folder = tmp_path / "log"
    child = run(folder, STEPS[step] + f"Log.open(Path(sys.argv[1]), {HOST!r}, {MIB})")
    _, err = child.communicate(timeout=30)
    assert child.returncode == -signal.SIGKILL, err
    whole = (folder / "data.mdb").exists()
    assert whole == (step == "after it was put in its place")
    log = Log.open(folder, HOST, MIB)
    assert log.append([Entry(1, b"usage")], None) == 1
    log.close()
    assert {path.name for path in folder.iterdir()} == {"clean", "data.mdb", "lock.mdb", "owner"}


def cut_off(raw: bytes) -> bytes:
    return raw[: 20 * 4096]


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda raw: b"",
    "one page": lambda raw: raw[:4096],
    "cut off behind its first pages": cut_off,
    "another program's": lambda raw: b"#!/bin/sh\n" * 10_000,
    "zeroes": lambda raw: bytes(len(raw)),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_file_that_cannot_be_a_log_is_put_aside_and_the_host_meters_on(damage: str, tmp_path: Path) -> None:
    """In a child: a mistake here would end the test run with SIGBUS."""
    folder = tmp_path / "log"
    write_some(folder)
    file = folder / "data.mdb"
    damaged = DAMAGE[damage](file.read_bytes())
    file.write_bytes(damaged)
    child = run(
        folder,
        f"log = Log.open(Path(sys.argv[1]), {HOST!r}, {MIB}); r = log.recovery\n"
        "print(r.reason, r.quarantine); log.append([Entry(1, b'usage')], None); log.close()",
    )
    out, err = child.communicate(timeout=30)
    assert child.returncode == 0, err
    assert "is damaged" in err
    reason, quarantine = out.split()
    assert reason == "damage"
    assert (Path(quarantine) / "data.mdb").read_bytes() == damaged


def test_raising_the_cap_reserves_more_and_keeps_what_is_there(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    write_some(folder)
    log = Log.open(folder, HOST, 4 * MIB)
    assert (folder / "data.mdb").stat().st_blocks * 512 >= 4 * MIB
    assert log.stat().cap_bytes == 4 * MIB
    log.append([Entry(1, os.urandom(1_500)) for _ in range(1_300)], None)
    assert len(log.read(1, 10_000, 10**9)) == 1_350
    log.close()


def test_lowering_the_cap_keeps_what_is_there_and_refuses_new_frames_until_it_fits(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    log = Log.open(folder, HOST, 4 * MIB)
    log.append([Entry(1, os.urandom(1_500)) for _ in range(1_500)], None)
    log.close()
    smaller = Log.open(folder, HOST, MIB)
    assert len(smaller.read(1, 10_000, 10**9)) == 1_500
    with pytest.raises(Exception, match="holds all it may"):
        smaller.append([Entry(1, b"usage")], None)
    smaller.acknowledge(1_500, 1)
    smaller.append([Entry(1, b"usage")], None)
    assert smaller.stat().bytes <= MIB
    smaller.close()


WRITER = f"""
log = Log.open(Path(sys.argv[1]), {HOST!r}, 4 * {MIB})
while True:
    last = log.append([Entry(1, os.urandom(900))] * 3, b"checkpoint of %d" % (log.stat().last_seq + 3))
    print(last, flush=True)
    log.acknowledge(last - 2, last)
    log.trim(last - 60)
"""


def kill_while_it_writes(folder: Path, lines: int) -> int:
    """The newest seq that the writer had said is durable."""
    child = run(folder, WRITER)
    assert child.stdout is not None
    said = [child.stdout.readline() for _ in range(lines)]
    child.kill()
    said += child.stdout.readlines()  # communicate() would pass by what was read ahead
    child.communicate()
    return int(said[-1])


@pytest.mark.parametrize("rounds", [6, pytest.param(200, marks=pytest.mark.long)])
def test_what_was_written_before_a_kill_is_there_afterwards_with_its_checkpoint(tmp_path: Path, rounds: int) -> None:
    folder = tmp_path / "log"
    for round_number in range(rounds):
        said = kill_while_it_writes(folder, lines=3 + round_number * 7 % 40)
        log = Log.open(folder, HOST, 4 * MIB)
        stat = log.stat()
        assert stat.last_seq in (said, said + 3)
        assert log.checkpoint() == b"checkpoint of %d" % stat.last_seq
        assert len(log.read(stat.first_seq, 10**6, 10**9)) == stat.last_seq - stat.first_seq + 1
        log.close()


def test_the_table_of_readers_has_its_blocks_before_it_is_mapped(tmp_path: Path) -> None:
    """On a full disk LMDB would write into a page that is not there, and the daemon end by SIGBUS."""
    Log.open(tmp_path / "log", HOST, MIB).close()
    found = (tmp_path / "log" / "lock.mdb").stat()
    assert found.st_blocks * 512 >= found.st_size > 0
