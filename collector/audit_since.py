"""Whether a ledger still holds what an earlier audit of it found: that one's own result is the evidence.

A chain that was cut at its end is whole, and so is a ledger without an epoch that nothing speaks of. But the hash of
a frame stands for all before it: whoever kept where each stream stood finds either, and needs no key for it.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ..storage.frame import DamagedFrame, read_frame
from ..storage.ledger_copy import FORGED, SKIP, CopiedStream, LedgerCopy, Row

_MOST_BYTES: Final = 1024 * 1024 * 1024
_HASH_BYTES: Final = 32


class BadResult(Exception):
    """The file is no result of `gputally verify --json`; the message says what is wrong."""


@dataclass(frozen=True, slots=True)
class Stood:
    """Where one stream stood."""

    host_id: str
    epoch: bytes
    last_seq: int
    head_hash: bytes


@dataclass(frozen=True, slots=True)
class Change:
    """What was there, and is not any more as it was."""

    host_id: str
    epoch: bytes
    last_seq: int
    """Of the stream, as it stood then."""
    what: str


def read_result(path: Path) -> list[Stood]:
    """The streams of an earlier `gputally verify --json`. Raises BadResult."""
    try:
        with path.open("rb") as file:
            raw = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise BadResult(f"{path} cannot be read: {error.strerror}") from None
    if len(raw) > _MOST_BYTES:
        raise BadResult(f"{path} has more than {_MOST_BYTES} bytes")
    try:
        return [_stood(stream) for stream in json.loads(raw)["streams"]]
    except KeyError as error:
        raise BadResult(f"{path} is no result of `gputally verify --json`: it has no {error}") from None
    except (ValueError, TypeError, RecursionError) as error:
        raise BadResult(f"{path} is no result of `gputally verify --json`: {error}") from None


def changes(folder: Path, host_id: str | None, earlier: Sequence[Stood]) -> Iterator[Change]:
    """What has changed of what stood there, stream by stream; what has come since is no change.

    Looks at where each stream stood, not at all before: that is the audit's. Raises LedgerUnusable or LedgerBroken.
    """
    with LedgerCopy(folder) as ledger:
        for stood in earlier:
            if host_id in (None, stood.host_id) and (what := _changed(ledger, stood)):
                yield Change(stood.host_id, stood.epoch, stood.last_seq, what)


def _changed(ledger: LedgerCopy, stood: Stood) -> str:
    found = ledger.find(stood.host_id, stood.epoch)
    if found is None:
        return f"the epoch was there through frame {stood.last_seq}, and is gone" if stood.last_seq else ""
    stream, committed_seq = found
    if committed_seq < stood.last_seq:
        return f"frames {committed_seq + 1} to {stood.last_seq} were there, and are gone"
    if stood.last_seq and _hash_there(ledger, stream, stood.last_seq) != stood.head_hash:
        return f"frame {stood.last_seq}, or one before it, is another than it was"
    return ""


def _hash_there(ledger: LedgerCopy, stream: CopiedStream, seq: int) -> bytes | None:
    row = ledger.row(stream, seq)
    return None if row is None or row.kind == FORGED else _chain_hash(row)


def _chain_hash(row: Row) -> bytes | None:
    if row.kind != SKIP:
        return row.hash
    try:
        return read_frame(row.body).chain_hash
    except DamagedFrame:
        return None


def _stood(told: Any) -> Stood:
    host_id, last_seq = told["host_id"], told["last_seq"]
    epoch, head_hash = bytes.fromhex(told["epoch"]), bytes.fromhex(told["head_hash"])
    if not isinstance(host_id, str) or not isinstance(last_seq, int) or not 0 <= last_seq < 2**63:
        raise ValueError("a stream has no host_id and last_seq as they must be")
    if len(head_hash) != _HASH_BYTES:
        raise ValueError(f"{head_hash.hex()} is no hash")
    return Stood(host_id, epoch, last_seq, head_hash)
