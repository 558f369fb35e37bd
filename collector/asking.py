"""Running questions beside the streams: a few threads, a bounded queue, one snapshot for each question."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from ..storage.projection import Projection
from ..storage.projection_reader import Snapshot, snapshot
from .problems import Problem

T = TypeVar("T")
_THREADS: Final = 2
_MOST_WAITING: Final = 64


class Questions:
    """Questions never run in the event loop, where they would hold up acknowledgements."""

    def __init__(self, projection: Projection) -> None:
        self._projection = projection
        self._threads = ThreadPoolExecutor(_THREADS, "question")
        self._waiting = 0

    async def ask(self, question: Callable[[Snapshot], T]) -> T:
        """Raises Problem (503) if too many are waiting, and whatever the question raises."""
        if self._waiting >= _MOST_WAITING:
            raise Problem(503, "busy", f"{_MOST_WAITING} questions are waiting already: ask again in a moment")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, self._answer, question)
        finally:
            self._waiting -= 1

    def _answer(self, question: Callable[[Snapshot], T]) -> T:
        with snapshot(self._projection) as seen:
            return question(seen)

    def close(self) -> None:
        self._threads.shutdown(cancel_futures=True)
