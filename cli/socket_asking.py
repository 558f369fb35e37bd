"""Asking the daemon of this host over its control socket: one answer, or one line that says why there is none."""

import json
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

DEFAULT_SOCKET = "/run/gputally/daemon.sock"
ANSWER_WITHIN_S = 5.0
LARGEST_BYTES = 64 * 1024 * 1024
TRIES = 3
SHOW_EVERY_S = 1.0


class NoDaemon(Exception):
    """Nobody answers, or not as asked. The message names the socket."""


def ask_daemon(
    path: str,
    request: dict[str, Any] | None = None,
    within_s: float = ANSWER_WITHIN_S,
    on_wait: Callable[[float], None] | None = None,
) -> dict[str, Any]:
    """What the daemon behind this socket says of itself, or how the request went. Raises NoDaemon.

    ``on_wait`` is told every second for how many this takes.
    """
    told = _ask_once(path, request, within_s, on_wait)
    for _ in range(TRIES):
        if request is None or "outcome" in told:
            return told
        # It took our silence, as we were slow to speak, for the question how it is: nothing was done.
        told = _ask_once(path, request, within_s, on_wait)
    raise NoDaemon(f"{path}: the daemon only says how it is: it is of a version that takes no requests")


def _ask_once(
    path: str, request: dict[str, Any] | None, within_s: float, on_wait: Callable[[float], None] | None
) -> dict[str, Any]:
    try:
        with socket.socket(socket.AF_UNIX) as asked:
            asked.settimeout(within_s)
            asked.connect(path)
            with suppress(OSError):  # it may have answered and closed already
                if request is not None:
                    asked.sendall(json.dumps(request).encode() + b"\n")
                asked.shutdown(socket.SHUT_WR)  # else it would wait a moment for more
            told: dict[str, Any] = json.loads(_line(asked, within_s, on_wait))
            return told
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        cure = "is gputallyd running, and is this its control.socket?"
        raise NoDaemon(f"{path}: no daemon answers ({reason}); {cure}") from None


def _line(asked: socket.socket, within_s: float, on_wait: Callable[[float], None] | None) -> bytes:
    began_s, line = time.monotonic(), bytearray()
    while not line.endswith(b"\n") and len(line) < LARGEST_BYTES:
        left_s = began_s + within_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError(f"nothing within {within_s:g} s")
        asked.settimeout(min(left_s, SHOW_EVERY_S))
        try:
            part = asked.recv(1 << 16)
        except TimeoutError:
            if on_wait is not None:
                on_wait(time.monotonic() - began_s)
            continue
        if not part:
            break
        line += part
    return bytes(line)
