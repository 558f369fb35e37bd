"""Runs behind fail.c: for each call of each kind that the stores make, a life in which just that call fails."""

import ctypes
import errno
import json
import logging
import math
import random
import shutil
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, TypeVar

import trio

from gputally.daemon.keeper import Keeper, WriterThread
from gputally.model.checkpoint import save
from gputally.model.refused import Refused
from gputally.proto.convert import decode_batch, encode_batch
from gputally.simulator.stream import chain
from gputally.storage.checkpoint import encode
from gputally.storage.frame import EPOCH_BYTES, read_frame
from gputally.storage.ledger import Ledger
from gputally.storage.ledger_folder import LedgerError, prepare_folder
from gputally.storage.ledger_reader import LedgerReader
from gputally.storage.ledger_rules import Verdict
from gputally.storage.wal import Entry, Log, LogBroken, LogUnusable

from . import forks
from .metered import meter_at, next_number, numbers_in, second
from .stores import HOST, offer_of

T = TypeVar("T")
KINDS: Final = ("write", "flush", "reserve", "rename", "read", "half a write")
"""In the order of fail.c."""
ERRORS: Final = {"EIO": errno.EIO, "ENOSPC": errno.ENOSPC, "EDQUOT": errno.EDQUOT}
TIMES: Final = (1, 2, 7)
"""A passing error; one that also meets the second try; a disk that is away for a while."""
_SECONDS: Final = 8
_CAP_BYTES: Final = 1 << 20
_TRIES: Final = 12


@dataclass(frozen=True, slots=True)
class Failure:
    """The ``nth`` call of this kind, and the next ones up to ``times``, fail."""

    kind: int
    nth: int
    times: int
    error: str

    def __str__(self) -> str:
        return f"{self.error} by call {self.nth} of kind {KINDS[self.kind]!r}, {self.times} in a row"


@dataclass(frozen=True, slots=True)
class Told:
    """What came of one failure. ``hit``: so many calls have failed; 0: there are not so many calls of the kind."""

    hit: int
    lost: int
    doubled: int
    why: str


def keep_all(folder: Path) -> None:
    """A host's life: every second is handed to the keeper once, whatever the disk does; the end waits until it is kept.

    What the uplink would do, acknowledge and trim, is begun again after an error, as the daemon does.
    """
    log = _opened(lambda: Log.open(folder / "log", HOST, _CAP_BYTES), LogUnusable)
    trio.run(_keep_all, log)
    log.close()


async def _keep_all(log: Log) -> None:
    keeper = Keeper(log, WriterThread())
    for number in range(_SECONDS):
        await keeper.keep(meter_at(HOST, number + 1), second(HOST, number))
        if number % 3 == 2:
            _mended(log, lambda: log.acknowledge(log.stat().last_seq, 1))
            _mended(log, lambda: log.trim(-1))
    for _ in range(_TRIES):
        if not keeper.waiting:
            return
        await keeper.keep(meter_at(HOST, _SECONDS), None)
    raise AssertionError(f"{len(keeper.waiting)} batches still wait for a disk that works again")


def keep_once(folder: Path) -> None:
    """The control: what could not be written is said once and forgotten, as if an error meant that it is not there."""
    log = _opened(lambda: Log.open(folder / "log", HOST, _CAP_BYTES), LogUnusable)
    for number in range(_SECONDS):
        batch, meter = second(HOST, number), meter_at(HOST, number + 1)
        try:
            log.append([Entry(1, encode_batch(batch))], encode(save(meter, Refused())))
        except LogBroken:
            _mended(log, log.reopen)
    log.close()


def commit_all(folder: Path) -> None:
    """A collector's: each frame is offered until it is ruled on; after an error the ledger is reopened."""
    frames = list(chain(HOST, b"e" * EPOCH_BYTES, (second(HOST, number) for number in range(_SECONDS))))
    _opened(lambda: prepare_folder(folder / "ledger"), LedgerError)
    ledger = _opened(lambda: Ledger(folder / "ledger"), LedgerError)
    for frame in frames:
        for _ in range(_TRIES):
            try:
                (ruling,) = ledger.commit([offer_of(frame)], 1)
                assert ruling.verdict in (Verdict.COMMITTED, Verdict.REPLAY), ruling
                break
            except LedgerError:
                _quietly(ledger.reopen, LedgerError)
        else:
            raise AssertionError(f"frame {frame.seq} could not be committed by a disk that works again")
    ledger.close()


def count_kept(folder: Path) -> tuple[int, int]:
    """(seconds that are not in the log, seconds that are there twice)."""
    log = Log.open(folder / "log", HOST, _CAP_BYTES)
    raws = log.read(1, 1_000, 1 << 30)
    numbers = [number for raw in raws for number in numbers_in(decode_batch(read_frame(raw).payload()))]

    async def restored() -> int:
        return next_number(await Keeper(log, WriterThread()).restore())

    lost = len(set(range(_SECONDS)) - set(numbers)) + (trio.run(restored) != _SECONDS)
    log.close()
    return lost, len(numbers) - len(set(numbers))


def count_committed(folder: Path) -> tuple[int, int]:
    """The same of frames in the ledger."""
    with LedgerReader(folder / "ledger") as reader:
        seqs = [entry.seq for entry in reader.read(0, 1_000, 1 << 30)]
    return _SECONDS - len(set(seqs)), len(seqs) - len(set(seqs))


STORES: Final[dict[str, tuple[Callable[[Path], None], Callable[[Path], tuple[int, int]]]]] = {
    "log": (keep_all, count_kept),
    "ledger": (commit_all, count_committed),
    "log, said once": (keep_once, count_kept),
}


def failures(store: str, folder: Path) -> list[Failure]:
    """All there are: each call of each kind that a life makes, with each error."""
    nths = [(kind, nth + 1) for kind in range(len(KINDS)) for nth in range(_calls(store, folder, kind))]
    return [Failure(*place, times, error) for place in nths for times in TIMES for error in ERRORS]


def _calls(store: str, folder: Path, kind: int) -> int:
    """How many calls of this kind a life makes in which none fails."""
    told = forks.Promises()
    live, _ = STORES[store]
    forks.asked(lambda: _live(live, _emptied(folder), Failure(kind, 1 << 30, 1, "EIO"), told), quiet=True)
    return told[1]


def _emptied(folder: Path) -> Path:
    shutil.rmtree(folder / "stores", ignore_errors=True)
    (folder / "stores").mkdir()
    return folder / "stores"


def _try(store: str, folder: Path, failure: Failure) -> Told:
    live, count = STORES[store]
    stores, told = _emptied(folder), forks.Promises()
    try:
        forks.asked(lambda: _live(live, stores, failure, told), quiet=True)
        lost, doubled = forks.asked(lambda: count(stores), quiet=True)
    except forks.Died as died:
        return Told(max(told[0], 1), 0, 0, str(died))
    return Told(told[0], lost, doubled, "")


def _live(live: Callable[[Path], None], folder: Path, failure: Failure, told: forks.Promises) -> None:
    """Tells how many calls have failed, and how many there were."""
    library = ctypes.CDLL(None)
    logging.disable(logging.CRITICAL)
    library.fail_arm(failure.kind, failure.nth, failure.times, ERRORS[failure.error])
    live(folder)
    told[1] = library.fail_calls()
    told[0] = library.fail_disarm()


def _opened(open_: Callable[[], T], refusal: type[Exception]) -> T:
    """A start that fails is tried again, as systemd does; that it fails with a clear word is all that is asked."""
    for _ in range(_TRIES):
        try:
            return open_()
        except refusal:
            continue
    raise AssertionError("it cannot be opened on a disk that works again")


def _mended(log: Log, work: Callable[[], object]) -> None:
    for _ in range(_TRIES):
        try:
            work()
            return
        except LogBroken:
            _quietly(log.reopen, LogBroken)
    raise AssertionError("the log cannot be written on a disk that works again")


def _quietly(work: Callable[[], object], error: type[Exception]) -> None:
    try:
        work()
    except error:
        return


def main(folder: str, store: str, part: str, seed: str) -> None:
    """Prints a line of JSON for each failure of a ``part`` of all, by lot."""
    every = failures(store, Path(folder))
    some = random.Random(int(seed)).sample(every, min(math.ceil(len(every) * float(part)), len(every)))
    for failure in some:
        print(json.dumps({"failure": str(failure), **asdict(_try(store, Path(folder), failure))}))


if __name__ == "__main__":
    main(*sys.argv[1:])
