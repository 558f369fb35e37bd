"""A price list as a file, TOML or JSON; every number is read as a decimal."""

import json
import tomllib
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, cast

from ..model.catalogue import Catalogue
from ..model.catalogue_read import read_catalogue
from ..model.settings import BadSettings, Problem
from .instants import parse_instant

LARGEST_BYTES: Final = 1024 * 1024


def load_catalogue(path: Path) -> Catalogue:
    """Raises BadSettings, which names the file and every wrong key."""
    raw = _read(path)
    try:
        told = parse_json(raw) if path.suffix == ".json" else tomllib.loads(raw, parse_float=Decimal)
    except (ValueError, RecursionError) as error:
        raise _refused(path, f"is not {'JSON' if path.suffix == '.json' else 'TOML'}: {error}") from None
    return read_catalogue(told, str(path), parse_instant)


def parse_json(text: str) -> dict[str, Any]:
    """Raises ValueError for anything but one object; whole numbers stay whole, others become decimals."""
    try:
        told = json.loads(text, parse_float=Decimal, parse_constant=_refuse)
    except RecursionError:
        raise ValueError("brackets in brackets in brackets") from None
    if not isinstance(told, dict):
        raise ValueError("it must be an object")
    return cast("dict[str, Any]", told)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number")


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(LARGEST_BYTES + 1)
        if len(raw) > LARGEST_BYTES:
            raise _refused(path, f"is longer than {LARGEST_BYTES} bytes: that is no price list")
        return raw.decode()
    except UnicodeDecodeError:
        raise _refused(path, "is not UTF-8: save it as UTF-8") from None
    except OSError as error:
        raise _refused(path, f"cannot be read: {error.strerror}") from None


def _refused(path: Path, what: str) -> BadSettings:
    return BadSettings([Problem(str(path), "", what)])
