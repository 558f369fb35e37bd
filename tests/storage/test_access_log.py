"""The access log: durable before it is said to be, bounded in time and rows, and clear about what is wrong."""

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from gputally.model.interval import Interval
from gputally.storage.access_log import AccessLog
from gputally.storage.access_reader import read_accesses
from gputally.storage.access_schema import FILE, Access, AccessError
from gputally.storage.ledger_folder import LedgerError

EVER = Interval(0, 2**62)
DAY_NS = 86_400 * 10**9
ROW = Access(10, "kim", "10.0.0.1", "GET", "/v1/usage", "range_from=2025", 200, 7)


@contextmanager
def opened(folder: Path, keep_ns: int = 2**62, **most: int) -> Iterator[AccessLog]:
    log = AccessLog(folder, keep_ns, {"access": 100, "refusal": 100, **most})
    log.start()
    try:
        yield log
    finally:
        log.stop()


def write(log: AccessLog, *rows: Access) -> list[LedgerError | None]:
    """All offered at once; what became of each."""
    told: list[LedgerError | None] = []
    done = threading.Semaphore(0)
    for row in rows:

        def settled(error: LedgerError | None) -> None:
            told.append(error)
            done.release()

        log.write(row, settled)
    for _ in rows:
        done.acquire()
    return told


def read(folder: Path, span: Interval = EVER, who: str | None = None) -> list[Access]:
    return [each.row for each in read_accesses(folder, span, (0, 0), 1_000, who)]


def until(is_so: object, what: str) -> None:
    assert callable(is_so)
    end = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < end, what
        time.sleep(0.05)


def test_a_row_is_on_the_disk_when_it_is_said_to_be(tmp_path: Path) -> None:
    with opened(tmp_path) as log:
        assert write(log, ROW) == [None]
        (tmp_path / "copy").mkdir()
        for file in tmp_path.glob(f"{FILE}*"):  # what a crash would leave
            (tmp_path / "copy" / file.name).write_bytes(file.read_bytes())
        assert read(tmp_path / "copy") == [ROW]


def test_rows_of_known_callers_and_strangers_come_in_order_of_time(tmp_path: Path) -> None:
    rows = [replace(ROW, at_ns=n, who="" if n % 3 else "kim", in_vain=bool(n % 3), as_of=None) for n in range(90)]
    with opened(tmp_path) as log:
        assert write(log, *rows) == [None] * 90
    assert read(tmp_path) == rows
    assert read(tmp_path, Interval(10, 20)) == rows[10:20]
    assert read(tmp_path, who="kim") == rows[::3]


def test_pages_neither_repeat_nor_lose_a_row(tmp_path: Path) -> None:
    rows = [replace(ROW, at_ns=5, path=f"/{n}", in_vain=n % 2 == 0) for n in range(25)]  # all in one moment
    with opened(tmp_path) as log:
        write(log, *rows)
    seen, after = list[Access](), (0, 0)
    while page := read_accesses(tmp_path, EVER, after, 4):
        seen += [each.row for each in page]
        after = page[-1].place
    assert seen == rows


def test_the_log_goes_on_where_it_was(tmp_path: Path) -> None:
    for n in range(3):
        with opened(tmp_path) as log:
            write(log, replace(ROW, at_ns=n), replace(ROW, at_ns=n, in_vain=True))
    numbers = [each.number for each in read_accesses(tmp_path, EVER, (0, 0), 100)]
    assert numbers == [1, 2, 3, 4, 5, 6]


def test_what_is_older_than_its_retention_is_cut(tmp_path: Path) -> None:
    now_ns = time.time_ns()
    old, new = replace(ROW, at_ns=now_ns - 3 * DAY_NS), replace(ROW, at_ns=now_ns)
    with opened(tmp_path, keep_ns=2 * DAY_NS) as log:
        write(log, old, new)
        until(lambda: read(tmp_path) == [new], "the old row stays")


def test_strangers_cannot_push_out_what_others_read(tmp_path: Path) -> None:
    with opened(tmp_path, refusal=10) as log:
        write(log, ROW)
        write(log, *(replace(ROW, at_ns=20 + n, who="", in_vain=True) for n in range(200)))
        until(lambda: len(read(tmp_path)) == 11, "the bound of refusals does not hold")
    assert read(tmp_path)[0] == ROW and read(tmp_path)[-1].at_ns == 219  # the newest stay


def test_a_row_that_cannot_be_written_is_said_and_the_log_recovers_by_itself(tmp_path: Path) -> None:
    with opened(tmp_path) as log:
        db = sqlite3.connect(tmp_path / FILE)
        db.execute("ALTER TABLE access RENAME TO hidden")
        db.commit()
        (error,) = write(log, ROW)
        assert isinstance(error, AccessError) and FILE in str(error) and log.trouble == str(error)
        until(lambda: not log.trouble, "it never looked again")  # opening it made the table anew
        assert write(log, replace(ROW, at_ns=11)) == [None]
        db.close()
    assert [row.at_ns for row in read(tmp_path)] == [11]


def test_an_error_nobody_foresaw_is_said_and_the_next_row_is_written(tmp_path: Path) -> None:
    with opened(tmp_path) as log:
        (error,) = write(log, replace(ROW, path="/\ud800"))  # UnicodeEncodeError, which is no sqlite3.Error
        assert isinstance(error, AccessError) and "UnicodeEncodeError" in str(error)
        assert write(log, ROW) == [None] and not log.trouble
    assert read(tmp_path) == [ROW]


def test_a_log_that_dies_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def gone(_: LedgerError | None) -> None:
        raise RuntimeError("whoever waits is gone")

    dead = threading.Event()
    log = AccessLog(tmp_path, 2**62, on_death=dead.set)
    log.start()
    log.write(ROW, gone)
    assert dead.wait(60) and "nothing more can be answered" in caplog.text
    log.stop()


def test_a_page_damaged_behind_the_first_ones_is_said_with_its_cure(tmp_path: Path) -> None:
    with opened(tmp_path, access=10_000) as log:
        write(log, *(replace(ROW, at_ns=n, path="/p" * 50) for n in range(3_000)))
    page, held = 4096, bytearray((tmp_path / FILE).read_bytes())
    for start in range(2 * page, len(held), page):
        held[start : start + 64] = b"\xff" * 64
    (tmp_path / FILE).write_bytes(held)
    with pytest.raises(AccessError, match="move it away and keep it"):
        AccessLog(tmp_path, DAY_NS)


def test_a_damaged_file_is_said_with_its_cure(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"no database at all, but something else" * 100)
    with pytest.raises(AccessError, match="move it away and keep it"):
        AccessLog(tmp_path, DAY_NS)


def test_a_file_of_another_format_is_left_alone(tmp_path: Path) -> None:
    with opened(tmp_path) as log:
        write(log, ROW)
    db = sqlite3.connect(tmp_path / FILE)
    db.execute("UPDATE meta SET value = '9' WHERE key = 'format'")
    db.commit()
    db.close()
    with pytest.raises(AccessError, match="has format 9"):
        AccessLog(tmp_path, DAY_NS)
