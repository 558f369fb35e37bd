"""A real collector, as its own process, on free ports of loopback and a folder that the test throws away."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx

from gputally.simulator.stream import SimulatedHost
from gputally.simulator.uplink import Delivery, deliver

JUNE_NS = 1_748_736_000 * 10**9
HOUR_NS = 3600 * 10**9
SKUS = """
[[skus]]
name = "Small"
gpu_model = "NVIDIA L40"
[[skus]]
name = "Medium"
gpu_model = "NVIDIA A100*"
[[skus]]
name = "Large"
gpu_model = "NVIDIA H100*"
"""
COMMAND = (sys.executable, "-m", "gputally.cli")


def write_config(folder: Path, more: str = SKUS, intake: str = "insecure_plaintext = true") -> Path:
    path = folder / "collector.toml"
    path.write_text(
        f'[intake]\nlisten = "127.0.0.1:0"\n{intake}\n[ledger]\npath = "{folder / "ledger"}"\n'
        f'[api]\nlisten = "127.0.0.1:0"\nrequests_per_minute = 1000000\nconcurrent_requests = 64\n{more}\n'
    )
    return path


class RunningCollector:
    """``with`` it. ``kill`` and ``start`` make a crash and the life after it."""

    def __init__(self, config: Path, command: Sequence[str] = COMMAND) -> None:
        self.config = config
        self._command = command
        self.log = config.with_suffix(".log")
        self.intake = ""
        self.url = ""
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> "RunningCollector":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None and self._process.poll() is None:
            self.kill()

    def start(self) -> None:
        with self.log.open("a") as log:
            self._process = subprocess.Popen(
                [*self._command, "collector", "--config", self.config], stdout=subprocess.PIPE, stderr=log, text=True
            )
        assert self._process.stdout is not None
        ready = self._process.stdout.readline()
        assert ready.startswith("ready: intake "), ready + self.log.read_text()
        self.intake = ready.split()[2].rstrip(",")
        self.url = ready.split()[4]

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def memory_kib(self) -> int:
        """What the process holds in memory of its own (RssAnon in proc(5))."""
        assert self._process is not None
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(status.split("RssAnon:")[1].split()[0])

    def signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def wait(self) -> int:
        assert self._process is not None
        code = self._process.wait(30)
        assert self._process.stdout is not None
        self._process.stdout.close()
        return code

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        self.wait()

    def stop(self) -> int:
        self.signal(signal.SIGTERM)
        return self.wait()

    def deliver(self, host: SimulatedHost) -> Delivery:
        return deliver(self.intake, host.host_id, host.epoch, host.frames())

    def ask(self, path: str, token: str | None = None, **parameters: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return httpx.get(self.url + path, params=parameters or None, headers=headers, timeout=60)

    def wait_until_folded(self, deadline_s: float = 60.0) -> None:
        """Until everything in the log is in the answers."""
        end = time.monotonic() + deadline_s
        while time.monotonic() < end:
            state = self.ask("/readyz").json()
            if state["log_id"] == state["projected_log_id"]:
                return
            time.sleep(0.02)
        raise AssertionError(f"not folded in {deadline_s} s: {state}\n{self.log.read_text()}")

    def wait_until_ready(self, deadline_s: float = 60.0) -> None:
        """Until it says so itself."""
        end = time.monotonic() + deadline_s
        while not (state := self.ask("/readyz").json())["ready"]:
            assert time.monotonic() < end, f"not ready in {deadline_s} s: {state}\n{self.log.read_text()}"
            time.sleep(0.05)

    def usage(
        self, range_from: str = "2025-06-01T00:00:00Z", range_to: str = "2025-07-01T00:00:00Z", **more: Any
    ) -> Any:
        self.wait_until_folded()
        response = self.ask("/v1/usage", range_from=range_from, range_to=range_to, **more)
        assert response.status_code == 200, response.text
        return response.json()


def run_command(*arguments: object, environ: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """``gputally ARGUMENTS``, to its end."""
    command: Sequence[str] = [*COMMAND, *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, env={**os.environ, **(environ or {})}, check=False
    )
