"""How long a daemon takes to serve again with a log that is damaged and full to the brim: printed, not judged.

python -m tests.faults.full_log [MIB] [BYTES OF A PAYLOAD] [PART ACKNOWLEDGED, percent]
"""

import os
import resource
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from gputally.storage.checkpoint import encode
from gputally.storage.wal import Entry, Log, LogFull
from gputally.storage.wal_platter import Platter
from gputally.storage.wal_salvage import salvage

_HOST: Final = "gpu-01"
_AT_ONCE: Final = 500
_DAMAGED_BYTES: Final = 64


def fill(folder: Path, cap_bytes: int, payload_bytes: int, acked_percent: int) -> int:
    """How many frames it holds; closed and not flushed."""
    log, count = Log.open(folder, _HOST, cap_bytes, Platter(flush=False)), 0
    with suppress(LogFull):
        while True:
            entries = [Entry(10, os.urandom(payload_bytes)) for _ in range(_AT_ONCE)]
            count = log.append(entries, encode({"open": ["windows"] * 400}))
    log.acknowledge(count * acked_percent // 100, 1)
    log.close()
    return count


def damage(folder: Path, seq: int) -> None:
    found = salvage(folder / "data.mdb")
    place = found.frames[seq].offset
    found.close()
    with (folder / "data.mdb").open("r+b") as file:
        file.seek(place + 100)
        file.write(bytes(_DAMAGED_BYTES))
        os.fsync(file.fileno())


def main(mib: int = 512, payload_bytes: int = 1_500, acked_percent: int = 0) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "log"
        count = fill(folder, mib << 20, payload_bytes, acked_percent)
        damage(folder, count // 2)
        began_s, began_cpu_s = time.monotonic(), time.process_time()
        log = Log.open(folder, _HOST, mib << 20)
        took_s, cpu_s = time.monotonic() - began_s, time.process_time() - began_cpu_s
        child = resource.getrusage(resource.RUSAGE_CHILDREN)
        child_s = child.ru_utime + child.ru_stime
        print(f"{mib} MiB, {count} frames, {acked_percent} % acknowledged: {log.recovery}")
        print(
            f"serving again after {took_s:.1f} s ({cpu_s:.1f} s of CPU here, {child_s:.1f} s in "
            f"the child that checked it; load of the machine {os.getloadavg()[0]:.1f})"
        )
        log.close()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
