"""Whether a log is whole, found out before LMDB may touch it for us: a damaged page ends the process that reads it.

The check runs in a child process. First its pages are walked in Python, every one, those that are free as well; only
if these are as LMDB needs them does LMDB read, and every frame's hash and link is compared.
"""

import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

from ..model.exits import Exit
from .wal_errors import LogUnusable, NotALog
from .wal_files import DATA
from .wal_offline import find_problems

_WHOLE, _DAMAGED = 0, 3
"""Exit codes of the child. 1 and 2 are Python's own."""
_MOST_TOLD: Final = 1
"""One is enough to begin anew: `gputally log verify` looks for all."""
_PATIENCE_S: Final = 60.0
_SLOWEST_BYTES_PER_S: Final = 4_000_000
"""Of a disk that still counts as working."""
_OF_DAMAGE: Final = (signal.SIGABRT, signal.SIGBUS, signal.SIGSEGV)


def check(folder: Path) -> list[str]:
    """What is wrong with the log, in sentences; none if it is whole.

    Raises LogUnusable if that cannot be found out: then nothing is known of the log, and nothing must be done to it.
    """
    limit_s = _PATIENCE_S + (folder / DATA).stat().st_size / _SLOWEST_BYTES_PER_S
    try:
        done = subprocess.run(
            [sys.executable, "-m", __name__, str(folder)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=limit_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise _unknown(folder, f"that took longer than {limit_s:.0f} s") from None
    except OSError as error:
        raise _unknown(folder, str(error.strerror)) from None
    if done.returncode in (-number for number in _OF_DAMAGE):
        return [f"reading it ended the process ({signal.Signals(-done.returncode).name})"]
    if done.returncode not in (_WHOLE, _DAMAGED):
        last = (done.stderr.strip().splitlines() or [""])[-1]
        raise _unknown(folder, f"the check ended with {done.returncode} {last}".strip())
    return done.stdout.splitlines() if done.returncode == _DAMAGED else []


def problems_of(folder: Path) -> list[str]:
    """The check itself; may end the process if LMDB meets what the walk over the pages has overlooked."""
    try:
        return find_problems(folder, most=_MOST_TOLD)
    except NotALog as error:
        return [str(error)]


def main(folder: Path) -> int:
    problems = problems_of(folder)
    print("\n".join(" ".join(problem.split()) for problem in problems))
    return _DAMAGED if problems else _WHOLE


def _unknown(folder: Path, why: str) -> LogUnusable:
    return LogUnusable(f"log.path {folder}: whether the log is whole could not be found out: {why}", Exit.IO)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
