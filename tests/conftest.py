"""What all tests share: the option for long runs, and skips that say why and are counted at the end."""

import atexit
import logging
import os
import sys
from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import settings


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="also run what takes minutes")


def pytest_configure(config: pytest.Config) -> None:
    """The default run tries the same examples everywhere, so that a red one is the change's; --long explores."""
    settings.register_profile("steady", derandomize=True, deadline=None)
    settings.register_profile("exploring", deadline=None, max_examples=1_000)
    settings.load_profile("exploring" if config.getoption("--long") else "steady")


@pytest.fixture(autouse=True)
def _heard() -> Iterator[None]:  # pyright: ignore[reportUnusedFunction]
    """Whoever silences the log for a while, as simulations do, does not do so for the next test."""
    yield
    logging.disable(logging.NOTSET)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if "long" in item.keywords and not config.getoption("--long"):
            item.add_marker(pytest.mark.skip(reason="takes minutes: run with --long"))
        if "root" in item.keywords and os.geteuid() != 0:
            item.add_marker(pytest.mark.skip(reason="needs root: creates real cgroups"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reasons = Counter(str(report.longrepr[2]) for report in terminalreporter.stats.get("skipped", []))
    for reason, count in reasons.most_common():
        terminalreporter.write_line(f"skipped {count}: {reason}")


def pytest_unconfigure() -> None:
    """DuckDB 2.0 prints pages about types it takes for leaked while Python ends; by then we have said all."""
    if "duckdb" in sys.modules:
        atexit.register(lambda: os.dup2(os.open(os.devnull, os.O_WRONLY), 2))
