"""The real daemon with the process connector: it follows the host's processes, or does not start."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from gputally.model.exits import Exit
from gputally.plugins.attribution.connector import ConnectorUnusable, ProcessConnector
from gputally.plugins.nvml.namespaces import check_namespaces
from gputally.simulator.rig import Rig
from gputally.simulator.scenario import Scenario
from gputally.simulator.stack import daemon_config, running

pytestmark = pytest.mark.root
WITHIN_S = 30


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    if (why_not := check_namespaces("/proc")) is not None:
        pytest.skip(why_not)
    try:
        with closing(ProcessConnector()):
            pass
    except ConnectorUnusable as why:
        pytest.skip(f"no process connector: {why}")
    with Rig.opened(tmp_path / "rig", Scenario.host(gpus=2)) as rig:
        yield rig


def config(folder: Path) -> Path:
    return daemon_config(folder, Path("/proc"), None, [], attribution={"proc": "/proc", "process_connector": True})


def ask_status(folder: Path) -> dict[str, Any]:
    told = subprocess.run(
        [sys.executable, "-m", "gputally.cli", "status", "--json", "--socket", str(folder / "daemon.sock")],
        capture_output=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(told.stdout)["attribution"]
    return found


def test_the_status_says_how_many_processes_were_followed_and_remembered(rig: Rig, tmp_path: Path) -> None:
    with running(["daemon", "--config", str(config(tmp_path))], tmp_path / "log.txt", rig.environment) as daemon:
        told: dict[str, Any] = {}
        deadline = time.monotonic() + WITHIN_S
        while not told.get("remembered"):
            assert time.monotonic() < deadline, told
            subprocess.run(["sleep", "0.3"], check=True)
            told = ask_status(tmp_path)
        assert told["ended"] >= 1
        assert {"followed", "ended_unseen", "not_followed", "overruns", "forgotten_early"} <= told.keys()
        assert daemon.stop() == Exit.OK


def test_a_daemon_that_cannot_have_the_connector_says_why_and_does_not_start(rig: Rig, tmp_path: Path) -> None:
    told = subprocess.run(
        ["unshare", "--net", sys.executable, "-m", "gputally.cli", "daemon", "--config", str(config(tmp_path))],
        capture_output=True,
        text=True,
        env={**os.environ, **rig.environment},
    )
    assert told.returncode == Exit.CONFIG
    assert "attribution.process_connector: " in told.stderr
    assert "Traceback" not in told.stderr
