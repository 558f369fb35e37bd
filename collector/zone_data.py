"""Which version of the time zone rules draws edges here: a closed period says it, for rules change."""

from functools import cache
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final
from zoneinfo import TZPATH

_FIRST_LINE: Final = "# version "
_DIGITS: Final = 16


@cache
def zone_data(zone: str) -> str:
    """Of the rules that ``zoneinfo.ZoneInfo(zone)`` takes: those of the system if it has any, else the package tzdata.

    A release's name such as 2025b; where the system does not say it, the hash of the zone's own rules.
    """
    for folder in map(Path, TZPATH):
        if (folder / zone).is_file():
            return _release(folder) or f"sha256:{sha256((folder / zone).read_bytes()).hexdigest()[:_DIGITS]}"
    try:
        return f"tzdata {version('tzdata')}"
    except PackageNotFoundError:
        return "unknown"


def _release(folder: Path) -> str:
    """tzdata.zi begins with ``# version 2025b`` (zic(8), theory.html); empty: it is not there."""
    try:
        with (folder / "tzdata.zi").open(encoding="ascii", errors="replace") as file:
            line = file.readline()
    except OSError:
        return ""
    return line.removeprefix(_FIRST_LINE).strip() if line.startswith(_FIRST_LINE) else ""
