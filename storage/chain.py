"""Following a chain of frames from its genesis, or from any place whose hash is known, and saying where it breaks."""

from dataclasses import dataclass
from hashlib import sha256

from .frame import DamagedFrame, Frame, read_frame
from .ledger_copy import FORGED, SKIP, TOMBSTONE, Row
from .ledger_rules import StreamId


class BrokenChain(ValueError):
    """What is there cannot be what the host wrote. The message says what is wrong with which frame."""


@dataclass(slots=True)
class Chain:
    """Where one stream has come to. ``hash`` is what the next frame must name."""

    stream: StreamId
    seq: int
    hash: bytes
    log_id: int = 0
    """Of the row before: rows of a stream were committed in its order."""
    frames: int = 0
    tombstones: int = 0
    skips: int = 0
    skipped_frames: int = 0
    """Frames that the Skips stand for, as far as they are not there all the same."""

    def follow(self, row: Row) -> Frame | None:
        """The frame in the row; None for a tombstone, which has none. Raises BrokenChain."""
        if row.kind == FORGED:
            raise BrokenChain(row.forged)
        frame = None if row.kind == TOMBSTONE else self._frame(row)
        first_seq = row.seq if frame is None else frame.first_seq
        if first_seq > self.seq + 1:
            raise BrokenChain(_missing(self.seq + 1, first_seq - 1))
        if row.log_id <= self.log_id:
            raise BrokenChain(f"frame {row.seq} was committed before frame {self.seq}: rows have changed places")
        # A Skip that begins earlier says less than the ledger knows: only where it ends counts.
        if frame is not None and first_seq == self.seq + 1 and frame.previous_hash != self.hash:
            raise BrokenChain(f"frame {row.seq} does not follow the frame {self.seq} that is there")
        self._count(row, frame)
        return frame

    def _count(self, row: Row, frame: Frame | None) -> None:
        if frame is None:
            self.tombstones += 1
        elif frame.skip is None:
            self.frames += 1
        else:
            self.skips += 1
            self.skipped_frames += row.seq - self.seq
        self.seq, self.log_id = row.seq, row.log_id
        self.hash = row.hash if frame is None else frame.chain_hash

    def _frame(self, row: Row) -> Frame:
        if sha256(row.body).digest() != row.hash:
            raise BrokenChain(f"frame {row.seq}: its bytes do not have the hash that is stored with them")
        try:
            frame = read_frame(row.body)
        except DamagedFrame as error:
            raise BrokenChain(str(error)) from None
        if (frame.seq, frame.epoch) != (row.seq, self.stream.epoch):
            raise BrokenChain(f"frame {row.seq}: calls itself {frame.seq} of epoch {frame.epoch.hex()}")
        if (frame.skip is not None) != (row.kind == SKIP):
            raise BrokenChain(f"frame {row.seq} is stored as what it is not (kind {row.kind})")
        return frame


def _missing(first_seq: int, last_seq: int) -> str:
    return f"frame {first_seq} is missing" if first_seq == last_seq else f"frames {first_seq} to {last_seq} are missing"
