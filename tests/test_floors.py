"""The house stands on four floors, and each third-party library has one place that may see it."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FLOORS = {
    "model": 1,
    "proto": 2,
    "storage": 2,
    "plugins": 2,
    "daemon": 3,
    "collector": 3,
    "cli": 4,
    "simulator": 4,
}
SAME_FLOOR = {("cli", "simulator")}  # the demo is a command
EXCEPTIONS = {  # the doors between the wire and the model
    ("proto/convert.py", "model"),
    ("proto/convert_decision.py", "model"),
}
MAY_SEE = {
    "pynvml": ("plugins/nvml/",),
    "lmdb": ("storage/wal",),
    "sqlite3": ("storage/",),
    "duckdb": ("storage/",),
    "grpc": ("daemon/uplink", "collector/intake", "simulator/", "plugins/otel/", "proto/v1/"),
    "msgpack": ("plugins/nvml/", "storage/checkpoint.py"),
    "opentelemetry": ("plugins/otel/",),
    "fastapi": ("collector/",),
    "uvicorn": ("collector/",),
    "google": ("proto/",),
    "rich": ("cli/", "simulator/"),
    "click": ("cli/",),
    "cryptography": ("cli/pki", "plugins/ed25519.py"),
    "trio": ("daemon/", "plugins/nvml/", "plugins/ports.py", "cli/", "simulator/"),
}
PURE = {  # what the model may take from the standard library: nothing that reads the world
    "bisect", "collections", "dataclasses", "decimal", "difflib", "enum", "fnmatch", "fractions", "functools",
    "hashlib", "heapq", "itertools", "json", "math", "operator", "re", "struct", "tomllib", "types", "typing",
}  # fmt: skip


def sources(*rooms: str) -> list[Path]:
    files = [path for room in rooms for path in (ROOT / room).rglob("*.py")]
    return [path for path in files if "_pb2" not in path.name]


def imports(path: Path) -> Iterator[tuple[str, str]]:
    """(room or library, dotted rest) for each import, relative ones resolved."""
    here = list(path.relative_to(ROOT).with_suffix("").parts)
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name.split(".")[0], alias.name
        elif isinstance(node, ast.ImportFrom) and node.level:
            base = here[: len(here) - node.level]
            told = [*base, *(node.module.split(".") if node.module else [])]
            yield (told[0] if told else node.names[0].name), ".".join(told)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.split(".")[0], node.module


@pytest.mark.parametrize("room", FLOORS)
def test_a_room_stands_above_all_that_it_imports(room: str) -> None:
    for path in sources(room):
        where = str(path.relative_to(ROOT))
        for target, _ in imports(path):
            if target not in FLOORS or target == room or (where, target) in EXCEPTIONS:
                continue
            allowed = FLOORS[target] < FLOORS[room] or (room, target) in SAME_FLOOR
            assert allowed, f"{where} (floor {FLOORS[room]}) imports {target} (floor {FLOORS[target]})"


def test_no_other_files_than_the_doors_see_both_the_wire_and_the_model() -> None:
    for path in sources("proto"):
        if path.name not in ("convert.py", "convert_decision.py"):
            assert "model" not in {target for target, _ in imports(path)}, path


@pytest.mark.parametrize("library", MAY_SEE)
def test_a_library_is_seen_only_where_it_belongs(library: str) -> None:
    for path in sources(*FLOORS):
        where = str(path.relative_to(ROOT))
        if library in {target for target, _ in imports(path)}:
            assert where.startswith(MAY_SEE[library]), f"{where} imports {library}"


def test_the_model_reads_no_clock_no_file_and_no_environment() -> None:
    for path in sources("model"):
        for target, dotted in imports(path):
            assert target in PURE | {"model"}, f"{path.name} imports {dotted}"
        called = {node.func.id for node in ast.walk(ast.parse(path.read_text()))
                  if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}  # fmt: skip
        assert not called & {"open", "input", "exec", "eval"}, path.name


def test_no_float_reaches_a_usage_record() -> None:
    for name in (
        "usage.py",
        "share.py",
        "identity.py",
        "conservation.py",
        "interval.py",
        "consumption.py",
        "replicas.py",
        "catalogue.py",
        "catalogue_read.py",
        "rating.py",
    ):
        tree = ast.parse((ROOT / "model" / name).read_text())
        assert not any(isinstance(n, ast.Constant) and isinstance(n.value, float) for n in ast.walk(tree)), name
        assert not any(isinstance(n, ast.Name) and n.id == "float" for n in ast.walk(tree)), name
        assert not any(isinstance(n, ast.Div) for n in ast.walk(tree)), name


def test_the_daemon_never_learns_a_price() -> None:
    prices = {"catalogue", "catalogue_order", "catalogue_read", "billable", "rating"}
    for path in sources("daemon", "plugins", "proto"):
        assert not any(set(dotted.split(".")) & prices for _, dotted in imports(path)), path


def test_the_floors_can_fail() -> None:
    """A test that cannot fail proves nothing: the same reading must see a wrong import."""
    found = dict(imports(ROOT / "proto" / "convert.py"))
    assert {"model", "google"} <= set(found)
