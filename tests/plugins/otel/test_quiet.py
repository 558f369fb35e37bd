"""A receiver that is away for a day does not fill the journal."""

import logging

from gputally.plugins.otel.quiet import SAY_EVERY_S, Seldom


def record(created_s: float) -> logging.LogRecord:
    made = logging.LogRecord("opentelemetry.x", logging.ERROR, "", 0, "away", (), (ValueError, ValueError(), None))
    made.created = created_s
    return made


def test_the_first_word_passes_and_the_next_only_after_a_while() -> None:
    seldom = Seldom()
    passed = [seldom.filter(record(1_000_000 + each)) for each in (0, 1, SAY_EVERY_S - 1, SAY_EVERY_S)]
    assert passed == [True, False, False, True]


def test_no_traceback_passes() -> None:
    shown = record(1_000_000)
    assert Seldom().filter(shown)
    assert shown.exc_info is None
