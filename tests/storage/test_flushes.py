"""What ``append`` and ``commit`` promise is flushed before they return, and in the right order.

A process that is killed proves nothing of this: what it wrote stays in the page cache. So a library put before
libc (flushes.c) notes each write and each flush of the stores' files, and the process says in the same notes when
a call has returned. The controls run the same with flushing switched off, and the same check must find it.

That the disk keeps what it said it has flushed, when the power goes, is not looked at here: a later issue cuts it.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gputally.simulator.driver import DriverBuildError, find_compiler

LOG = """
import os, sys
from pathlib import Path
import lmdb
switch = sys.argv[2]
opened = lmdb.open
if switch != "on":
    lmdb.open = lambda *where, **how: opened(*where, **{**how, "sync": switch == "half", "metasync": False})
from gputally.storage.wal import Entry, Log
said = os.open(sys.argv[1] + "/returned", os.O_WRONLY | os.O_CREAT)
log = Log.open(Path(sys.argv[1]) / "log", "gpu-01", 8 << 20)
os.write(said, b".")
for step in range(1, 6):
    log.append([Entry(1, os.urandom(size)) for size in (100, 30_000)], os.urandom(5_000))
    os.write(said, b".")
    log.acknowledge(step, step)
    os.write(said, b".")
log.append([], b"only a checkpoint")
os.write(said, b".")
log.trim(10)
os.write(said, b".")
"""
LOG_CALLS = 1 + 5 * 2 + 2
LEDGER = """
import os, sys
from pathlib import Path
from gputally.storage.frame import genesis_hash, make_frame
from gputally.storage.ledger import Ledger
from gputally.storage.ledger_rules import Offer, StreamId, Verdict
said = os.open(sys.argv[1] + "/returned", os.O_WRONLY | os.O_CREAT)
ledger, stream = Ledger(Path(sys.argv[1])), StreamId("gpu-01", b"e" * 16)
previous = genesis_hash("gpu-01", b"e" * 16)
for seq in range(1, 6):
    if seq == 3:
        ledger.reopen()
    if sys.argv[2] != "on":
        ledger._db.execute("PRAGMA synchronous = " + {"off": "OFF", "half": "NORMAL"}[sys.argv[2]])
    frame = make_frame(stream.epoch, seq, previous, 0, os.urandom(20_000))
    (ruling,) = ledger.commit([Offer(stream, seq, previous, frame.hash, frame.to_bytes())], seq)
    os.write(said, b".")
    assert ruling.verdict is Verdict.COMMITTED
    previous = frame.hash
"""
LEDGER_CALLS = 5
WORK = {"log": (LOG, LOG_CALLS), "ledger": (LEDGER, LEDGER_CALLS)}
STORES = ("data.mdb", "log.sqlite", "log.sqlite-wal")


@pytest.fixture(scope="module")
def notes_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    try:
        compiler = find_compiler()
    except DriverBuildError as error:
        pytest.skip(str(error))
    library = tmp_path_factory.mktemp("flushes") / "flushes.so"
    source = Path(__file__).with_name("flushes.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", source, "-o", library, "-ldl"], check=True)
    return library


def notes_of(store: str, folder: Path, library: Path, switch: str) -> list[tuple[str, str]]:
    """(what was done, name of the file), in order."""
    notes = folder / "notes"
    environment = {**os.environ, "LD_PRELOAD": str(library), "FLUSH_NOTES": str(notes)}
    subprocess.run([sys.executable, "-c", WORK[store][0], folder, switch], check=True, env=environment, timeout=60)
    lines = [line.split(" ", 1) for line in notes.read_text().splitlines()]
    return [(what, Path(file).name) for what, file in lines]


def unflushed(notes: list[tuple[str, str]]) -> tuple[int, int, list[str]]:
    """(calls that returned, writes to the stores, what was not on the disk when it had to be)."""
    waiting: dict[str, int] = {}
    calls, writes, wrong = 0, 0, list[str]()
    for what, name in notes:
        if name == "returned":
            calls += 1
            wrong += [f"call {calls} returned before {file} was flushed" for file in waiting]
        elif name in STORES and what in ("write", "through"):
            writes += 1
            if what == "write":
                waiting[name] = waiting.get(name, 0) + 1
            elif name in waiting:  # LMDB's meta page names the pages: they must be there before it
                wrong.append(f"a page of {name} was written through before {waiting[name]} that it may name")
        elif what == "flush":
            waiting.pop(name, None)
    return calls, writes, wrong


@pytest.mark.parametrize("store", WORK)
def test_what_was_written_is_flushed_before_the_call_returns(store: str, tmp_path: Path, notes_library: Path) -> None:
    calls, writes, wrong = unflushed(notes_of(store, tmp_path, notes_library, "on"))
    assert (calls, wrong) == (WORK[store][1], [])
    assert writes >= calls, "each call writes: if its writes are not seen, nothing was looked at"


@pytest.mark.parametrize("switch", ["off", "half"])
@pytest.mark.parametrize("store", WORK)
def test_with_flushing_switched_off_or_half_off_the_same_check_finds_it(
    store: str, switch: str, tmp_path: Path, notes_library: Path
) -> None:
    """Half: LMDB's pages but not its meta page; SQLite's log only when it is folded in (synchronous = NORMAL)."""
    calls, writes, wrong = unflushed(notes_of(store, tmp_path, notes_library, switch))
    assert calls == WORK[store][1] and writes >= calls
    for call in range(2, calls + 1):
        assert any(line.startswith(f"call {call} returned before") for line in wrong), (call, wrong)


def test_a_meta_page_that_overtakes_its_pages_is_found() -> None:
    told = [("write", "data.mdb"), ("through", "data.mdb"), ("flush", "data.mdb"), ("write", "returned")]
    assert len(unflushed(told)[2]) == 1
