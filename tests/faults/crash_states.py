"""Every state that a crash may leave a log and a ledger in, or as many as are asked for.

A process that writes both is traced (trace.c); from its writes and flushes follows
what a disk may hold at each moment (image.py); each such state is opened with the real
log and ledger, and what was promised before that moment must be there, whole. The
control believes no flush, and must lose.
"""

import random
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from . import forks, shim
from .image import Files, cuts
from .outcome import Outcome
from .stores import CELLS, Stores
from .trace import Event, read_trace

_ROUNDS: Final = 12
_STATES_OF_A_TRACE: Final = 4_000
_AT_ONCE: Final = 64
"""States looked at by one child, unless one of them ends it."""
_MEMORY: Final = Path("/dev/shm")


@dataclass(frozen=True, slots=True)
class _State:
    files: Files
    promised: tuple[int, int, int]


def run(count: int, seed: int, *, flush: bool = True) -> Outcome:
    """``count`` states, of as many traces as that takes."""
    outcome = Outcome("crash state" if flush else "crash state, flushes ignored")
    outcome.skipped = shim.why_no_compiler()
    if outcome.skipped:
        return outcome
    with TemporaryDirectory(prefix="gputally-states-", dir=_MEMORY if _MEMORY.is_dir() else None) as folder:
        library = shim.build("trace", Path(folder))
        traces = 0
        while outcome.tried < count:
            events = trace(Path(folder), library, seed + traces)
            most = min(_STATES_OF_A_TRACE, count - outcome.tried)
            _try(outcome, Path(folder), seed + traces, _drawn(events, seed + traces, most, flush))
            traces += 1
    outcome.note = f"of {traces} traces with about {len(events)} writes and flushes each"
    return outcome


def trace(folder: Path, library: Path, seed: int) -> list[Event]:
    """What a short life of the stores did to their files."""
    stores, notes = folder / "traced", folder / "trace"
    shutil.rmtree(stores, ignore_errors=True)
    notes.unlink(missing_ok=True)
    stores.mkdir()
    told = {"TRACE_TO": str(notes), "TRACE_FOLDER": str(stores)}
    shim.behind(library, "traced", str(stores), str(seed), str(_ROUNDS), environment=told)
    ours = ("data.mdb", "log.sqlite", "log.sqlite-wal")
    events = read_trace(notes, stores)
    return [event for event in events if event.kind in "mf" or Path(event.name).name in ours]


def _drawn(events: list[Event], seed: int, most: int, flush: bool) -> Iterator[_State]:
    """The moments in random order, each with some states, until there are enough or no more."""
    chance = random.Random(seed)
    moments = list(cuts(events, flush=flush))
    chance.shuffle(moments)
    each = max(2, -(-most * 2 // len(moments)))
    drawn = (_State(files, cut.promised) for cut in moments for files in cut.states(chance, each))
    for _, state in zip(range(most), drawn, strict=False):
        yield state


def _try(outcome: Outcome, folder: Path, seed: int, states: Iterator[_State]) -> None:
    while batch := [state for _, state in zip(range(_AT_ONCE), states, strict=False)]:
        _try_batch(outcome, folder, seed, batch)


def _try_batch(outcome: Outcome, folder: Path, seed: int, batch: Sequence[_State]) -> None:
    done, found = forks.Promises(), list[tuple[int, int] | str]()
    while len(found) < len(batch):
        rest = batch[len(found) :]
        done[0] = 0
        try:
            found += _look_at(folder, seed, rest, done)
        except forks.Died as died:
            # The answers to those before it went with the child.
            found += _look_at(folder, seed, rest[: done[0]], done)
            found.append(str(died))
    for each in found:
        _count(outcome, each)


def _look_at(folder: Path, seed: int, states: Sequence[_State], done: forks.Promises) -> list[tuple[int, int]]:
    told: list[tuple[int, int]] = forks.asked(lambda: [_look(folder, seed, each, done) for each in states], quiet=True)
    return told


def _count(outcome: Outcome, found: tuple[int, int] | str) -> None:
    if isinstance(found, str):
        outcome.count(undeclared=1, why=f"a state could not be opened: {found}")
    else:
        lost, wrong = found
        outcome.count(lost=lost, doubled=wrong, why=f"{lost} promises were not kept, {wrong} things are half")


def _look(folder: Path, seed: int, state: _State, done: forks.Promises) -> tuple[int, int]:
    here = folder / "state"
    shutil.rmtree(here, ignore_errors=True)
    for name, content in state.files.items():
        (here / name).parent.mkdir(parents=True, exist_ok=True)
        (here / name).write_bytes(content)
    stores = Stores(here, seed, cap_bytes=1 << 20)
    for cell in CELLS:
        stores.promises[cell] = state.promised[cell]
    found = stores.check()
    done[0] += 1
    return found
