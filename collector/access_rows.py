"""What of a request is written down: never a secret, never without a bound."""

from collections.abc import Sequence
from hashlib import sha256
from typing import Final
from urllib.parse import parse_qsl, urlencode

from .tokens import Token

LONGEST: Final = 2_000
_HIDDEN: Final = "..."
_SECRETS: Final = ("token", "secret", "password", "authorization", "bearer", "api_key", "apikey")


def shown_path(path: str) -> str:
    """Without what a terminal would obey: the row is also a line of the process's log."""
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in path[:LONGEST])


def shown_query(query: bytes, tokens: Sequence[Token]) -> str:
    """The query without what is a token of ours, or is called like one by whoever put it there by mistake."""
    pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True, max_num_fields=None)
    known = {token.sha256.lower() for token in tokens}
    return urlencode([(name, _shown(name, value, known)) for name, value in pairs])[:LONGEST]


def _shown(name: str, value: str, known: set[str]) -> str:
    called_so = any(secret in name.lower() for secret in _SECRETS)
    return _HIDDEN if called_so or sha256(value.encode(errors="replace")).hexdigest() in known else value
