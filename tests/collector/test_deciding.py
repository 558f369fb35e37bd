"""Decisions one after another: each is checked against all before it, and its maker is told what became of it."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gputally.collector import deciding
from gputally.collector.asking import Questions
from gputally.collector.deciding import Decisions
from gputally.collector.decision_checks import check_decision
from gputally.collector.problems import Problem, TryLater
from gputally.collector.writer import LedgerWriter
from gputally.model.decisions import Adjusted, Corrected, OverlayKind, PeriodSealed
from gputally.storage.ledger_reader import LedgerReader

from .folded import Folded
from .running import HOUR_NS, JUNE_NS
from .test_sealed import JULY_NS, booked, decide, june, overlay_of, seal, total

BOOKED = Adjusted("a1", JULY_NS, "A", "NVIDIA L40", 5)


@pytest.fixture
def folded(tmp_path: Path) -> Iterator[Folded]:
    with Folded(tmp_path) as folded:
        folded.take("gpu-01", june().batches())
        yield folded


def void(folded: Folded) -> Corrected:
    return Corrected((overlay_of(folded.records()[0].record, OverlayKind.VOID, ""),))


def run(folded: Folded, folder: Path, story: Callable[[Decisions, Questions], Awaitable[None]]) -> None:
    """With a writer, and nobody who folds unless the story does."""

    def log_end() -> int:
        with LedgerReader(folder) as reader:
            return reader.last_log_id()

    async def all_of_it() -> None:
        writer = LedgerWriter(folded.ledger, asyncio.get_running_loop().call_soon_threadsafe, lambda: None)
        writer.start(lambda: None)
        questions = Questions(folded.projection)
        try:
            await story(Decisions(writer, questions, log_end), questions)
        finally:
            await asyncio.to_thread(writer.stop)
            questions.close()

    asyncio.run(all_of_it())


def test_a_decision_waits_for_the_one_before_it_and_says_that_nothing_was_decided(
    folded: Folded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deciding, "_FOLDED_WITHIN_S", 0.2)
    sealed = PeriodSealed(JUNE_NS, JULY_NS, folded.projection.position, b"r" * 32, 1)
    correction = void(folded)

    async def story(decisions: Decisions, _: Questions) -> None:
        for what, told in ((sealed, "decided and durable"), (correction, "nothing was decided")):
            with pytest.raises(Problem, match=told):
                await decisions.make(what, "kim", "why", check_decision)
        folded.fold()
        with pytest.raises(Problem, match="is sealed and does not change"):
            await decisions.make(correction, "kim", "why", check_decision)

    run(folded, tmp_path, story)
    assert total(folded) == 24 * HOUR_NS


def test_a_decision_behind_a_seal_of_its_time_holds_nothing_whoever_let_it_through(folded: Folded) -> None:
    decide(folded, replace(BOOKED, at_ns=JUNE_NS, id="june"))
    seal(folded)
    decide(folded, void(folded))
    decide(folded, replace(BOOKED, id="june"))
    assert total(folded) == 24 * HOUR_NS and booked(folded) == {}
    decide(folded, BOOKED)
    assert booked(folded) == {("A", "NVIDIA L40"): 5}


def test_what_is_decided_is_told_so_also_while_too_many_are_asking(folded: Folded, tmp_path: Path) -> None:
    async def story(decisions: Decisions, questions: Questions) -> None:
        ask, asked, made = questions.ask, list[Any](), list[Any]()

        async def busy_at_first(question: Any) -> Any:
            asked.append(question)
            if len(asked) == 2:
                await asyncio.to_thread(folded.fold)
                raise TryLater(503, "busy", "64 questions are waiting already", 1)
            return await ask(question)

        async def note(what: Any) -> None:
            made.append(what)

        questions.ask, decisions.on_made = busy_at_first, note  # type: ignore[method-assign]
        assert await decisions.make(BOOKED, "kim", "why", check_decision) == folded.projection.position
        assert made == [BOOKED]

    run(folded, tmp_path, story)
