"""What can still be read of a log's file, whatever happened to it: LMDB has no part in this.

Believed is what a commit's tables lead to and what has the hash that is stored with it. What they miss is looked
for in the whole file by the bytes of its epoch, and is believed if it has its hash and the frame behind it, or the
log's state, names that hash: a commit that was cut off leaves whole frames, too, and those never were in the log.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Final, NamedTuple

from .checkpoint import DamagedCheckpoint, decode
from .frame import EPOCH_BYTES, HEADER_BYTES, MAX_PAYLOAD_BYTES, DamagedFrame, read_head
from .wal_pages import DataFile, Item, Meta, Table
from .wal_state import LogState, OtherLayout, find_state

HEAD_BYTES: Final = 40
"""Hash and count of records before each frame: see wal_tables.py."""
_STATE_START: Final = b"gTc\x01"
_EPOCH_AT: Final = 4
_STORED_LENGTH_AT: Final = 64
_HASH_BYTES, _SEQ_BYTES = 32, 8
_PAGES_OF_ITS_OWN: Final = 3
_LARGEST_STATE: Final = 4096
_LARGEST_FRAME: Final = HEADER_BYTES + 2 * MAX_PAYLOAD_BYTES


class Found(NamedTuple):
    """A frame that is whole, and where it lies."""

    seq: int
    first_seq: int
    offset: int
    length: int
    previous_hash: bytes
    chain_hash: bytes
    records: int
    is_skip: bool


@dataclass(slots=True)
class Salvage:
    """Frames by their seq, and what is known of the rest. Close ``file`` when done."""

    file: DataFile
    state: LogState | None = None
    frames: dict[int, Found] = field(default_factory=dict[int, Found])
    checkpoint: bytes | None = None
    """As it was with the newest frame; None: there was none, or it is damaged or of before."""
    knows_head: bool = True
    """Whether the newest commit's own word is there. Else frames behind the newest that is left may be lost, too."""
    epochs: set[bytes] = field(default_factory=set[bytes])
    """Of the frames."""
    other_version: bool = False
    """Whether another version of gputally wrote it: that is no damage."""

    @property
    def head_seq(self) -> int:
        """The newest frame that the log is known to have had."""
        return max(self.state.head.seq if self.state else 0, max(self.frames, default=0))

    @property
    def acked_seq(self) -> int:
        """What the collector has for sure; without the log's state whatever lies before the oldest frame."""
        if self.state is not None:
            return self.state.acked.seq
        return min((found.first_seq for found in self.frames.values()), default=1) - 1

    @property
    def epoch(self) -> bytes | None:
        """Of the log; None if nothing of it can be read."""
        if self.state is not None:
            return self.state.epoch
        return next((self._epoch_of(found) for found in self.frames.values()), None)

    def drop_foreign(self) -> None:
        """Whole frames of another epoch; there are none but in a file that somebody has put together."""
        epoch = self.epoch
        if self.epochs <= {epoch}:
            return
        self.frames = {seq: found for seq, found in self.frames.items() if self._epoch_of(found) == epoch}

    def lost(self) -> list[tuple[int, int]]:
        """The ranges (first, last) that were not acknowledged and are not there."""
        ranges: list[tuple[int, int]] = []
        expected = self.acked_seq + 1
        for found in self.held():
            if found.first_seq > expected:
                ranges.append((expected, found.first_seq - 1))
            expected = max(expected, found.seq + 1)
        return [*ranges, (expected, self.head_seq)] if expected <= self.head_seq else ranges

    def held(self) -> Iterator[Found]:
        """All frames in order, those that are acknowledged too."""
        return (self.frames[seq] for seq in sorted(self.frames))

    def read(self, found: Found) -> bytes:
        return self.file.read(found.offset, found.length)

    def close(self) -> None:
        os.close(self.file.fd)

    def _epoch_of(self, found: Found) -> bytes:
        return self.file.read(found.offset + _EPOCH_AT, EPOCH_BYTES)


def glance(path: Path) -> tuple[LogState | None, int]:
    """The log's state and the bytes of its pages in use, as the newest commit has them; None where that is damaged.

    Raises OSError if the file cannot be opened at all.
    """
    with path.open("rb") as file:
        result = Salvage(DataFile(file.fileno(), os.fstat(file.fileno()).st_size))
        meta = next(iter(result.file.metas()), None)
        if meta is None:
            return None, 0
        tables = result.file.tables(meta)
        pages = sum(table.pages for table in tables.values()) + _PAGES_OF_ITS_OWN
        return _state_in(result, meta, tables), pages * meta.page_bytes


def salvage(path: Path) -> Salvage:
    """Everything of the data file at ``path`` that can be read. Raises OSError if it cannot be opened at all."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        result = Salvage(DataFile(fd, os.fstat(fd).st_size))
        _fill(result)
        return result
    except BaseException:
        os.close(fd)
        raise


class _View(NamedTuple):
    """What one commit's tables lead to. ``head_seq``: the newest frame as far as these tables tell."""

    state: LogState | None
    checkpoint: bytes | None
    head_seq: int


def _fill(result: Salvage) -> None:
    metas = result.file.metas()
    seen: set[int] = set()
    views = [_look(result, meta, seen) for meta in metas]
    result.knows_head = len(views) == 2 and views[0].state is not None and metas[0].txn == metas[1].txn + 1
    known = [view.state for view in views if view.state is not None]
    if known:
        # Of two commits the newer has the newer head, whatever its number says: that may be damaged, too.
        result.state = max(known, key=lambda state: state.head.seq)
    else:
        _seek_state(result)
    result.drop_foreign()
    if not result.knows_head or result.lost():
        _seek_frames(result, beyond_head=not result.knows_head)
    result.checkpoint = next((view.checkpoint for view in views if view.head_seq == result.head_seq), None)


def _look(result: Salvage, meta: Meta, seen: set[int]) -> _View:
    """``seen``: pages of frames that another commit has, too, which is nearly all of them."""
    roots = result.file.tables(meta)
    for item in _items(result, meta, roots, b"frames", seen):
        _take(result, item)
    state = _state_in(result, meta, roots)
    parts = [result.file.read(item.offset, item.length) for item in _items(result, meta, roots, b"checkpoint")]
    return _View(state, _whole(b"".join(parts)), state.head.seq if state else _newest(result, meta, roots))


def _newest(result: Salvage, meta: Meta, roots: dict[bytes, Table]) -> int:
    """The newest frame that these tables lead to, and that is whole."""
    return max((_take(result, item) for item in _items(result, meta, roots, b"frames")), default=0)


def _state_in(result: Salvage, meta: Meta, roots: dict[bytes, Table]) -> LogState | None:
    raw = [result.file.read(item.offset, _LARGEST_STATE) for item in _items(result, meta, roots, b"state")]
    return _state(result, raw[0]) if raw else None


def _items(
    result: Salvage, meta: Meta, roots: dict[bytes, Table], table: bytes, seen: set[int] | None = None
) -> Iterator[Item]:
    return result.file.items(meta, roots[table].root, seen) if table in roots else iter(())


def _take(result: Salvage, item: Item) -> int:
    """Its seq if it is a frame that is whole, else 0."""
    seq = int.from_bytes(item.key) if len(item.key) == _SEQ_BYTES else 0
    if seq and seq not in result.frames:
        value = result.file.read(item.offset, item.length) if item.value is None else item.value
        found = _found(value, item.offset, result.epochs)
        if found is not None and found.seq == seq:
            result.frames[seq] = found
    return seq if seq in result.frames else 0


def _found(value: bytes, offset: int, epochs: set[bytes]) -> Found | None:
    """The frame in the value that lies at ``offset``; None if it is not what its hash says. Notes its epoch."""
    if not HEAD_BYTES + HEADER_BYTES <= len(value) <= HEAD_BYTES + _LARGEST_FRAME:
        return None
    raw, its_hash = value[HEAD_BYTES:], value[:_HASH_BYTES]
    if sha256(raw).digest() != its_hash:
        return None
    try:
        head = read_head(raw)
    except DamagedFrame:
        return None
    epochs.add(head.epoch)
    return Found(
        head.seq,
        head.first_seq,
        offset + HEAD_BYTES,
        len(raw),
        head.previous_hash,
        head.skip.last_hash if head.skip else its_hash,
        head.record_count,
        head.skip is not None,
    )


def _seek_state(result: Salvage) -> None:
    """The newest copy of the log's state that lies anywhere in the file; it may be of a commit that was under way."""
    for offset in result.file.find(_STATE_START, result.file.size_bytes):
        state = _state(result, result.file.read(offset, _LARGEST_STATE))
        if state is not None and (result.state is None or _age(state) > _age(result.state)):
            result.state = state


def _age(state: LogState) -> tuple[int, int]:
    """Of two with one head the one with less acknowledged: to send a frame twice does no harm."""
    return state.head.seq, -state.acked.seq


def _state(result: Salvage, raw: bytes) -> LogState | None:
    try:
        return find_state(raw)
    except OtherLayout:
        result.other_version = True
        return None
    except DamagedCheckpoint:
        return None


def _whole(raw: bytes) -> bytes | None:
    """It is handed on only if it is what was put there."""
    try:
        decode(raw)
    except DamagedCheckpoint:
        return None
    return raw


def _seek_frames(result: Salvage, *, beyond_head: bool) -> None:
    """Those that no table leads to, wherever they lie."""
    epoch = result.epoch
    loose: dict[int, list[Found]] = {}
    known = {found.offset for found in result.frames.values()}
    # Most of a file was never used; but where the newest commit is lost, its pages may lie anywhere.
    ends = [(meta.last_page + 1) * meta.page_bytes for meta in result.file.metas()]
    end_bytes = result.file.size_bytes if beyond_head else max(ends)
    for offset in result.file.find(epoch, end_bytes) if epoch else ():
        found = None if offset - _EPOCH_AT in known else _loose(result, offset - _EPOCH_AT)
        if found is not None and found.seq not in result.frames:
            loose.setdefault(found.seq, []).append(found)
    if loose:
        _link_back(result, loose)
    if loose and beyond_head:
        _link_on(result, loose)


def _loose(result: Salvage, offset: int) -> Found | None:
    header = result.file.read(offset, HEADER_BYTES)
    if offset < HEAD_BYTES or len(header) < HEADER_BYTES:
        return None
    stored_bytes = int.from_bytes(header[_STORED_LENGTH_AT:HEADER_BYTES])
    length = HEAD_BYTES + HEADER_BYTES + stored_bytes
    if stored_bytes > _LARGEST_FRAME:
        return None
    return _found(result.file.read(offset - HEAD_BYTES, length), offset - HEAD_BYTES, result.epochs)


def _link_back(result: Salvage, loose: dict[int, list[Found]]) -> None:
    """From each frame that is believed to the one before it, which it names."""
    named = {found.first_seq - 1: found.previous_hash for found in result.frames.values()}
    if result.state is not None:
        named[result.state.head.seq] = result.state.head.hash
    by_end = {(found.seq, found.chain_hash): found for each in loose.values() for found in each}
    for end in sorted(named.items(), reverse=True):
        while end[0] not in result.frames and (found := by_end.get(end)):
            result.frames[found.seq] = found
            end = found.first_seq - 1, found.previous_hash


def _link_on(result: Salvage, loose: dict[int, list[Found]]) -> None:
    """Where the newest commit's own word is lost: what follows on what is known to be the newest."""
    newest = result.frames.get(result.head_seq)
    head = result.state.head.hash if result.state and result.head_seq == result.state.head.seq else None
    before = newest.chain_hash if newest else head
    by_first = {(found.first_seq, found.previous_hash): found for each in loose.values() for found in each}
    seq = result.head_seq
    while before is not None and (found := by_first.get((seq + 1, before))):
        result.frames[found.seq] = found
        seq, before = found.seq, found.chain_hash
