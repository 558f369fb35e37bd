"""A collector and a daemon as what they are: two processes of the real command, on loopback."""

import json
import os
import re
import selectors
import signal
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

READY_WITHIN_S = 30.0
ANSWER_WITHIN_S = 30.0


class NotReady(Exception):
    """A program ended, or said nothing, instead of saying that it is ready. Holds what it logged."""


@dataclass(slots=True)
class Program:
    """A running ``gputally`` command that has said it is ready."""

    process: subprocess.Popen[bytes]
    ready: str
    """The line with which it said so."""
    log: Path

    def stop(self, within_s: float = 30.0) -> int:
        """SIGTERM, and its exit code. SIGKILL, and an error, if it does not end in time."""
        self.process.send_signal(signal.SIGTERM)
        return self.wait(within_s)

    def wait(self, within_s: float = 30.0) -> int:
        """Its exit code; raises subprocess.TimeoutExpired, with the process killed, if it does not end."""
        try:
            return self.process.wait(within_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def kill(self) -> None:
        """SIGKILL: no chance to tidy up."""
        self.process.kill()
        self.process.wait()

    def logged(self) -> str:
        return self.log.read_text()


def start(arguments: Sequence[str], log: Path, environment: Mapping[str, str] | None = None) -> Program:
    """Starts ``gputally`` with these arguments and waits for its line. Raises NotReady."""
    command = [sys.executable, "-m", "gputally.cli", *arguments]
    with log.open("ab") as errors:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            env={**os.environ, **(environment or {})},
        )
    try:
        line = _ready_line(process)
    except NotReady as error:
        process.kill()
        process.wait()
        raise NotReady(f"{' '.join(arguments)}: {error}\n{log.read_text()}") from None
    return Program(process, line, log)


@contextmanager
def running(arguments: Sequence[str], log: Path, environment: Mapping[str, str] | None = None) -> Generator[Program]:
    """A program that is gone after the block, whatever happened in it."""
    program = start(arguments, log, environment)
    try:
        yield program
    finally:
        if program.process.poll() is None:
            program.kill()


def _ready_line(process: subprocess.Popen[bytes]) -> str:
    assert process.stdout is not None
    line, deadline_s = b"", time.monotonic() + READY_WITHIN_S
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while not line.endswith(b"\n"):
            if not selector.select(deadline_s - time.monotonic()):
                raise NotReady(f"said nothing for {READY_WITHIN_S:g} s")
            part = os.read(process.stdout.fileno(), 4096)
            if not part:
                raise NotReady(f"ended with exit code {process.wait()}")
            line += part
    return line.decode().strip()


def addresses(collector: Program) -> tuple[str, str]:
    """(intake as host:port, API as URL) from a collector's ready line."""
    intake = re.search(r"intake (\S+?),", collector.ready)
    api = re.search(r"api (http\S+)", collector.ready)
    assert intake is not None, collector.ready
    assert api is not None, collector.ready
    return intake[1], api[1]


def ask(api: str, path: str, **parameters: str) -> Any:
    """A GET answered in JSON. Raises urllib.error.HTTPError for a refusal."""
    url = f"{api}{path}?{urllib.parse.urlencode(parameters)}"
    with urllib.request.urlopen(url, timeout=ANSWER_WITHIN_S) as answer:
        return json.load(answer)


def collector_config(folder: Path, skus: Mapping[str, str], intake: str = "127.0.0.1:0") -> Path:
    """Writes a collector.toml for loopback; ``skus`` are GPU models by SKU."""
    tables: list[tuple[str, Mapping[str, Any]]] = [
        ("intake", {"listen": intake, "insecure_plaintext": True}),
        ("ledger", {"path": str(folder / "ledger")}),
        ("api", {"listen": "127.0.0.1:0"}),
        *(("[skus]", {"name": name, "gpu_model": model}) for name, model in skus.items()),
    ]
    return _write(folder / "collector.toml", tables)


def daemon_config(
    folder: Path,
    proc: Path,
    endpoint: str | None,
    rules: Sequence[Mapping[str, Any]],
    **settings: Mapping[str, Any],
) -> Path:
    """Writes a daemon.toml for loopback. ``settings``: tables with keys that differ from these here."""
    tables: dict[str, dict[str, Any]] = {
        "host": {"id": "sim-01", "lock_folder": str(folder / "lock")},
        "log": {"path": str(folder / "log"), "cap_mib": 16},
        "uplink": {"endpoints": [endpoint] if endpoint else [], "insecure_plaintext": True},
        "attribution": {"proc": str(proc)},
        "control": {"socket": str(folder / "daemon.sock")},
    }
    for name, keys in settings.items():
        tables.setdefault(name, {}).update(keys)
    return _write(folder / "daemon.toml", [*tables.items(), *(("[attribution.rules]", rule) for rule in rules)])


def _write(path: Path, tables: Sequence[tuple[str, Mapping[str, Any]]]) -> Path:
    text = "\n".join(f"[{name}]\n" + "".join(f"{k} = {_toml(v)}\n" for k, v in keys.items()) for name, keys in tables)
    path.write_text(text)
    return path


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        inner = ", ".join(f"{key} = {_toml(item)}" for key, item in value.items())  # pyright: ignore
        return f"{{ {inner} }}"
    return json.dumps(value)
