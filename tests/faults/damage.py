"""Damaged files: a bit, some bytes, a page zeroed or made junk, pages swapped, the end cut off, anywhere in a real log.

Opened by the real log, each must be served again: nothing that was damaged may come out, what was not acknowledged and
is not there must be exactly what the log says is lost. The control says that the log was closed well, so that nobody
checks it.
"""

import logging
import os
import random
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from gputally.proto.convert import encode_batch
from gputally.storage.checkpoint import DamagedCheckpoint, decode, encode
from gputally.storage.frame import read_frame
from gputally.storage.wal import Entry, Log
from gputally.storage.wal_clean import say_clean

from . import forks
from .metered import padded, second
from .outcome import Outcome

_HOST: Final = "gpu-01"
_CAP_BYTES: Final = 1 << 20
_FILE_BYTES: Final = _CAP_BYTES
"""The file has all its space from the start."""
_PAGE_BYTES: Final = 4096
_FRAMES: Final = 120
_ACKED: Final = 40
_SERVING_WITHIN_S: Final = 5.0
"""Measured and told, not judged: a busy machine may take longer."""


def run(count: int, seed: int, *, checked: bool = True) -> Outcome:
    """``count`` damages, each to a copy of the same log, which was not closed."""
    outcome = Outcome("damaged file" if checked else "damaged file, not checked")
    logging.disable(logging.CRITICAL)
    with TemporaryDirectory(prefix="gputally-damage-") as name:
        folder = Path(name)
        forks.asked(lambda: _write(folder / "whole"))
        whole = (folder / "whole" / "data.mdb").read_bytes()
        longest_s = 0.0
        for number in range(count):
            chance = random.Random(f"{seed} {number}")
            kind = chance.choice(list(DAMAGES))
            damaged = DAMAGES[kind](bytearray(whole), chance)
            longest_s = max(longest_s, _try(outcome, folder / "log", damaged, f"{seed} {number}: {kind}", checked))
    outcome.note = f"serving again after {longest_s:.2f} s at most (wanted: {_SERVING_WITHIN_S:g} s)"
    return outcome


def _used(raw: bytes | bytearray) -> int:
    """Bytes up to the last page that holds anything."""
    return -(-len(raw.rstrip(b"\0")) // _PAGE_BYTES) * _PAGE_BYTES


def _page(raw: bytearray, chance: random.Random) -> int:
    """The offset of a page in use; the two that everything hangs on are hit often."""
    return chance.choice((0, 1)) * _PAGE_BYTES if chance.random() < 0.1 else _any_page(raw, chance)


def _any_page(raw: bytearray, chance: random.Random) -> int:
    return chance.randrange(_used(raw) // _PAGE_BYTES) * _PAGE_BYTES


def _flip(raw: bytearray, chance: random.Random) -> bytearray:
    at = _page(raw, chance) + chance.randrange(_PAGE_BYTES)
    raw[at] ^= 1 << chance.randrange(8)
    return raw


def _scribble(raw: bytearray, chance: random.Random) -> bytearray:
    at = _page(raw, chance) + chance.randrange(_PAGE_BYTES - 64)
    raw[at : at + 64] = chance.randbytes(64)
    return raw


def _zero(raw: bytearray, chance: random.Random) -> bytearray:
    at = _page(raw, chance)
    raw[at : at + _PAGE_BYTES] = bytes(_PAGE_BYTES)
    return raw


def _junk(raw: bytearray, chance: random.Random) -> bytearray:
    at = _page(raw, chance)
    raw[at : at + _PAGE_BYTES] = chance.randbytes(_PAGE_BYTES)
    return raw


def _swap(raw: bytearray, chance: random.Random) -> bytearray:
    one, other = _any_page(raw, chance), _any_page(raw, chance)
    kept = bytes(raw[one : one + _PAGE_BYTES])
    raw[one : one + _PAGE_BYTES] = raw[other : other + _PAGE_BYTES]
    raw[other : other + _PAGE_BYTES] = kept
    return raw


def _cut(raw: bytearray, chance: random.Random) -> bytearray:
    return raw[: chance.randrange(_used(raw))]


DAMAGES: Final[dict[str, Callable[[bytearray, random.Random], bytearray]]] = {
    "bit": _flip,
    "bytes": _scribble,
    "zeroed page": _zero,
    "junk page": _junk,
    "swapped pages": _swap,
    "truncated": _cut,
}


def _payload(seq: int) -> bytes:
    """Of frame ``seq``: a real batch, now and then one that takes pages of its own."""
    chance = random.Random(seq)
    junk = chance.randbytes(chance.choice((10, 10, 300, 6_000))).hex()
    return encode_batch(padded(second(_HOST, seq - 1), junk))


def _write(folder: Path) -> None:
    """A log as a daemon leaves it that is killed: acknowledged in part, trimmed in part, overwritten here and there."""
    log = Log.open(folder, _HOST, _CAP_BYTES)
    for seq in range(1, _FRAMES + 1):
        log.append([Entry(1, _payload(seq))], encode({"seq": seq, "open": ["window"] * (seq % 400)}))
        if seq % 10 == 0 and seq <= _ACKED:
            log.acknowledge(seq, seq)
            log.trim(seq - 20)
    os.sync()


@dataclass(frozen=True, slots=True)
class _Found:
    """What a log says after it was opened."""

    seqs: list[int]
    """Of the first log's frames: those whose payload is there."""
    foreign: int
    """Frames that are neither such nor the word about where the epoch comes from; a checkpoint of another frame."""
    lost: list[int]
    """What the log says is lost."""
    head_seq: int
    """The newest frame that the log knows to have been; with no recovery, that must be all."""
    opened_s: float


def _try(outcome: Outcome, folder: Path, damaged: bytes | bytearray, what: str, checked: bool) -> float:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder / "data.mdb").write_bytes(damaged)
    if not checked:
        say_clean(folder)
    try:
        found: _Found = forks.asked(lambda: _look(folder), quiet=True)
    except forks.Died as died:
        outcome.count(undeclared=1, why=f"{what}: {died}")
        return 0.0
    missing = set(range(_ACKED + 1, _FRAMES + 1)) - set(found.seqs)
    # Where the log's own state is gone, it cannot know what is acknowledged, and may well call that lost. Where the
    # end of the file is, it cannot know how far it went: the time behind is declared by who finds the checkpoint gone.
    told = {seq for seq in found.lost if seq > _ACKED}
    known = found.head_seq if len(damaged) < _FILE_BYTES else _FRAMES
    untold = {seq for seq in missing - told if seq <= known}
    doubled = len(found.seqs) - len(set(found.seqs)) + found.foreign
    wrong = sorted(untold), sorted(told - missing)
    why = f"{what}: {wrong[0]} missing without a word, {wrong[1]} called lost and there, {doubled} doubled or foreign"
    outcome.count(undeclared=len(wrong[0]) + len(wrong[1]), doubled=doubled, why=why)
    return found.opened_s


def _look(folder: Path) -> _Found:
    began_s = time.monotonic()
    log = Log.open(folder, _HOST, _CAP_BYTES)
    opened_s = time.monotonic() - began_s
    recovery: Any = getattr(log, "recovery", None)
    stat = log.stat()
    frames = [read_frame(raw) for raw in log.read(stat.first_seq, 1 << 20, 1 << 30)] if stat.first_seq else []
    seq_of = {_payload(seq): seq for seq in range(1, _FRAMES + 1)}
    payloads = [frame.payload() for frame in frames if frame.record_count]
    head_seq = _FRAMES if recovery is None else recovery.head_seq
    stale = _checkpointed_seq(log.checkpoint()) not in (None, head_seq)
    log.append([Entry(0, b"on it goes")], None)
    log.close()
    return _Found(
        seqs=[seq_of[payload] for payload in payloads if payload in seq_of],
        foreign=sum(payload not in seq_of for payload in payloads) + stale,
        lost=[] if recovery is None else [n for one, last in recovery.lost for n in range(one, last + 1)],
        head_seq=head_seq,
        opened_s=opened_s,
    )


def _checkpointed_seq(checkpoint: bytes | None) -> int | None:
    """The frame that it was put together with. None where it says itself that it is damaged: the keeper tells then."""
    try:
        return None if checkpoint is None else int(decode(checkpoint)["seq"])
    except DamagedCheckpoint:
        return None
