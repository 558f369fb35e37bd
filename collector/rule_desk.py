"""What rules are in force at the collector: asked of the projection, and told to the streams when they change."""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from ..model.decisions import Decision, RulesSet
from ..model.rule_text import RuleText
from ..storage.projection_decisions import decided_in_force
from ..storage.projection_reader import Snapshot
from .asking import Questions
from .problems import Problem

_log = logging.getLogger(__name__)
LOOK_EVERY_S: Final = 5.0
"""Beside each time that one is decided: for the start, and for one that was folded after its caller had gone."""


class RuleDesk:
    """For the event loop."""

    def __init__(self, questions: Questions, from_log_id: int, tell: Callable[[RuleText], None]) -> None:
        """``tell`` is called once for each set that comes into force. Nothing is said before the projection has
        come to ``from_log_id``: until then an older set would seem to be in force again."""
        self._questions, self._from_log_id, self._tell = questions, from_log_id, tell
        self._told: RuleText | None = None
        self._turn = asyncio.Lock()
        """An answer that is older than another must not be told after it."""

    async def note(self, what: Decision) -> None:
        """Something was decided and is folded: returns when the streams know, if it is for them."""
        if isinstance(what, RulesSet):
            await self._look()

    async def watch(self) -> None:
        """For ever."""
        while True:
            await self._look()
            await asyncio.sleep(LOOK_EVERY_S)

    async def _look(self) -> None:
        async with self._turn:
            await self._ask()

    async def _ask(self) -> None:
        try:
            found = await self._questions.ask(self._in_force)
        except Problem:
            return  # too much is asked at the moment
        except Exception:
            _log.exception("which rules are in force could not be asked")
            return
        if found is not None and found != self._told:
            self._told = found
            self._tell(found)

    def _in_force(self, seen: Snapshot) -> RuleText | None:
        stored = decided_in_force(seen, RulesSet) if seen.position >= self._from_log_id else []
        return RuleText(stored[-1].what.version, stored[-1].what.body) if stored else None
