"""How many bytes all streams together may hold on their way to the ledger."""

import asyncio
from collections import deque


class Budget:
    """First come, first served, so that no stream waits for ever behind a greedy one."""

    def __init__(self, cap_bytes: int) -> None:
        self._free_bytes = cap_bytes
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    async def take(self, size_bytes: int) -> None:
        """Waits until there is room. ``size_bytes`` must not be more than the cap."""
        if not self._waiting and size_bytes <= self._free_bytes:
            self._free_bytes -= size_bytes
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((size_bytes, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.give(size_bytes)  # it was our turn already
            raise

    def give(self, size_bytes: int) -> None:
        self._free_bytes += size_bytes
        while self._waiting:
            size_bytes, turn = self._waiting[0]
            if turn.cancelled():
                self._waiting.popleft()
            elif size_bytes <= self._free_bytes:
                self._waiting.popleft()
                self._free_bytes -= size_bytes
                turn.set_result(None)
            else:
                return
