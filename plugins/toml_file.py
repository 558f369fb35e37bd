"""TOML files: read whole, or refused in words that name the file and the place."""

import tomllib
from pathlib import Path
from typing import Any

from ..model.settings import BadSettings, Problem

_LARGEST_BYTES = 1024 * 1024
"""No configuration is this long; a device file or a log given by mistake is."""


def read_toml(path: Path) -> dict[str, Any]:
    """What the file says. Raises BadSettings if it is missing, unreadable, too large or no TOML."""
    return parse_toml(_read(path), str(path))


def parse_toml(raw: bytes, source: str) -> dict[str, Any]:
    """What these bytes say; ``source`` names them in BadSettings, with line and column."""
    try:
        return tomllib.loads(raw.decode())
    except tomllib.TOMLDecodeError as error:
        # Its text ends with "(at line 3, column 7)".
        raise _refused(source, f"is not TOML: {error}") from None
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise _refused(source, f"is not UTF-8 in line {line}: save it as UTF-8") from None
    except (ValueError, RecursionError) as error:  # numbers of thousands of digits, brackets in brackets in brackets
        raise _refused(source, f"is not TOML that can be read: {error}") from None


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            raw = file.read(_LARGEST_BYTES + 1)
    except FileNotFoundError:
        raise _refused(str(path), "there is no such file: create it, or give the right path") from None
    except OSError as error:
        raise _refused(str(path), f"cannot be read: {error.strerror}") from None
    if len(raw) > _LARGEST_BYTES:
        raise _refused(str(path), f"is longer than {_LARGEST_BYTES} bytes: that is no configuration")
    return raw


def _refused(source: str, what: str) -> BadSettings:
    return BadSettings([Problem(source, "", what)])
