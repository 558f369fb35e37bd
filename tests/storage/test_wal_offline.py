"""A log can be looked into from outside, its daemon running or not, and damage is found without a crash."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gputally.storage.wal import Entry, Log
from gputally.storage.wal_errors import NotALog
from gputally.storage.wal_offline import look, verify

MIB = 1024 * 1024


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.fixture
def log(folder: Path) -> Iterator[Log]:
    opened = Log.open(folder, "gpu-01", MIB)
    opened.append([Entry(10, os.urandom(900)) for _ in range(60)], b"open windows")
    opened.acknowledge(20, 10)
    opened.trim(11)
    yield opened
    opened.close()


def test_a_copy_without_lock_file_can_be_looked_into_and_nothing_is_left_beside_it(folder: Path, log: Log) -> None:
    stat = log.stat()
    log.close()
    copy = folder.parent / "copy"
    copy.mkdir()
    shutil.copy(folder / "data.mdb", copy)
    assert look(copy) == stat
    assert list(verify(copy)) == []
    assert [path.name for path in copy.iterdir()] == ["data.mdb"]


def test_looking_at_a_log_does_not_keep_its_daemon_from_starting(folder: Path, log: Log) -> None:
    log.close()
    look(folder)
    Log.open(folder, "gpu-01", MIB).close()


@pytest.mark.parametrize("content", [None, b"", b"no log", bytes(100_000), b"x" * 100_000])
def test_what_is_no_log_is_called_so(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "data.mdb").write_bytes(content)
    with pytest.raises(NotALog, match=str(tmp_path)):
        look(tmp_path)


def test_a_log_in_use_is_not_verified_for_its_pages_move(folder: Path, log: Log) -> None:
    with pytest.raises(NotALog, match=f"in use by process {os.getpid()}"):
        list(verify(folder))


def test_a_log_that_is_whole_verifies(folder: Path, log: Log) -> None:
    log.close()
    assert list(verify(folder)) == []


def change(raw: bytes, place: int, to: bytes) -> bytes:
    return raw[:place] + to + raw[place + len(to) :]


DAMAGE: dict[str, Callable[[bytes, int], bytes]] = {
    "one bit of a payload": lambda raw, place: change(raw, place, bytes([raw[place] ^ 1])),
    "a page of zeroes": lambda raw, place: change(raw, place // 4096 * 4096, bytes(4096)),
    "a page in the place of another": lambda raw, place: change(raw, place // 4096 * 4096, raw[8 * 4096 : 9 * 4096]),
    "a file cut short": lambda raw, place: raw[: place // 4096 * 4096],
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_found_and_said(damage: str, folder: Path, log: Log) -> None:
    raw = log.read(60, 1, MIB)[0]
    log.close()
    file = folder / "data.mdb"
    content = file.read_bytes()
    file.write_bytes(DAMAGE[damage](content, content.index(raw) + len(raw) - 5))
    assert list(verify(folder))
