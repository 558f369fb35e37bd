"""The rule set that a host had from its collector last, in a file beside the log: whole or not there.

It is written before the rules decide anything, so that the next start goes on by them before any stream.
"""

import contextlib
import json
import os
from pathlib import Path
from typing import Any, Final, cast

from ..model.rule_text import RuleText
from .wal_files import sync_folder

NAME: Final = "collector-rules.json"
_MOST_BYTES: Final = 1024 * 1024
"""A body of 128 KiB, every character of it escaped, is shorter."""


class RuleFileUnusable(Exception):
    """The file cannot be read, or is not what was written; or cannot be written. One line."""


def load_rule_file(folder: Path) -> RuleText | None:
    """None: there is none. Raises RuleFileUnusable."""
    path = folder / NAME
    try:
        with path.open("rb") as file:
            told = json.loads(file.read(_MOST_BYTES))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RuleFileUnusable(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise RuleFileUnusable(f"{path} is damaged: it is no JSON") from None
    return _checked(path, told)


def save_rule_file(folder: Path, text: RuleText) -> None:
    """Returns when it would outlive a power cut. Raises RuleFileUnusable, and the former is still there."""
    path, made = folder / NAME, folder / f".{NAME}"
    told = {"version": text.version, "body": text.body, "digest": text.digest.hex()}
    try:
        with made.open("wb") as file:
            file.write(json.dumps(told).encode())
            file.flush()
            os.fsync(file.fileno())
        made.rename(path)
        sync_folder(folder)
    except OSError as error:
        with contextlib.suppress(OSError):
            made.unlink(missing_ok=True)
        raise RuleFileUnusable(f"{path} cannot be written: {error.strerror}") from None


def _checked(path: Path, told: object) -> RuleText:
    found = cast("dict[str, Any]", told) if isinstance(told, dict) else {}
    version, body = found.get("version"), found.get("body")
    if isinstance(version, str) and isinstance(body, str):
        text = RuleText(version, body)
        if found.get("digest") == text.digest.hex():
            return text
    raise RuleFileUnusable(f"{path} is damaged: what is in it is not what was written")
