"""The child carries little: it is one more process on every GPU host."""

import subprocess
import sys

import pytest

HEAVY = ("trio", "grpc", "dataclasses", "asyncio", "lmdb", "subprocess", "tempfile", "logging", "gputally.model")


@pytest.fixture(scope="module")
def imported() -> set[str]:
    code = "import gputally.plugins.nvml.child, sys; print(*sys.modules)"
    paths = ":".join(path for path in sys.path if path)
    command = [sys.executable, "-P", "-S", "-s", "-c", code]
    return set(subprocess.check_output(command, text=True, env={"PYTHONPATH": paths}).split())


def test_the_child_calls_the_driver_through_nvidias_own_binding(imported: set[str]) -> None:
    assert {"pynvml", "msgpack"} <= imported


@pytest.mark.parametrize("module", HEAVY)
def test_the_child_imports_nothing_that_only_the_daemon_needs(imported: set[str], module: str) -> None:
    assert module not in imported
