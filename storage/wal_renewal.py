"""Beginning a log anew from its own file: read without LMDB, made anew aside, put in its place in one step."""

import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

import lmdb

from ..model.exits import Exit
from .frame import EPOCH_BYTES, make_frame
from .predecessor import encode_predecessor
from .wal_carry import Carried, carry, choose
from .wal_epoch import Damage, Entry, Mend, Recovery, no_mending
from .wal_errors import LogUnusable, check_host
from .wal_files import CREATING, DATA, free_bytes
from .wal_platter import Platter
from .wal_quarantine import make_room, replace_log
from .wal_salvage import Salvage, salvage
from .wal_state import LogState, new_state
from .wal_tables import Tables, open_environment

_BESIDES_BYTES: Final = 256 * 1024
"""Of LMDB's own pages in a new log, and its table of readers."""


@dataclass(frozen=True, slots=True)
class Renewal:
    """Which log is begun anew, and why."""

    folder: Path
    host_id: str
    cap_bytes: int
    platter: Platter
    reason: str
    what: str
    mend: Mend = no_mending

    def run(self, salvaged: Salvage) -> Recovery:
        """Raises LogUnusable, OSError, lmdb.Error; then the old file is in its place as it was."""
        lost = tuple(salvaged.lost())
        said = self.mend(Damage(salvaged, salvaged.checkpoint))
        carried = choose(salvaged, self.cap_bytes)
        make_room(self.folder, carried.file_bytes + _told_bytes(salvaged, said), self.cap_bytes)
        room = self.folder / CREATING
        shutil.rmtree(room, ignore_errors=True)
        room.mkdir(mode=0o750)
        try:
            self._fill(room, salvaged, said, carried)
            quarantine = replace_log(self.folder, self.reason, self.cap_bytes)
        finally:
            shutil.rmtree(room, ignore_errors=True)
        return Recovery(
            reason=self.reason,
            what=self.what,
            epoch=_epoch_of(salvaged),
            acked_seq=salvaged.acked_seq,
            head_seq=salvaged.head_seq,
            knows_head=salvaged.knows_head,
            lost=lost,
            salvaged_frames=len(carried.frames),
            carried_from_seq=carried.from_seq,
            quarantine=quarantine,
        )

    def _fill(self, room: Path, salvaged: Salvage, said: Sequence[Entry], carried: Carried) -> None:
        """Nothing of it counts before it is in its place, and it is flushed before that: not at each commit."""
        env = open_environment(room, max(self.cap_bytes, salvaged.file.size_bytes), flush=False)
        try:
            tables = Tables(env, create=True)
            state = self._begin(env, tables, salvaged, (*self._predecessor(salvaged, carried), *said))
            carry(env, tables, salvaged, carried, state)
        finally:
            env.close()

    def _begin(self, env: "lmdb.Environment", tables: Tables, salvaged: Salvage, entries: Sequence[Entry]) -> LogState:
        state = new_state(self.host_id, self._new_epoch(_epoch_of(salvaged)))
        with env.begin(write=True) as txn:
            for entry in entries:
                head = state.head
                frame = make_frame(state.epoch, head.seq + 1, head.hash, entry.record_count, entry.payload)
                state = state.with_head(tables.put_frame(txn, frame, head))
            if salvaged.checkpoint is not None:
                tables.put_checkpoint(txn, salvaged.checkpoint)
            tables.put_state(txn, state)
        return state

    def _predecessor(self, salvaged: Salvage, carried: Carried) -> Iterator[Entry]:
        """The records keep their keys and are counted once, wherever the collector stands; this says where it may."""
        epoch = _epoch_of(salvaged)
        if epoch:
            told = encode_predecessor(self.host_id, epoch, salvaged.head_seq, self.reason, carried.from_seq)
            yield Entry(0, told)

    def _new_epoch(self, old: bytes) -> bytes:
        """Random, but in a simulation."""
        return os.urandom(EPOCH_BYTES) if self.platter.epoch is None else sha256(old).digest()[:EPOCH_BYTES]


def renew(renewal: Renewal) -> Recovery:
    """Nobody may have the environment open. Raises LogUnusable, HostIdChanged, OSError; then nothing has changed."""
    salvaged = salvage(renewal.folder / DATA)
    try:
        if salvaged.state is not None:
            check_host(renewal.folder, salvaged.state.host_id, renewal.host_id)
        elif salvaged.other_version:
            raise LogUnusable(f"log.path {renewal.folder} was written by another version of gputally: use that one")
        return renewal.run(salvaged)
    except lmdb.Error as error:
        raise LogUnusable(
            f"log.path {renewal.folder}: a new epoch cannot be made: {error} ({free_bytes(renewal.folder)} bytes free)",
            Exit.IO,
        ) from None
    finally:
        salvaged.close()


def _told_bytes(salvaged: Salvage, said: Sequence[Entry]) -> int:
    """At most, of what is written besides frames of the old log."""
    return _BESIDES_BYTES + 2 * (len(salvaged.checkpoint or b"") + sum(len(entry.payload) for entry in said))


def _epoch_of(salvaged: Salvage) -> bytes:
    return salvaged.epoch or b""
