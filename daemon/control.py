"""The local socket that ``gputally status`` asks: whoever connects is told, as one line of JSON."""

import contextlib
import json
import logging
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import trio

from ..model.exits import Exit

log = logging.getLogger(__name__)

ANSWER_WITHIN_S = 5.0
MAX_CLIENTS = 8
"""Beyond these, clients wait in the listen queue."""


class ControlUnusable(Exception):
    """The socket cannot be opened. The message names it and the cure.

    ``exit_code`` is 69 where another daemon has it, 78 where the configuration or the permissions must change.
    """

    def __init__(self, why: str, exit_code: Exit = Exit.CONFIG) -> None:
        super().__init__(f"control.socket: {why}")
        self.exit_code = exit_code


def open_control(path: str) -> socket.socket:
    """Listens on the socket, replacing what a former life left there. Raises ControlUnusable."""
    listener = socket.socket(socket.AF_UNIX)
    try:
        _remove_stale(path)
        listener.bind(path)
        listener.listen(MAX_CLIENTS)
    except OSError as error:
        listener.close()
        cure = "its folder must exist and be writable, or set control.socket elsewhere"
        raise ControlUnusable(f"{path} cannot be opened ({error.strerror or error}): {cure}") from None
    return listener


def close_control(listener: socket.socket) -> None:
    """Takes the socket's file away with it."""
    with contextlib.suppress(OSError):
        Path(listener.getsockname()).unlink()
    listener.close()


async def serve_status(listener: socket.socket, describe: Callable[[], dict[str, Any]]) -> None:
    """Answers until it is cancelled, a few clients at a time; whatever one of them does costs the others nothing."""
    listening = trio.socket.from_stdlib_socket(listener.dup())
    room = trio.CapacityLimiter(MAX_CLIENTS)

    async def answer(client: trio.SocketStream) -> None:
        try:
            with trio.move_on_after(ANSWER_WITHIN_S):
                await client.send_all(_line(describe))
        except trio.BrokenResourceError:
            pass  # it hung up: nothing is asked of us any more
        finally:
            room.release_on_behalf_of(client)
            await trio.aclose_forcefully(client)

    async with trio.open_nursery() as nursery:
        while True:
            accepted, _ = await listening.accept()
            client = trio.SocketStream(accepted)
            await room.acquire_on_behalf_of(client)
            nursery.start_soon(answer, client)


def _line(describe: Callable[[], dict[str, Any]]) -> bytes:
    try:
        told = describe()
    except Exception as error:
        log.exception("what the daemon says of itself cannot be put together")
        told = {"error": f"{type(error).__name__}: {error}"}
    return json.dumps(told).encode() + b"\n"


def _remove_stale(path: str) -> None:
    """A socket that nobody listens on is a former life's; one that answers is another daemon's."""
    if not Path(path).is_socket():
        if Path(path).exists():
            raise ControlUnusable(f"{path} is there already and is no socket: remove it, or set another path")
        return
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            Path(path).unlink()
        else:
            raise ControlUnusable(f"another daemon answers on {path}: stop it, or set another", Exit.UNAVAILABLE)
