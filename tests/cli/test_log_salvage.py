"""``gputally log dump`` and ``salvage``: a damaged log is shown as far as it can be read, without a traceback."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from gputally.cli.main import main
from gputally.storage.wal import Entry, Log

MIB = 1024 * 1024


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    log = Log.open(tmp_path / "log", "gpu-01", MIB)
    log.append([Entry(10, os.urandom(900)) for _ in range(30)], None)
    log.acknowledge(2, 1)
    log.close()
    return tmp_path / "log"


def gputally(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    code = f"from {main.__module__} import main; main(prog_name='gputally')"
    call = [sys.executable, "-c", code, "log", *arguments]
    return subprocess.run(call, capture_output=True, text=True, timeout=60, check=False)


def damage(folder: Path, seed: int) -> None:
    file, dice = folder / "data.mdb", random.Random(seed)
    raw = bytearray(file.read_bytes())
    for _ in range(4):
        at = dice.randrange(20) * 4096
        raw[at : at + 4096] = dice.randbytes(4096)
    file.write_bytes(raw)


def test_a_dump_names_every_frame_and_with_json_what_it_says(folder: Path) -> None:
    done = gputally("dump", folder)
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 30)
    told = [json.loads(line) for line in gputally("dump", folder, "--json").stdout.splitlines()]
    assert [each["seq"] for each in told] == list(range(1, 31))
    assert told[1]["previous_hash"] == told[0]["hash"]
    assert told[0]["batch"] is None and told[0]["error"]  # random bytes are no batch, and that is said


def test_what_is_salvaged_can_be_dumped_again(folder: Path, tmp_path: Path) -> None:
    done = gputally("salvage", folder, "--to", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "30 frames" in done.stdout
    assert gputally("dump", tmp_path / "out").stdout == gputally("dump", folder).stdout
    assert gputally("dump", tmp_path / "out" / "frames").stdout == gputally("dump", folder).stdout
    again = gputally("salvage", folder, "--to", tmp_path / "out")
    assert again.returncode == 74 and "exists" in again.stderr


@pytest.mark.parametrize("seed", range(4))
def test_a_damaged_log_is_shown_as_far_as_it_can_be_read(seed: int, folder: Path, tmp_path: Path) -> None:
    damage(folder, seed)
    for done in (
        gputally("verify", folder),
        gputally("dump", folder),
        gputally("dump", folder, "--json"),
        gputally("salvage", folder, "--to", tmp_path / "out"),
        gputally("stat", folder),
    ):
        assert "Traceback" not in done.stderr
        assert done.returncode in (0, 66, 74)
    assert (tmp_path / "out" / "frames").exists()


@pytest.mark.parametrize("command", ["dump", "salvage"])
def test_what_is_no_log_is_called_so(command: str, tmp_path: Path) -> None:
    more: list[str | Path] = ["--to", tmp_path / "out"] if command == "salvage" else []
    done = gputally(command, tmp_path / "nothing", *more)
    assert done.returncode == 66
    assert str(tmp_path / "nothing") in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("kept_bytes", [0, 100, 20_000])
def test_a_dump_that_lacks_frames_says_so_and_exits_74(kept_bytes: int, folder: Path) -> None:
    os.truncate(folder / "data.mdb", kept_bytes)
    done = gputally("dump", folder)
    assert done.returncode == 74
    assert done.stderr.startswith("lost: ")
