"""Builds the fake ``libnvidia-ml.so.1`` from the C sources beside this file and NVIDIA's own header.

The header comes from the package nvidia-nvml-dev and is compiled against, not copied. Whatever it
declares and our sources do not define is generated here, so that a newer header only adds symbols
that answer NOT_SUPPORTED.
"""

import atexit
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from functools import cache
from importlib import metadata
from pathlib import Path

LIBRARY = "libnvidia-ml.so.1"
SOURCES = Path(__file__).resolve().parent
FLAGS = (
    "-std=gnu11", "-O2", "-fPIC", "-shared", "-pthread", "-fvisibility=hidden",
    "-Wall", "-Wextra", "-Werror", f"-Wl,-soname,{LIBRARY}",
)  # fmt: skip
DECLARED = re.compile(r"^(?:DEPRECATED\([\d.]+\)\s*)?nvmlReturn_t\s+DECLDIR\s+(nvml\w+)\s*\(([^)]*)\);", re.M)
DEFINED = re.compile(r"^(?:nvmlReturn_t|const char \*)\s*(nvml\w+)\(", re.M)
ERROR = re.compile(r"^\s*(NVML_(?:ERROR_(\w+)|SUCCESS))\s*=\s*\d+,?\s*//!<", re.M)
WORDS = {  # what the real library says, where that is known; else the name is said in words
    "NVML_ERROR_NO_PERMISSION": "Insufficient Permissions",
    "NVML_ERROR_INSUFFICIENT_POWER": "Insufficient External Power",
    "NVML_ERROR_IRQ_ISSUE": "Interrupt Request Issue",
    "NVML_ERROR_LIBRARY_NOT_FOUND": "NVML Shared Library Not Found",
    "NVML_ERROR_CORRUPTED_INFOROM": "Corrupted infoROM",
    "NVML_ERROR_GPU_IS_LOST": "GPU is lost",
    "NVML_ERROR_RESET_REQUIRED": "GPU requires reset",
    "NVML_ERROR_OPERATING_SYSTEM": "GPU access blocked by the operating system",
    "NVML_ERROR_LIB_RM_VERSION_MISMATCH": "Driver/library version mismatch",
    "NVML_ERROR_MEMORY": "Insufficient Memory",
    "NVML_ERROR_UNKNOWN": "Unknown Error",
}


class DriverBuildError(RuntimeError):
    """The fake driver cannot be built here; the message says what is missing and where to get it."""


def build_driver() -> Path:
    """The folder to put into LD_LIBRARY_PATH; compiles what is not in the cache yet (about 3 s).

    Raises DriverBuildError without a C compiler or NVIDIA's header. Any number of processes may call
    it at once: each compiles in a folder of its own, and the first one to finish is kept.
    """
    header, compiler = find_header(), find_compiler()
    folder = cache_folder() / f"driver-{_fingerprint(header, compiler)}"
    if not (folder / LIBRARY).exists():
        _build_into(folder, header, compiler)
    return folder


@cache
def find_header() -> Path:
    """NVIDIA's ``nvml.h`` in this environment."""
    try:
        files = metadata.files("nvidia-nvml-dev") or []
    except metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.name == "nvml.h":
            return Path(str(file.locate())).resolve()
    raise DriverBuildError("nvml.h is not here: pip install 'gputally[simulator]' brings nvidia-nvml-dev")


@cache
def find_compiler() -> str:
    """The C compiler: ``$CC``, else cc, gcc or clang."""
    for name in (os.environ.get("CC"), "cc", "gcc", "clang"):
        found = shutil.which(name) if name else None
        if found:
            return found
    raise DriverBuildError("no C compiler: install gcc or clang, or set CC to one")


def cache_folder() -> Path:
    """``$GPUTALLY_CACHE``, else gputally in the user's cache folder, else one for this process alone.

    Never a folder that others can write.
    """
    told = os.environ.get("GPUTALLY_CACHE")
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(told) if told else Path(home) / "gputally"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        if told:
            raise DriverBuildError(f"GPUTALLY_CACHE: {folder}: {error.strerror}") from error
        return _passing_folder()
    return folder if told or os.access(folder, os.W_OK) else _passing_folder()


@cache
def _passing_folder() -> Path:
    folder = tempfile.TemporaryDirectory(prefix="gputally-driver-")
    atexit.register(folder.cleanup)
    return Path(folder.name)


def generated_source(header: str, simulated: set[str]) -> str:
    """C for the header's functions that nobody simulates, and the table of its errors."""
    stubs = [_stub(name, parameters) for name, parameters in declared(header) if name not in simulated]
    return "\n".join([
        "/* Generated from nvml.h by driver.py. */",
        '#include "driver.h"',
        "/* A stub needs the header's prototype, not its arguments. */",
        '#pragma GCC diagnostic ignored "-Wunused-parameter"',
        *stubs,
        _error_table(header),
    ])  # fmt: skip


def declared(header: str) -> list[tuple[str, str]]:
    """(name, parameters) of each function that the header declares to return an nvmlReturn_t."""
    return list(dict(DECLARED.findall(header)).items())


def simulated_functions() -> set[str]:
    """The functions that our C sources define."""
    return {name for source in c_sources() for name in DEFINED.findall(source.read_text())}


def c_sources() -> list[Path]:
    return sorted(SOURCES.glob("driver*.c"))


def _stub(name: str, parameters: str) -> str:
    parameters = " ".join(parameters.split())
    device = re.match(r"nvmlDevice_t (\w+)(?:,|$)", parameters)
    answer = f"unsimulated_device(__func__, {device[1]})" if device else "unsimulated(__func__)"
    return f"nvmlReturn_t {name}({parameters}) {{ return {answer}; }}"


def _error_table(header: str) -> str:
    rows = [f'    {{{code}, "{name or "SUCCESS"}", "{_words(code, name)}"}},' for code, name in ERROR.findall(header)]
    return "\n".join([
        "const struct error_text ERROR_TEXTS[] = {",
        *rows,
        "};",
        "const size_t ERROR_TEXT_COUNT = sizeof ERROR_TEXTS / sizeof *ERROR_TEXTS;",
        "",
    ])  # fmt: skip


def _words(code: str, name: str) -> str:
    return WORDS.get(code) or (name or "Success").replace("_", " ").title()


def _fingerprint(header: Path, compiler: str) -> str:
    """Of all that the library is made from, so that a change in any of it is a new build."""
    version = subprocess.run([compiler, "--version"], capture_output=True, check=False).stdout
    seen = hashlib.sha256(f"{compiler}\n{FLAGS}\n".encode() + version)
    for path in (header, Path(__file__), *sorted(SOURCES.glob("driver*.h")), *c_sources()):
        seen.update(f"{path.name}\n".encode() + path.read_bytes())
    return seen.hexdigest()[:16]


def _build_into(folder: Path, header: Path, compiler: str) -> None:
    """Compiles beside ``folder`` and renames: a folder of that name is whole, whoever looks when."""
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".building-") as name:
        own = Path(name) / "driver"
        own.mkdir()
        generated = Path(name) / "generated.c"
        generated.write_text(generated_source(header.read_text(), simulated_functions()))
        _compile(compiler, header, [*c_sources(), generated], own / LIBRARY)
        try:
            own.rename(folder)
        except OSError:
            if not (folder / LIBRARY).exists():  # else another process was quicker, which is as good
                raise


def _compile(compiler: str, header: Path, sources: list[Path], into: Path) -> None:
    includes = [f"-I{SOURCES}", f"-isystem{header.parent}"]
    command = [compiler, *FLAGS, *includes, *map(str, sources), "-o", str(into)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise DriverBuildError(f"{compiler} refuses the fake driver:\n{done.stderr[-4000:]}")
