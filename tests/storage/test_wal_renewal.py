"""A log is begun anew, or copied together, in one step: wherever it is cut off, one of both is there, and whole."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import lmdb
import pytest

from gputally.storage.frame import read_frame
from gputally.storage.wal import Entry, Log, LogUnusable
from gputally.storage.wal_clean import forget_clean, say_clean
from gputally.storage.wal_files import DATA
from gputally.storage.wal_offline import verify
from gputally.storage.wal_quarantine import QUARANTINE

MIB = 1024 * 1024
HOST = "gpu-01"
OPEN = "from pathlib import Path; from gputally.storage.wal import Log; import os, signal, sys\n"
KILL = "lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)\n"


def damaged(folder: Path) -> list[bytes]:
    """The payloads of which the one in the middle is rubbed out."""
    log = Log.open(folder, HOST, MIB)
    payloads = [os.urandom(900) for _ in range(21)]
    log.append([Entry(1, payload) for payload in payloads], None)
    log.close()
    raw = (folder / DATA).read_bytes()
    (folder / DATA).write_bytes(raw.replace(payloads[10][:200], bytes(200)))
    return [*payloads[:10], *payloads[11:]]


def payloads_of(log: Log) -> list[bytes]:
    return [read_frame(raw).payload() for raw in log.read(1, 10**6, 10**9)]


STEPS = {
    "while the new one is filled": f"import gputally.storage.wal_renewal as w; w.replace_log = {KILL}",
    "before the old one has its second name": f"os.link = {KILL}",
    "before it takes the old one's place": f"Path.rename = {KILL}",
    "when it has just taken it": "old = Path.rename\ndef die(*names):\n    old(*names)\n"
    "    os.kill(os.getpid(), signal.SIGKILL)\nPath.rename = die\n",
}


@pytest.mark.parametrize("step", STEPS)
def test_a_crash_while_a_log_is_begun_anew_loses_nothing_more(step: str, tmp_path: Path) -> None:
    folder = tmp_path / "log"
    left = damaged(folder)
    code = OPEN + STEPS[step] + f"Log.open(Path(sys.argv[1]), {HOST!r}, {MIB})"
    child = subprocess.run([sys.executable, "-c", code, folder], capture_output=True, timeout=60, check=False)
    assert child.returncode == -signal.SIGKILL, child.stderr
    log = Log.open(folder, HOST, MIB)
    assert payloads_of(log)[1:] == left
    assert (log.recovery is None) == (step == "when it has just taken it")
    log.close()
    assert not (folder / "creating").exists()
    assert len(list((folder / QUARANTINE).iterdir())) <= 2
    assert list(verify(folder)) == []


def test_without_room_for_both_the_old_file_gives_way_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "log"
    left = damaged(folder)

    def little_room(_: Path) -> int:
        return 400_000  # for the frames, and not for all of a log

    monkeypatch.setattr("gputally.storage.wal_quarantine.free_bytes", little_room)
    log = Log.open(folder, HOST, MIB)
    assert payloads_of(log)[1:] == left
    assert log.recovery is not None and log.recovery.quarantine is None
    assert "cannot be kept" in caplog.text
    assert (folder / DATA).stat().st_blocks * 512 >= MIB
    log.close()


def test_without_room_for_the_frames_the_log_is_refused_and_both_it_and_what_is_missing_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "log"
    damaged(folder)
    before = (folder / DATA).read_bytes()

    def no_room(_: Path) -> int:
        return 4_096

    monkeypatch.setattr("gputally.storage.wal_quarantine.free_bytes", no_room)
    with pytest.raises(
        LogUnusable, match=rf"{folder}: no room for the log: \d\d\d\d\d\d bytes needed, 4096 free"
    ) as refused:
        Log.open(folder, HOST, MIB)
    assert refused.value.exit_code == 74
    assert (folder / DATA).read_bytes() == before


def test_older_logs_in_quarantine_give_way_before_a_damaged_one_is_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4200k", "tmpfs", disk], check=False).returncode:
        pytest.skip("needs root: mounts a small tmpfs")
    try:
        folder = disk / "log"
        log = Log.open(folder, HOST, MIB)
        for _ in range(2):
            log.begin_epoch("fork")
        log.close()
        oldest, newer = sorted((folder / QUARANTINE).iterdir())
        left = damaged(folder)
        (disk / "other").write_bytes(bytes(os.statvfs(disk).f_bavail * 4096))
        log = Log.open(folder, HOST, MIB)
        assert log.recovery is not None and log.recovery.quarantine is not None
        assert [payload for payload in payloads_of(log) if len(payload) == 900] == left
        assert not oldest.exists() and f"{oldest} gives way" in caplog.text
        assert newer.exists() or "gives way" in caplog.text
        log.close()
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_note_of_an_acknowledgement_that_is_damaged_deletes_nothing_that_is_not_acknowledged(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    log = Log.open(folder, HOST, MIB)
    log.append([Entry(1, b"usage")] * 9, None)
    log.acknowledge(3, 10)
    log.close()
    with lmdb.open(str(folder), max_dbs=5) as env, env.begin(write=True) as txn:
        acks = env.open_db(b"acks", txn=txn, create=False)
        txn.put((7).to_bytes(8, "big"), (10).to_bytes(8, "big"), db=acks)
    assert any("frame 7" in problem for problem in verify(folder))
    say_clean(folder)  # a disk that forgets does not touch the file's times
    opened = Log.open(folder, HOST, MIB)
    assert opened.trim(11) == 3
    assert opened.stat().first_seq == 4
    opened.close()


def test_a_log_that_once_was_long_and_is_short_again_is_copied_together_when_it_is_opened(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    log = Log.open(folder, HOST, 32 * MIB)
    for _ in range(20):
        log.append([Entry(1, os.urandom(1_500)) for _ in range(700)], b"open windows")
    last = log.stat().last_seq
    log.acknowledge(last - 100, 10)
    log.trim(11)
    left, epoch, stat = log.read(last - 99, 10**6, 10**9), log.epoch, log.stat()
    log.close()
    again = Log.open(folder, HOST, 32 * MIB)
    assert (again.read(last - 99, 10**6, 10**9), again.epoch, again.checkpoint()) == (left, epoch, b"open windows")
    assert again.stat().bytes <= stat.bytes
    assert again.append([Entry(1, b"usage")], None) == last + 1
    again.close()
    found = (folder / DATA).stat()
    assert (found.st_size, found.st_blocks * 512 >= 32 * MIB) == (32 * MIB, True)
    with lmdb.open(str(folder), readonly=True) as env:
        assert (env.info()["last_pgno"] + 1) * 4096 < 2 * MIB
    assert list(verify(folder)) == []


def test_a_log_that_was_not_closed_and_is_whole_goes_on_in_its_epoch(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    log = Log.open(folder, HOST, MIB)
    log.append([Entry(1, b"usage")] * 9, None)
    epoch = log.epoch
    log.close()
    forget_clean(folder)
    again = Log.open(folder, HOST, MIB)
    assert (again.recovery, again.epoch, again.stat().last_seq) == (None, epoch, 9)
    again.close()
