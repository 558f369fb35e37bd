"""A log begun anew: what can be read of the old one and is not acknowledged goes on, under a new epoch.

The frames are framed again, their payloads unchanged, so that the records keep their keys and are counted once,
wherever the collector stands. All of it is made aside and takes the old file's place in one step.
"""

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Final

from .frame import EPOCH_BYTES, Frame, make_frame, read_frame
from .predecessor import encode_predecessor
from .wal_files import CREATING
from .wal_platter import Platter
from .wal_quarantine import replace_log
from .wal_salvage import Found, Salvage
from .wal_state import LogState, Mark, new_state
from .wal_tables import Tables, open_environment

_AT_ONCE: Final = 1_000
_MOST_TOLD: Final = 8


@dataclass(frozen=True, slots=True)
class Entry:
    """One serialized batch, already cut to the limits of a frame."""

    record_count: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class Recovery:
    """What became of a log that was begun anew."""

    reason: str
    """damage, fork"""
    what: str
    """What was wrong, in words."""
    epoch: bytes
    """Of the log that ended; empty if nothing of it could be read."""
    acked_seq: int
    head_seq: int
    knows_head: bool
    """Whether that is for sure the newest frame that there was."""
    lost: tuple[tuple[int, int], ...]
    """The frames, first and last, that were not acknowledged and cannot be read."""
    salvaged_frames: int
    quarantine: Path | None

    def __str__(self) -> str:
        lost = ", ".join(f"{first} to {last}" for first, last in self.lost[:_MOST_TOLD]) or "none"
        more = f" and {len(self.lost) - _MOST_TOLD} more ranges" if len(self.lost) > _MOST_TOLD else ""
        return (
            f"epoch {self.epoch.hex() or '(unknown)'} ended at frame {self.head_seq}, {self.acked_seq} acknowledged: "
            f"{self.salvaged_frames} frames go on in a new epoch; lost: {lost}{more}"
            f"{'' if self.knows_head else ', and perhaps frames behind the newest'}; "
            f"the old file: {self.quarantine or 'not kept'}"
        )


@dataclass(frozen=True, slots=True)
class Damage:
    """What is left, for the one who knows what is in the payloads."""

    salvaged: Salvage
    checkpoint: bytes | None

    @property
    def lost(self) -> list[tuple[int, int]]:
        """As in Recovery; ends with the frame behind the newest if it is not known that there was none."""
        behind = self.salvaged.head_seq + 1
        return [*self.salvaged.lost(), *([] if self.salvaged.knows_head else [(behind, behind)])]

    def payloads(self, wanted: Callable[[int], bool] = lambda _: True) -> Iterator[tuple[int, bytes]]:
        """(seq, serialized batch) of each frame held and wanted, in order: those too that are acknowledged."""
        for found in self.salvaged.held():
            if not found.is_skip and wanted(found.seq):
                yield found.seq, read_frame(self.salvaged.read(found)).payload()

    def skips(self) -> Iterator[Frame]:
        """The Skips, which do not go on in the new epoch, in order."""
        for found in self.salvaged.held():
            if found.is_skip:
                yield read_frame(self.salvaged.read(found))


Mend = Callable[[Damage], Sequence[Entry]]
"""What must be said instead of the frames that are lost: it is in the new epoch before anything else is."""


def no_mending(damage: Damage) -> Sequence[Entry]:
    """For a log whose payloads mean nothing to anybody."""
    del damage
    return ()


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
        said = self.mend(Damage(salvaged, salvaged.checkpoint)) if lost or not salvaged.knows_head else ()
        room = self.folder / CREATING
        shutil.rmtree(room, ignore_errors=True)
        room.mkdir(mode=0o750)
        try:
            count = self._fill(room, salvaged, said)
            quarantine = replace_log(self.folder, self.reason, self.cap_bytes)
        finally:
            shutil.rmtree(room, ignore_errors=True)
        return Recovery(
            self.reason,
            self.what,
            _epoch_of(salvaged),
            salvaged.acked_seq,
            salvaged.head_seq,
            salvaged.knows_head,
            lost,
            count,
            quarantine,
        )

    def _fill(self, room: Path, salvaged: Salvage, said: Sequence[Entry]) -> int:
        """How many frames of the old log are in the new one."""
        state = new_state(self.host_id, self._new_epoch(_epoch_of(salvaged)))
        env = open_environment(room, max(self.cap_bytes, salvaged.file.size_bytes), flush=self.platter.flush)
        try:
            tables = Tables(env, create=True)
            with env.begin(write=True) as txn:
                for entry in (*self._predecessor(salvaged), *said):
                    frame = make_frame(
                        state.epoch, state.head.seq + 1, state.head.hash, entry.record_count, entry.payload
                    )
                    state = state.with_head(tables.put_frame(txn, frame, state.head))
                if salvaged.checkpoint is not None:
                    tables.put_checkpoint(txn, salvaged.checkpoint)
                tables.put_state(txn, state)
            waiting = (found for found in salvaged.held() if found.seq > salvaged.acked_seq and not found.is_skip)
            before = state.head.seq
            while some := list(islice(waiting, _AT_ONCE)):
                with env.begin(write=True) as txn:
                    for found in some:
                        state = state.with_head(tables.put_frame(txn, _again(salvaged, found, state), state.head))
                    tables.put_state(txn, state)
            return state.head.seq - before
        finally:
            env.close()

    def _predecessor(self, salvaged: Salvage) -> Iterator[Entry]:
        epoch = _epoch_of(salvaged)
        if epoch:
            carried_from_seq = salvaged.acked_seq + 1
            yield Entry(0, encode_predecessor(self.host_id, epoch, salvaged.head_seq, self.reason, carried_from_seq))

    def _new_epoch(self, old: bytes) -> bytes:
        """Random, but in a simulation."""
        return os.urandom(EPOCH_BYTES) if self.platter.epoch is None else sha256(old).digest()[:EPOCH_BYTES]


def _epoch_of(salvaged: Salvage) -> bytes:
    return salvaged.epoch or b""


def _again(salvaged: Salvage, found: Found, state: LogState) -> Frame:
    """The same stored payload at the end of the new chain."""
    old = read_frame(salvaged.read(found))
    head: Mark = state.head
    return Frame(state.epoch, head.seq + 1, head.hash, old.record_count, old.codec, old.payload_length, old.stored)
