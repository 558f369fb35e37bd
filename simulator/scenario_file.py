"""A scenario as a file, and how a program finds it."""

import os
import time
from pathlib import Path

from .driver import build_driver

LOOK_EVERY_NS = 5_000_000
"""A program looks at its scenario at most this often."""

ENVIRONMENT_VARIABLE = "GPUTALLY_SCENARIO"


def write_whole(path: Path, text: str) -> None:
    """In one step: nobody sees half of it."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.{time.monotonic_ns()}")
    draft.write_text(text)
    # File systems stamp in steps of milliseconds; two scenarios in one of them must not look the same.
    now_ns = time.time_ns()
    os.utime(draft, ns=(now_ns, now_ns))
    draft.replace(path)


def driver_environment(scenario_path: Path | str) -> dict[str, str]:
    """What a child process needs in its environment for the fake driver and this scenario.

    It must be there when the process starts: the dynamic linker reads LD_LIBRARY_PATH only then.
    Raises DriverBuildError where the driver cannot be built.
    """
    folders = [str(build_driver()), os.environ.get("LD_LIBRARY_PATH", "")]
    return {
        "LD_LIBRARY_PATH": ":".join(folder for folder in folders if folder),
        ENVIRONMENT_VARIABLE: str(Path(scenario_path).absolute()),
    }
