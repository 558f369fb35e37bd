"""Public keys that somebody brought to the collector by another way than the ledger, and what checks a signature."""

import re
from pathlib import Path
from typing import Final

from ..model.key_ring import Check

NO_CHECK: Final = "signatures were not looked at: that needs the package cryptography: pip install 'gputally[sign]'"
_LINE: Final = re.compile(r"(\S{1,255})\s+([0-9a-fA-F]{64})\s*(?:#.*)?")
_MOST_BYTES: Final = 64 * 1024 * 1024
"""Some hundred thousand hosts."""


class BadTrustedKeys(Exception):
    """The file cannot be used; the message names the line."""


def read_trusted_keys(path: Path) -> dict[str, frozenset[bytes]]:
    """Lines of a host's id and a public key in hexadecimal; a host may have several, # begins a comment.

    Raises BadTrustedKeys.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(_MOST_BYTES + 1)
        text = raw.decode()
    except OSError as error:
        raise BadTrustedKeys(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise BadTrustedKeys(f"{path} is no text") from None
    if len(raw) > _MOST_BYTES:
        raise BadTrustedKeys(f"{path} has more than {_MOST_BYTES} bytes")
    found: dict[str, frozenset[bytes]] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.lstrip().startswith("#"):
            host_id, public_key = _read_line(path, number, line.strip())
            found[host_id] = found.get(host_id, frozenset()) | {public_key}
    return found


def load_check() -> Check | None:
    """None where the package cryptography is not installed."""
    try:
        from ..plugins.ed25519 import check
    except ModuleNotFoundError:
        return None
    return check


def _read_line(path: Path, number: int, line: str) -> tuple[str, bytes]:
    found = _LINE.fullmatch(line)
    if found is None:
        raise BadTrustedKeys(f"{path}:{number}: must be a host's id and 64 hexadecimal digits of a public key")
    return found[1], bytes.fromhex(found[2])
