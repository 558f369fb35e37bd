"""A frame as it arrives: turned into an offer to the ledger, or into a tombstone with its reason."""

from hashlib import sha256

from ..proto.convert import check_batch_bytes
from ..storage.frame import DamagedFrame, Frame, read_frame
from ..storage.ledger_rules import LARGEST_SEQ, Offer, StreamId


class OtherEpoch(ValueError):
    """A frame of another log than the one the stream was opened for."""


def examine(raw: bytes, stream: StreamId, expected_seq: int) -> Offer:
    """The offer to make of these bytes. ``expected_seq``: the place they have if their header cannot be read.

    A frame that can never be taken becomes a tombstone in its place, so that it does not
    block those behind it. Raises OtherEpoch.
    """
    try:
        frame = _read(raw)
    except DamagedFrame as damage:
        return Offer(stream, expected_seq, None, sha256(raw).digest(), b"", _bounded(str(damage)))
    if frame.epoch != stream.epoch:
        raise OtherEpoch(f"frame {frame.seq} is of epoch {frame.epoch.hex()}, the stream of {stream.epoch.hex()}")
    why = "" if frame.skip else _why_not(frame, stream.host_id)
    return Offer(stream, frame.seq, frame.previous_hash, sha256(raw).digest(), raw, why, frame.skip)


def _read(raw: bytes) -> Frame:
    frame = read_frame(raw)
    # Any other frame beyond the cursor is not stored; a Skip moves the cursor as far as it says.
    if frame.skip and frame.seq > LARGEST_SEQ:
        raise DamagedFrame(f"a Skip to frame {frame.seq}, which no host has written")
    return frame


def _why_not(frame: Frame, host_id: str) -> str:
    try:
        told = check_batch_bytes(frame.payload())
    except ValueError as error:
        return _bounded(str(error))
    return "" if told == host_id else _bounded(f"its batch is of host {told!r}, the stream of {host_id!r}")


def _bounded(reason: str) -> str:
    return reason[:500]
