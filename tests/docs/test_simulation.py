"""docs/simulation.md names every fault and every protection that the code has, and no other."""

import re
from pathlib import Path

from gputally.simulator.seeds.controls import CONTROLS
from gputally.simulator.seeds.script import Kind

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "simulation.md").read_text()
ROWS = [line.split("|") for line in PAGE.splitlines() if line.startswith("| `")]


def names(cell: str) -> set[str]:
    return set(re.findall(r"`(\w+)`", cell))


def test_each_kind_of_fault_has_its_row() -> None:
    assert set().union(*(names(row[1]) for row in ROWS)) == {str(kind) for kind in Kind}


def test_each_protection_stands_beside_a_fault_that_it_guards_against() -> None:
    told = {name: names(row[1]) for row in ROWS for name in names(row[3])}
    assert told.keys() == CONTROLS.keys()
    for name, control in CONTROLS.items():
        assert {str(kind) for kind in control.kinds} & told[name], name
