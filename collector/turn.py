"""Exports, seals and proofs walk over very many records: they wait for each other, so that short questions need not."""

import asyncio
from typing import Final

from .problems import Problem

MOST_WAITING: Final = 16


class Turn:
    """One at a time: the threads that answer questions are few, and such an answer takes one for long."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._waiting = 0

    async def __aenter__(self) -> None:
        """Raises Problem (503) if too many are waiting."""
        if self._waiting >= MOST_WAITING:
            raise Problem(503, "busy", f"{MOST_WAITING} proofs and exports are waiting already: ask again in a while")
        self._waiting += 1
        try:
            await self._lock.acquire()
        finally:
            self._waiting -= 1

    async def __aexit__(self, *_: object) -> None:
        self._lock.release()
