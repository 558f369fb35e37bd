"""A log at its cap on a file system that is full to the last byte: filled, drained and filled again.

What the keeper says it has kept must come out of the log, once; what it had to refuse
must come out as a gap of the same length, once there is room. The control is a keeper that
forgets what it refused.
"""

import base64
import ctypes
import errno
import logging
import os
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import trio

from gputally.daemon.keeper import Keeper, WriterThread
from gputally.model.refused import Refused
from gputally.model.usage import Batch
from gputally.proto.convert import decode_batch
from gputally.storage.frame import read_frame
from gputally.storage.wal import Log

from . import forks
from .metered import meter_at, next_number, numbers_in, padded, second
from .outcome import Outcome

_CAP_BYTES: Final = 1 << 20
_DISK_BYTES: Final = _CAP_BYTES + (256 << 10)
_MOST_PADDING_BYTES: Final = 24_000
_RESTART_EVERY: Final = 10
_HOST: Final = "gpu-01"


def run(count: int, seed: int, *, declare: bool = True) -> Outcome:
    """``count`` times to the cap and back. Needs root, for the file system."""
    outcome = Outcome("fill and drain" if declare else "fill and drain, refusals forgotten")
    if os.geteuid() != 0:
        outcome.skipped = "needs root: mounts a small tmpfs"
        return outcome
    told: Outcome = forks.asked(lambda: _on_a_small_disk(outcome, count, seed, declare))
    return told


def _on_a_small_disk(outcome: Outcome, count: int, seed: int, declare: bool) -> Outcome:
    logging.disable(logging.CRITICAL)
    forks.apart()
    with TemporaryDirectory(prefix="gputally-full-") as folder:
        _mount_tmpfs(Path(folder))
        try:
            trio.run(_Cycles(outcome, Path(folder), seed, declare).run, count)
        finally:
            ctypes.CDLL(None).umount2(folder.encode(), 2)  # MNT_DETACH, sys/mount.h
    return outcome


class _Cycles:
    """One log through all cycles, opened anew now and then while it is full."""

    def __init__(self, outcome: Outcome, folder: Path, seed: int, declare: bool) -> None:
        self._outcome, self._folder, self._declare = outcome, folder / "log", declare
        self._chance = random.Random(seed)
        self._number = self._judged = 0
        self._kept: set[int] = set()
        """Seconds that the keeper said it has."""
        self._found: Counter[int] = Counter()
        """Seconds that came out of the log, metered or as a gap."""
        self._gaps = 0
        self._open()
        _fill_up(folder / "ballast")

    async def run(self, count: int) -> None:
        for cycle in range(count):
            await self._fill()
            if cycle % _RESTART_EVERY == _RESTART_EVERY - 1:
                await self._restart()
            self._drain()
            await self._keep(0)  # with room again, what was refused is declared
            self._drain()
            self._judge()
        self._outcome.note = (
            f"{self._number} seconds metered, {self._gaps} of them declared as gaps; the disk itself full"
        )

    async def _fill(self) -> None:
        """Until some seconds have been refused."""
        refusals = self._chance.randint(1, 5)
        while refusals > 0:
            kept = await self._keep(self._chance.randrange(_MOST_PADDING_BYTES))
            refusals -= not kept
            if not self._declare:
                self._keeper.refused = Refused()

    async def _keep(self, padding_bytes: int) -> bool:
        junk = base64.b64encode(self._chance.randbytes(padding_bytes)).decode()
        number, self._number = self._number, self._number + 1
        batch = padded(second(_HOST, number), junk)
        kept = await self._keeper.keep(meter_at(_HOST, self._number), batch)
        self._kept.update(each for one in kept for each in numbers_in(one))
        return bool(kept)

    def _drain(self) -> None:
        """What an uplink would bring out, and all of it acknowledged."""
        for batch in self._unacknowledged():
            self._found.update(numbers_in(batch))
            self._gaps += sum(bool(row.unobserved_ns) for row in batch.rows)
        self._log.acknowledge(self._log.stat().last_seq, self._number)
        if self._chance.random() < 0.5:
            self._log.trim(self._number + 1)

    def _unacknowledged(self) -> Iterator[Batch]:
        stat = self._log.stat()
        for raw in self._log.read(stat.acked_seq + 1, 1 << 20, 1 << 30) if stat.unacked_frames else ():
            yield decode_batch(read_frame(raw).payload())

    def _judge(self) -> None:
        """All that was metered in this cycle has come out once."""
        metered = range(self._judged, self._number)
        self._judged = self._number
        lost = sum(each in self._kept and not self._found[each] for each in metered)
        doubled = sum(max(self._found[each] - 1, 0) for each in metered)
        undeclared = sum(each not in self._kept and not self._found[each] for each in metered)
        why = f"by second {self._number}: {lost} lost, {doubled} doubled, {undeclared} undeclared"
        self._outcome.count(lost=lost, doubled=doubled, undeclared=undeclared, why=why)

    async def _restart(self) -> None:
        """At the cap, on a full disk."""
        self._log.close()
        self._open()
        if next_number(await self._keeper.restore()) != self._number:
            self._outcome.blame(undeclared=1, why=f"the checkpoint is not of second {self._number}")

    def _open(self) -> None:
        self._log = Log.open(self._folder, _HOST, _CAP_BYTES)
        self._keeper = Keeper(self._log, WriterThread())


def _mount_tmpfs(at: Path) -> None:
    options = f"size={_DISK_BYTES}".encode()
    if ctypes.CDLL(None, use_errno=True).mount(b"tmpfs", str(at).encode(), b"tmpfs", 0, options):
        raise OSError(ctypes.get_errno(), "mount tmpfs")


def _fill_up(ballast: Path) -> None:
    """Somebody else takes what is left of the disk."""
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
