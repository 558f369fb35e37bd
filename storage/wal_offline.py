"""Looking into a log without owning it: how it stands, and whether it is what was written.

``look`` works while the daemon writes: where the lock table is there and ours
to write it registers as a reader, so that no page is used again under it.
"""

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import lmdb
from lmdb.verify import VerifyError
from lmdb.verify import verify as _check_pages  # pyright: ignore[reportUnknownVariableType] (lmdb types only its core)

from .checkpoint import DamagedCheckpoint
from .frame import DamagedFrame, Frame, Head, read_frame
from .wal_errors import LogInUse, LogUnusable, NotALog
from .wal_files import DATA, owner_of
from .wal_length import MIN_FILE_BYTES, check_length
from .wal_salvage import glance
from .wal_state import LogStat, LogState, Mark, stat_of
from .wal_tables import LOCKS, Tables, Txn, open_to_look, verified_head


def look(folder: Path) -> LogStat:
    """How the log in ``folder`` stands. Raises NotALog, with what is there instead."""
    if owner_of(folder) is None:
        return _look_without_lmdb(folder)
    with _looking(folder) as (tables, txn):
        return stat_of(tables.state(txn), tables.used_bytes(txn), (folder / DATA).stat().st_size)


def _look_without_lmdb(folder: Path) -> LogStat:
    """Nobody has checked it since it was closed, or was not."""
    file = _file(folder)
    try:
        state, used_bytes = glance(file)
    except OSError as error:
        raise NotALog(f"{file} cannot be read: {error.strerror}") from None
    if state is None:
        raise NotALog(f"{file} is no log that can be read: its state is damaged, or is not there")
    return stat_of(state, used_bytes, file.stat().st_size)


def verify(folder: Path) -> Iterator[str]:
    """What is wrong with a log that nobody writes, one sentence each; nothing if it is whole.

    Its pages are walked in Python first: LMDB ends the process over a damaged
    one. Raises NotALog if it is none, LogInUse.
    """
    owner = owner_of(folder)
    if owner is not None:
        raise LogInUse(f"{folder} is in use by process {owner}: a log can be verified when its daemon has stopped")
    yield from find_problems(folder)


def find_problems(folder: Path, most: int = 200) -> list[str]:
    """As ``verify``, whoever has the log; at most so many. Nobody may write it meanwhile."""
    _file(folder)
    problems = _page_problems(folder)
    if not problems:
        with _looking(folder) as (tables, txn):
            problems = list(islice(_check_chain(tables, txn), most))
    return problems[:most]


def held_frames(folder: Path) -> Iterator[tuple[str, Frame]]:
    """(host_id, frame) of each frame held, oldest first, in a log that ``verify`` found whole. Raises NotALog."""
    with _looking(folder) as (tables, txn):
        host_id = tables.state(txn).host_id
        for _, _, raw in tables.frames_from(txn, 0):
            yield host_id, read_frame(raw)


def _page_problems(folder: Path) -> list[str]:
    try:
        return [str(problem) for problem in _check_pages(str(folder), subdir=True)]  # type: ignore[no-untyped-call]
    except VerifyError as error:
        return [str(error)]
    except Exception as error:  # it walks whatever the file holds: what it trips over is damage, too
        return [f"its pages cannot be walked: {type(error).__name__}: {error}"]


def _check_chain(tables: Tables, txn: Txn) -> Iterator[str]:
    state = tables.state(txn)
    before = state.trimmed
    for seq, stored_hash, raw in tables.frames_from(txn, 0):
        after = _head(state, seq, stored_hash, raw)
        if isinstance(after, str):
            yield after
            before = Mark(seq, b"", 0)
            continue
        first_seq = after.first_seq
        if first_seq != before.seq + 1:
            yield f"frames {before.seq + 1} to {first_seq - 1} are not there"
        elif before.hash and after.previous_hash != before.hash:
            yield f"frame {seq} does not follow the one before it"
        before = Mark(seq, after.skip.last_hash if after.skip else stored_hash, 0)
    if before.seq != state.head.seq or before.hash not in (state.head.hash, b""):
        yield f"the log's state says that frame {state.head.seq} is the newest; the frames end at {before.seq}"
    for seq, _ in tables.acks(txn):
        if seq > state.acked.seq:
            yield f"frame {seq} is noted as acknowledged, and the log's state says that {state.acked.seq} is the newest"


def _head(state: LogState, seq: int, stored_hash: bytes, raw: bytes) -> Head | str:
    """The frame's; or what is wrong with it."""
    try:
        return verified_head(seq, stored_hash, raw, state.epoch)
    except DamagedFrame as error:
        return str(error)


@contextmanager
def _looking(folder: Path) -> Generator[tuple[Tables, Txn]]:
    file = _file(folder)
    try:
        with open_to_look(folder, lock=_may_lock(folder)) as env:
            check_length(folder, env)
            tables = Tables(env)
            with env.begin() as txn:
                yield tables, txn
    except (lmdb.Error, DamagedCheckpoint, LogUnusable) as error:
        raise NotALog(f"{file} is no log that can be read: {error}") from None


def _file(folder: Path) -> Path:
    file = folder / DATA
    try:
        size_bytes = file.stat().st_size
        file.open("rb").close()
    except FileNotFoundError:
        raise NotALog(f"{folder} holds no log: there is no {DATA} in it") from None
    except OSError as error:
        raise NotALog(f"{file} cannot be read: {error.strerror}") from None
    if size_bytes < MIN_FILE_BYTES:
        raise NotALog(f"{file} is no log: it has {size_bytes} bytes")
    return file


def _may_lock(folder: Path) -> bool:
    try:
        (folder / LOCKS).open("r+b").close()
    except OSError:
        return False
    return True
