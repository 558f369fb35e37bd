"""What actors say to each other through: bounded, and older than any life of its reader.

``offer`` returns False where there is no room: the overflow policy is the word at the call site.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Generic, TypeVar

import trio

T = TypeVar("T")


class Mailbox(Generic[T]):
    """Owned by the wiring. An actor that crashes leaves it, and what is in it, to its next life."""

    def __init__(self, capacity: int) -> None:
        self._put, self._get = trio.open_memory_channel[T](capacity)
        self.refused = 0
        """How many offers found it full."""

    def offer(self, message: T) -> bool:
        """False if there is no room: the message is then not delivered."""
        try:
            self._put.send_nowait(message)
        except trio.WouldBlock:
            self.refused += 1
            return False
        return True

    @asynccontextmanager
    async def reading(self) -> AsyncGenerator[trio.MemoryReceiveChannel[T]]:
        """A clone to read from, for one life of an actor."""
        async with self._get.clone() as messages:
            yield messages

    def close(self) -> None:
        """No more messages: the reader finishes what is there, then its loop ends."""
        self._put.close()
