"""Running questions beside the streams: a few threads, callers in turn, one snapshot for each question."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from ..storage.projection import Projection
from ..storage.projection_reader import Snapshot, snapshot
from .turns import Turns

T = TypeVar("T")
_THREADS: Final = 2
_MOST_WAITING: Final = 64
_MOST_OF_ONE: Final = 16
"""Waiting of one caller: however many it may ask at once, it leaves room for others."""


class Questions:
    """Questions never run in the event loop, where they would hold up acknowledgements."""

    def __init__(self, projection: Projection) -> None:
        self._projection = projection
        self._threads = ThreadPoolExecutor(_THREADS, "question")
        self._turns = Turns("questions", _THREADS, _MOST_WAITING, _MOST_OF_ONE)

    async def ask(self, question: Callable[[Snapshot], T]) -> T:
        """Raises TryLater (503) if too many are waiting, and whatever the question raises."""
        async with self._turns.turn():
            return await asyncio.get_running_loop().run_in_executor(self._threads, self._answer, question)

    def _answer(self, question: Callable[[Snapshot], T]) -> T:
        with snapshot(self._projection) as seen:
            return question(seen)

    def close(self) -> None:
        self._threads.shutdown(cancel_futures=True)
