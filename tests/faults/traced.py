"""Runs behind trace.c: the stores, opened, written, closed and opened again; each promise is noted in the trace."""

import ctypes
import os
import sys
from pathlib import Path

from .stores import CELLS, Stores


def main(folder: str, seed: str, rounds: str) -> None:
    """The second life is not closed: a crash has no good end."""
    stores = Stores(Path(folder), int(seed), cap_bytes=1 << 20)
    mark = ctypes.CDLL(None).trace_mark
    mark.argtypes = [ctypes.c_uint64] * len(CELLS)
    stores.after = lambda: mark(*(stores.promises[cell] for cell in CELLS))
    stores.live(int(rounds))
    stores.live(int(rounds), close=False)
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
