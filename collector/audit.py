"""Whether a ledger holds, for each stream, what its host wrote: hashes, chain, signatures and their keys.

Reads a ledger beside its collector, or a copy of one anywhere. Memory does not grow with the ledger.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from ..model.key_ring import BadSignature, Check, KeyRing
from ..model.predecessor import Predecessor
from ..model.signing import SignedCheckpoint
from ..proto.convert import decode_signing
from ..storage.chain import BrokenChain, Chain
from ..storage.frame import Frame, genesis_hash, read_frame
from ..storage.ledger_copy import SKIP, CopiedStream, LedgerCopy, Row
from .audit_report import Absence, Broken, CutEpoch, StreamReport

_MOST_ABSENCES: Final = 100

_MOST_CUT: Final = 100

Pins = Mapping[str, frozenset[bytes]]
"""host_id -> public keys that are trusted because somebody brought them by another way."""


def count_missing_rows(folder: Path) -> int:
    """Rows of the ledger's log that were deleted, of whichever stream. Raises LedgerUnusable or LedgerBroken."""
    with LedgerCopy(folder) as ledger:
        return ledger.rows_gone()


def audit(folder: Path, host_id: str | None, pins: Pins, check: Check | None) -> Iterator[StreamReport]:
    """A report for each stream, host by host. Without ``check`` no signature is looked at.

    Raises LedgerUnusable or LedgerBroken.
    """
    with LedgerCopy(folder) as ledger:
        keys: KeyRing | None = None
        for stream in ledger.streams(host_id):
            host = stream.id.host_id
            if check is not None and (keys is None or keys.host_id != host):
                keys = KeyRing(host, check, pins.get(host, frozenset()))
            yield _StreamAudit(ledger, stream, keys).run()


class _StreamAudit:
    """One walk along one stream."""

    def __init__(self, ledger: LedgerCopy, stream: CopiedStream, keys: KeyRing | None) -> None:
        self._ledger, self._stream, self._keys = ledger, stream, keys
        self._chain = Chain(stream.id, 0, genesis_hash(stream.id.host_id, stream.id.epoch))
        self._at = (0, 0)
        self._checkpoints = self._unchecked = self._signed_through = 0
        self._absences: list[Absence] = []
        self._cut: dict[bytes, CutEpoch] = {}

    def run(self) -> StreamReport:
        try:
            self._walk()
            broken = None
        except ValueError as error:  # BrokenChain, BadSignature, DamagedFrame, or no batch
            broken = Broken(*self._at, str(error))
        chain, keys = self._chain, self._keys
        return StreamReport(
            *(chain.stream.host_id, chain.stream.epoch, chain.seq, chain.hash),
            *(chain.frames, chain.tombstones, chain.skips, chain.skipped_frames),
            *(self._checkpoints, self._unchecked, self._signed_through),
            *(keys.current if keys else b"", bool(keys and keys.is_pinned)),
            broken,
            tuple(self._absences),
            tuple(self._cut.values()),
        )

    def _walk(self) -> None:
        while True:
            cursor, rows = self._ledger.rows(self._stream, self._chain.seq)
            for row in rows:
                self._at = row.seq, row.log_id
                before = self._chain.seq, self._chain.hash
                frame = self._chain.follow(row)
                if frame is None or frame.skip is not None:
                    self._miss(row, frame, before[0])
                else:
                    self._hear(frame, before)
            if not rows:
                break
        self._at = self._chain.seq, self._chain.log_id
        if (cursor.committed_seq, cursor.head_hash) != (self._chain.seq, self._chain.hash):
            raise BrokenChain(
                f"the stream says that frame {cursor.committed_seq} is its newest; its frames end at {self._chain.seq}"
            )

    def _miss(self, row: Row, frame: Frame | None, before_seq: int) -> None:
        if self._keys is not None:
            self._keys.complete = False  # a key may have been introduced in what is no more
        if len(self._absences) >= _MOST_ABSENCES:
            return
        if frame is None or frame.skip is None:
            absence = Absence(row.seq, row.seq, "tombstone", row.body.decode(errors="replace"))
        else:
            absence = Absence(before_seq + 1, row.seq, "skip", frame.skip.reason)
        self._absences.append(absence)

    def _hear(self, frame: Frame, before: tuple[int, bytes]) -> None:
        batch = decode_signing(frame.payload())
        if batch.host_id != self._stream.id.host_id:
            raise BrokenChain(f"frame {frame.seq} is of host {batch.host_id!r}")
        if batch.predecessor is not None and len(self._cut) < _MOST_CUT:
            self._look_for(batch.predecessor)
        if self._keys is not None:
            self._keys.introduce(batch.keys)
            for checkpoint in batch.checkpoints:
                self._judge(self._keys, frame, checkpoint, before)

    def _look_for(self, ended: Predecessor) -> None:
        there = self._ledger.find(self._stream.id.host_id, ended.epoch)
        lost = ended.lost_behind(there[1] if there else 0)
        if lost is not None:
            self._cut[ended.epoch] = CutEpoch(ended.epoch, *lost, there is not None)

    def _judge(self, keys: KeyRing, frame: Frame, checkpoint: SignedCheckpoint, before: tuple[int, bytes]) -> None:
        epoch = self._stream.id.epoch
        if not keys.accept(epoch, checkpoint) or checkpoint.epoch != epoch:
            self._unchecked += 1
            return
        if checkpoint.seq >= frame.seq:
            raise BadSignature(f"frame {frame.seq} signs frame {checkpoint.seq}, which comes behind it")
        here = before[1] if before[0] == checkpoint.seq else self._hash_at(checkpoint.seq)
        if here is None:
            self._unchecked += 1
        elif here != checkpoint.hash:
            raise BadSignature(
                f"frame {frame.seq} signs another frame {checkpoint.seq} than is there: "
                f"between {self._signed_through} and {checkpoint.seq} something was changed"
            )
        elif keys.is_pinned or not keys.pinned:
            self._checkpoints += 1
            self._signed_through = max(self._signed_through, checkpoint.seq)

    def _hash_at(self, seq: int) -> bytes | None:
        """What the chain goes on from there; None inside a Skip. Only of places that the walk has found right."""
        row = self._ledger.row(self._stream, seq)
        if row is None:
            return None
        return read_frame(row.body).chain_hash if row.kind == SKIP else row.hash
