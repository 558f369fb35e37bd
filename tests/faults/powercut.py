"""Power cuts: a file system on a loop device is shut down under a running log and ledger, as if its disk had gone.

FS_IOC_SHUTDOWN with NOLOGFLUSH ends all writing at once: what was not flushed by
then is never written, neither data nor the file system's journal. Then it is
mounted anew, the journal is replayed, and what was promised must be there. The
control is the same with flushing off, and must lose: a test that cannot see a
lost frame proves nothing.
"""

import fcntl
import os
import random
import shutil
import struct
import subprocess
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from . import forks
from .outcome import Outcome
from .stores import CELLS, Stores

_SHUTDOWN: Final = 0x8004587D
"""FS_IOC_SHUTDOWN, _IOR('X', 125, __u32) in linux/fs.h; ext4 and xfs have it."""
_NO_LOG_FLUSH: Final = struct.pack("=I", 2)
"""EXT4_GOING_FLAGS_NOLOGFLUSH, fs/ext4/ext4.h."""
_DISK_BYTES: Final = 48 << 20
_ANEW_EVERY: Final = 10
"""So many cuts later the stores are made anew, so that their making is cut as well."""
_LONGEST_LIFE_S: Final = 0.12
_PATIENCE_S: Final = 5.0


def run(count: int, seed: int, *, flush: bool = True) -> Outcome:
    """``count`` cuts. Needs root, loop devices and mkfs.ext4; says what is missing."""
    outcome = Outcome("power cut" if flush else "power cut, flushing off")
    outcome.skipped = why_not()
    if not outcome.skipped:
        outcome = forks.asked(lambda: _cuts(outcome, count, seed, flush), quiet=True)
    return outcome


def why_not() -> str:
    """What is missing here for power cuts; empty: nothing."""
    if os.geteuid() != 0:
        return "needs root: mounts a file system"
    if shutil.which("mkfs.ext4") is None:
        return "needs mkfs.ext4"
    if not Path("/dev/loop-control").exists():
        return "needs loop devices: /dev/loop-control is missing"
    return ""


def _cuts(outcome: Outcome, count: int, seed: int, flush: bool) -> Outcome:
    forks.apart()
    with TemporaryDirectory(prefix="gputally-powercut-") as folder:
        disk = Disk(Path(folder))
        chance = random.Random(seed)
        promised = 0
        for number in range(count):
            generation = number // _ANEW_EVERY
            stores = Stores(disk.at / str(generation), seed + generation, flush)
            promised += _one(outcome, disk, stores, chance, whole_start=number % 2 == 0)
            if number % _ANEW_EVERY == _ANEW_EVERY - 1:
                disk.clear()
    outcome.note = f"ext4, {promised} calls had returned"
    return outcome


def _one(outcome: Outcome, disk: "Disk", stores: Stores, chance: random.Random, *, whole_start: bool) -> int:
    """``whole_start``: the cut may fall before anything was promised; else it waits for that, on a busy machine too."""
    before = sum(stores.promises[cell] for cell in CELLS)
    with disk.mounted():
        pid = forks.spawn(stores.live, quiet=True)
        deadline_s = time.monotonic() + (0 if whole_start else _PATIENCE_S)
        while sum(stores.promises[cell] for cell in CELLS) == before and time.monotonic() < deadline_s:
            time.sleep(0.002)
        time.sleep(chance.uniform(0, _LONGEST_LIFE_S))
        # Read before the cut begins: a flush that runs while the file system is shut down may say that it is
        # done and not be, of one file written by itself as well (4 of 100 on a busy machine, Linux 6).
        promised = [stores.promises[cell] for cell in CELLS]
        disk.cut()
        forks.kill(pid)
        for cell, number in zip(CELLS, promised, strict=True):
            stores.promises[cell] = number
    with disk.mounted():
        _judge(outcome, stores)
    return sum(stores.promises[cell] for cell in CELLS)


def _judge(outcome: Outcome, stores: Stores) -> None:
    try:
        lost, wrong = forks.asked(stores.check, quiet=True)
    except forks.Died as died:
        outcome.count(undeclared=1, why=f"the stores could not be opened after the cut: {died}")
        return
    outcome.count(
        lost=lost, doubled=wrong, why=f"{lost} promises were not kept, {wrong} frames are not what was written"
    )


@dataclass(slots=True)
class Disk:
    """A file system of its own, on a loop device over a file in ``folder``."""

    folder: Path

    def __post_init__(self) -> None:
        self._image.touch()
        os.truncate(self._image, _DISK_BYTES)
        subprocess.run(["mkfs.ext4", "-q", "-F", "-m", "0", self._image], check=True, stdout=subprocess.DEVNULL)
        self.at.mkdir()

    @property
    def at(self) -> Path:
        return self.folder / "disk"

    @property
    def _image(self) -> Path:
        return self.folder / "image"

    @contextmanager
    def mounted(self) -> Generator[None]:
        subprocess.run(["mount", "-o", "loop", self._image, self.at], check=True)
        try:
            yield
        finally:
            subprocess.run(["umount", self.at], check=True)

    def clear(self) -> None:
        with self.mounted():
            for each in self.at.iterdir():
                shutil.rmtree(each, ignore_errors=True)

    def cut(self) -> None:
        """From here on nothing is written any more."""
        at = os.open(self.at, os.O_RDONLY)
        try:
            fcntl.ioctl(at, _SHUTDOWN, _NO_LOG_FLUSH)
        finally:
            os.close(at)
