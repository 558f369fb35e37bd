"""Who judges the meter must not know it: an error in common would be an error that nobody sees."""

import ast
from pathlib import Path

import pytest

SIMULATOR = Path(__file__).resolve().parents[3] / "simulator"
PACKAGE = ("model", "daemon", "plugins", "storage", "collector", "cli", "proto", "simulator")
KNOWS_NOTHING_OF_METERING = (
    "seeds/truth.py", "seeds/timeline.py", "seeds/energy.py", "seeds/script.py", "seeds/reach.py", "seeds/court.py",
    "seeds/course.py", "seeds/energies.py", "seeds/inference.py", "seeds/ledger.py",
)  # fmt: skip


def rooms(path: Path) -> set[str]:
    """The rooms of the package that a file imports from; its own folder does not count."""
    found: set[str] = set()
    depth = len(path.relative_to(SIMULATOR.parent).parts)
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            if node.level < depth:
                continue
            found.add((node.module or node.names[0].name).split(".")[0])
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "").split(".")[0])
        elif isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
    return found


def test_the_auditor_sees_the_wire_and_nothing_else_of_ours() -> None:
    files = list((SIMULATOR / "audit").glob("*.py"))
    assert len(files) > 5
    for path in files:
        assert rooms(path) & {*PACKAGE, "gputally"} <= {"proto"}, path.name
        assert "convert" not in path.read_text(), path.name


@pytest.mark.parametrize("name", KNOWS_NOTHING_OF_METERING)
def test_the_oracle_and_the_verdict_see_the_script_and_the_wire(name: str) -> None:
    assert rooms(SIMULATOR / name) & {*PACKAGE, "gputally"} <= {"proto"}, name


def test_the_reading_of_imports_can_fail() -> None:
    assert {"model", "daemon"} <= rooms(SIMULATOR / "seeds" / "life.py")
