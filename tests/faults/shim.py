"""Builds the libraries that stand before libc, and runs a module of this package behind one."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from gputally.simulator.driver import DriverBuildError, find_compiler

_ROOT: Final = Path(__file__).resolve().parents[2]


def why_no_compiler() -> str:
    """Empty: there is one."""
    try:
        find_compiler()
    except DriverBuildError as error:
        return str(error)
    return ""


def build(name: str, folder: Path) -> Path:
    """The library made of ``name``.c in this folder."""
    library = folder / f"{name}.so"
    source = Path(__file__).with_name(f"{name}.c")
    command = [find_compiler(), "-shared", "-fPIC", "-O1", "-Wall", str(source), "-o", str(library), "-ldl"]
    subprocess.run(command, check=True)
    return library


def behind(library: Path, module: str, *arguments: str, environment: Mapping[str, str]) -> str:
    """What ``python -m tests.faults.module`` prints with ``library`` before libc. Raises CalledProcessError."""
    told = {**os.environ, "LD_PRELOAD": str(library), **environment}
    command = [sys.executable, "-m", f"tests.faults.{module}", *arguments]
    ran = subprocess.run(command, check=True, env=told, cwd=_ROOT, stdout=subprocess.PIPE, text=True)
    return ran.stdout
