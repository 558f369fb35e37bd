"""`gputally log`: what an operator sees of a log, and that a wrong path is said without a traceback."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gputally.storage.wal import Entry, Log

MIB = 1024 * 1024


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    opened = Log.open(tmp_path / "log", "gpu-01", MIB)
    opened.append([Entry(10, os.urandom(900)) for _ in range(6)], None)
    opened.acknowledge(2, 1)
    yield opened
    opened.close()


def gputally(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    call = [sys.executable, "-c", "from gputally.cli.main import main; main(prog_name='gputally')", "log", *arguments]
    return subprocess.run(call, capture_output=True, text=True, timeout=30, check=False)


def test_the_depth_of_a_log_in_use_is_shown_as_the_status_shows_it(tmp_path: Path, log: Log) -> None:
    done = gputally("stat", tmp_path / "log", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "epoch": log.epoch.hex(),
        "first_seq": 1,
        "last_seq": 6,
        "acked_seq": 2,
        "unacked_frames": 4,
        "unacked_records": 40,
        "bytes": log.stat().bytes,
        "cap_bytes": MIB,
        "rejected_frames": 0,
    }


def test_a_log_can_be_looked_at_while_its_daemon_writes_and_trims(tmp_path: Path, log: Log) -> None:
    with ThreadPoolExecutor(1) as threads:
        looking = threads.submit(lambda: [gputally("stat", tmp_path / "log", "--json") for _ in range(4)])
        while not looking.done():
            last = log.append([Entry(10, os.urandom(900)) for _ in range(5)], None)
            log.acknowledge(last - 3, last)
            log.trim(last - 50)
        for done in looking.result():
            assert done.returncode == 0, done.stderr
            found = json.loads(done.stdout)
            assert found["unacked_frames"] == found["last_seq"] - found["acked_seq"]


def test_the_table_says_what_waits(tmp_path: Path, log: Log) -> None:
    assert "4 frames, 40 usage records" in gputally("stat", tmp_path / "log").stdout


@pytest.mark.parametrize("what", ["stat", "verify"])
def test_a_folder_that_holds_no_log_is_named_and_exits_66(tmp_path: Path, what: str) -> None:
    done = gputally(what, tmp_path)
    assert (done.returncode, done.stdout) == (66, "")
    assert str(tmp_path) in done.stderr
    assert "Traceback" not in done.stderr


def test_a_log_in_use_is_not_verified_and_exits_69_with_the_pid_of_its_daemon(tmp_path: Path, log: Log) -> None:
    done = gputally("verify", tmp_path / "log")
    assert done.returncode == 69
    assert f"in use by process {os.getpid()}" in done.stderr


def test_a_whole_log_verifies_and_a_damaged_one_exits_74(tmp_path: Path, log: Log) -> None:
    raw = log.read(3, 1, MIB)[0]
    log.close()
    assert gputally("verify", tmp_path / "log").returncode == 0
    file = tmp_path / "log" / "data.mdb"
    content = file.read_bytes()
    file.write_bytes(content.replace(raw, raw[:-1] + bytes([raw[-1] ^ 1])))
    done = gputally("verify", tmp_path / "log")
    assert done.returncode == 74
    assert "frame 3" in done.stderr
