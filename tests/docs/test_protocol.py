"""The table of docs/protocol.md is what the code does in each phase with each event."""

from pathlib import Path
from typing import get_args

from gputally.daemon.replay_events import Answer, OwnEvent
from gputally.daemon.replay_phases import HEEDED, IGNORED, Phase

PAGE = Path(__file__).resolve().parents[2] / "docs" / "protocol.md"
EVENTS: tuple[type, ...] = (*get_args(OwnEvent), *get_args(Answer))


def what(phase: Phase, event: type) -> str:
    if event in IGNORED.get(phase, ()):
        return "ignored"
    return "heeded" if event in HEEDED[phase] else "violation"


def table() -> str:
    rows = [["", *(phase.value for phase in Phase)], ["---"] * (len(Phase) + 1)]
    rows += [[event.__name__, *(what(phase, event) for phase in Phase)] for event in EVENTS]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def test_the_page_shows_what_each_phase_makes_of_each_event() -> None:
    assert table() in PAGE.read_text(), f"docs/protocol.md should hold:\n{table()}"
