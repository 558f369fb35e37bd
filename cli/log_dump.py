"""What ``gputally log dump`` shows of a frame."""

import json
from dataclasses import asdict
from typing import Any

from ..proto.convert import decode_batch
from ..storage.frame import DamagedFrame, Frame


def line_of(frame: Frame) -> str:
    """One line for the eye."""
    span = f"{frame.seq}" if frame.first_seq == frame.seq else f"{frame.first_seq}-{frame.seq}"
    return (
        f"{span:>12}  {frame.record_count:>4} records  {frame.codec.name.lower():<5}  "
        f"{len(frame.stored):>6} of {frame.payload_length:>6} bytes  {frame.hash.hex()}"
    )


def json_of(frame: Frame) -> str:
    """One JSON object with all that the frame says."""
    told: dict[str, Any] = {
        "epoch": frame.epoch.hex(),
        "seq": frame.seq,
        "first_seq": frame.first_seq,
        "records": frame.record_count,
        "codec": frame.codec.name.lower(),
        "stored_bytes": len(frame.stored),
        "payload_bytes": frame.payload_length,
        "hash": frame.hash.hex(),
        "previous_hash": frame.previous_hash.hex(),
    }
    return json.dumps(told | _content(frame), default=_plain)


def _content(frame: Frame) -> dict[str, Any]:
    if frame.skip is not None:
        return {"skip": asdict(frame.skip)}
    try:
        return {"batch": asdict(decode_batch(frame.payload()))}
    except (ValueError, DamagedFrame) as error:
        return {"batch": None, "error": str(error)}


def _plain(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)
