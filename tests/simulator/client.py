"""A program that uses the unchanged pynvml on the fake driver, asked one expression at a time.

It is a process of its own, as the linker reads LD_LIBRARY_PATH only when a process starts.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gputally.simulator.scenario import LOOK_EVERY_NS, Scenario, boottime_ns, driver_environment

PROGRAM = """
import ctypes, json, pynvml, sys
from pynvml import *

def gpu(index):
    return nvmlDeviceGetHandleByIndex(index)

def raw(name, *arguments):  # the bare return code of a symbol
    return getattr(ctypes.CDLL("libnvidia-ml.so.1"), name)(*arguments)

def plain(value):
    if isinstance(value, ctypes.Structure):
        return {name: plain(getattr(value, name)) for name, *_ in value._fields_}
    if isinstance(value, ctypes.Array) and not isinstance(value, bytes):
        return [plain(one) for one in value]
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    if isinstance(value, ctypes._SimpleCData):
        return value.value
    if value is None or isinstance(value, (int, str, float, dict)):
        return value
    return value.decode() if isinstance(value, bytes) else {k: plain(v) for k, v in vars(value).items()}

kept = {}
for line in sys.stdin:
    try:
        answer = {"value": plain(eval(line, globals(), kept))}
    except NVMLError as error:
        answer = {"code": error.value, "text": str(error)}
    except Exception as error:
        answer = {"broken": repr(error)}
    print(json.dumps(answer), flush=True)
"""


def wall_minus_boot_ns() -> int:
    """Between the clock of stamps and that of scenarios; read until nobody ran in between."""
    tries = []
    for _ in range(8):
        before_ns, wall_ns, after_ns = boottime_ns(), time.time_ns(), boottime_ns()
        tries.append((after_ns - before_ns, wall_ns - before_ns))
    return min(tries)[1]


class Refused(Exception):
    """NVML answered with an error; ``code`` is its nvmlReturn_t."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"{code}: {text}")
        self.code = code


class Client:
    """A running program. ``gpu(i)`` in an expression is the handle of the i-th device."""

    def __init__(self, scenario: Path) -> None:
        self.scenario = scenario
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM],
            env={**os.environ, **driver_environment(scenario)},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def ask(self, expression: str) -> Any:
        """Raises Refused for an NVMLError."""
        self.begin(expression)
        return self.finish()

    def begin(self, expression: str) -> None:
        """Asks without waiting, as what is asked may hang."""
        assert self.process.stdin is not None
        self.process.stdin.write(expression + "\n")
        self.process.stdin.flush()

    def finish(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"the program ended: {self.process.poll()}"
        answer = json.loads(line)
        if "code" in answer:
            raise Refused(answer["code"], answer["text"])
        assert "value" in answer, answer
        return answer["value"]

    def code(self, expression: str) -> int:
        """0, or the error that NVML answered with."""
        try:
            self.ask(expression)
        except Refused as refused:
            return refused.code
        return 0

    def becomes(self, scenario: Scenario) -> None:
        """Writes the scenario, and returns when the program sees it."""
        scenario.write(self.scenario)
        time.sleep(2 * LOOK_EVERY_NS / 1e9)

    def kill(self, signum: int = signal.SIGKILL) -> int:
        """Sends a signal and returns how the program ended."""
        self.process.send_signal(signum)
        return self.process.wait(5)

    def close(self) -> str:
        """Ends the program; what it wrote to standard error."""
        if self.process.poll() is None:
            self.process.kill()
        return self.process.communicate(timeout=5)[1]


@contextmanager
def running(scenario: Path) -> Generator[Client]:
    """A program that has not called nvmlInit yet."""
    client = Client(scenario)
    try:
        yield client
    finally:
        client.close()


@contextmanager
def on_host(folder: Path, scenario: Scenario) -> Generator[Client]:
    """A program that has initialised on that host."""
    path = folder / "scenario"
    scenario.write(path)
    with running(path) as client:
        client.ask("nvmlInit()")
        yield client
