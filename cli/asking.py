"""Asking a collector's API over HTTP: one answer, or one line that says why there is none."""

import http.client
import json
import os
import sys
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode, urlsplit
from urllib.request import Request, urlopen

import click

from ..model.exits import Exit

TOKEN_VARIABLE = "GPUTALLY_TOKEN"
USAGE_KEYS = frozenset({"items", "count", "next", "grand_total", "completeness"})
_TIMEOUT_S = 60.0
_CHUNK_BYTES = 256 * 1024
_LARGEST_BYTES = 256 * 1024 * 1024


class NoAnswer(Exception):
    """One line for the operator, and the exit code."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(why)
        self.code = code


def read_token(path: Path | None) -> str | None:
    """The token in the file, or else in the environment. Raises NoAnswer for a file that cannot be read."""
    if path is None:
        return os.environ.get(TOKEN_VARIABLE)
    try:
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise NoAnswer(Exit.NO_INPUT, f"{path}: the token cannot be read: {error}") from None


class Collector:
    """The API at one address."""

    def __init__(self, url: str, token: str | None, timeout_s: float = _TIMEOUT_S) -> None:
        """Raises click.BadParameter if ``url`` is none."""
        if not _is_url(url):
            raise click.BadParameter(f"{url} must be a URL such as http://127.0.0.1:8080", param_hint="--collector")
        self._timeout_s = timeout_s
        self._url = url.rstrip("/")
        self._headers = {"Accept": "*/*", **({"Authorization": f"Bearer {token}"} if token else {})}

    def get(
        self, path: str, parameters: dict[str, str] | None = None, keys: Collection[str] = USAGE_KEYS
    ) -> dict[str, Any]:
        """``path`` may bring its own parameters, as ``next`` does. ``keys``: what the answer must have.

        Raises NoAnswer.
        """
        question = f"?{urlencode(parameters)}" if parameters else ""
        return self._json(Request(self._url + path + question, headers=self._headers), keys)

    def post(self, path: str, body: bytes, keys: Collection[str]) -> dict[str, Any]:
        """``body`` is JSON. Raises NoAnswer."""
        headers = {**self._headers, "Content-Type": "application/json"}
        return self._json(Request(self._url + path, body, headers), keys)

    def _json(self, request: Request, keys: Collection[str]) -> dict[str, Any]:
        raw = b"".join(self._read(request, _LARGEST_BYTES))
        try:
            return _whole(json.loads(raw), keys)
        except ValueError:
            raise self._stranger() from None

    def read(self, path: str, parameters: dict[str, str]) -> Iterator[bytes]:
        """The answer's bytes as they come. Raises NoAnswer, also in the middle."""
        return self._read(Request(f"{self._url}{path}?{urlencode(parameters)}", headers=self._headers), None)

    def _read(self, request: Request, most_bytes: int | None) -> Iterator[bytes]:
        try:
            with urlopen(request, timeout=self._timeout_s) as response:
                yield from _chunks(response, most_bytes)
        except HTTPError as error:
            raise NoAnswer(Exit.REFUSED, f"{self._url}: {_problem(error)}") from None
        except OSError as error:
            reason = printable(str(getattr(error, "reason", error)))
            raise NoAnswer(Exit.UNAVAILABLE, f"{self._url} does not answer: {reason}: is a collector there?") from None
        except http.client.IncompleteRead:
            raise NoAnswer(Exit.UNAVAILABLE, f"{self._url}: the answer broke off: ask again") from None
        except http.client.HTTPException:
            # Its text is what came, byte by byte; of a gRPC port, that is no text at all.
            raise NoAnswer(
                Exit.UNAVAILABLE, f"{self._url} answers, but not in HTTP: --collector wants the address of api.listen"
            ) from None
        except ValueError:
            raise self._stranger() from None

    def _stranger(self) -> NoAnswer:
        return NoAnswer(Exit.UNAVAILABLE, f"{self._url} answers, but not as a collector does")


def _chunks(response: http.client.HTTPResponse, most_bytes: int | None) -> Iterator[bytes]:
    left = sys.maxsize if most_bytes is None else most_bytes
    while left and (chunk := response.read(min(left, _CHUNK_BYTES))):
        left -= len(chunk)
        yield chunk
    if response.length:
        # read(n) of http.client ends quietly where the other side went away.
        raise http.client.IncompleteRead(b"", response.length)


def printable(text: str) -> str:
    """What a stranger said, fit for a terminal."""
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


def _whole(answer: Any, keys: Collection[str]) -> dict[str, Any]:
    """The answer, if it is a collector's. Raises ValueError for what another service says in JSON."""
    if not isinstance(answer, dict) or not set(answer) >= set(keys):  # pyright: ignore[reportUnknownArgumentType]
        raise ValueError("no answer of a collector")
    return answer  # pyright: ignore[reportUnknownVariableType]


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return (
            parts.scheme in ("http", "https")
            and bool(parts.hostname)
            and parts.port != 0
            and text.isprintable()
            and " " not in text
        )
    except ValueError:  # brackets that do not close, a port that is none
        return False


def _problem(error: HTTPError) -> str:
    try:
        body = json.loads(error.read(_LARGEST_BYTES))
        return printable(f"{error.code} {body['title']}: {body['detail']}")
    except (ValueError, KeyError, TypeError, OSError, http.client.HTTPException):
        return printable(f"{error.code} {error.reason}")
