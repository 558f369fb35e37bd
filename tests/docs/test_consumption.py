"""What the page on consumption says is what the code does."""

from pathlib import Path

from gputally.model.consumption import Unknown
from gputally.plugins.consumption.networks import MOST_PROCESSES

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "consumption.md").read_text()


def test_every_reason_stands_on_the_page_and_no_other() -> None:
    table = PAGE[PAGE.index("| reason | when |") :].split("\n\n")[0].splitlines()[2:]
    assert {row.split("`")[1] for row in table} == {reason.value for reason in Unknown}


def test_the_number_of_processes_that_are_asked_is_as_said() -> None:
    assert f"Only the first {MOST_PROCESSES} processes" in PAGE
