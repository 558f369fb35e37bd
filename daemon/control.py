"""The local socket that ``gputally status`` asks: whoever connects is told, as one line of JSON.

Who sends a line of JSON first, ``{"request": "release"}`` and what else it takes, asks for something
to be done, and is answered ``{"request": ..., "outcome": ..., "words": ...}``. Who sends nothing is
told the status: at once if it shuts its side down, else after a moment's silence.
"""

import contextlib
import json
import logging
import os
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

import trio

from ..model.exits import Exit

log = logging.getLogger(__name__)

ANSWER_WITHIN_S = 5.0
SILENT_S = 0.2
"""Who has said nothing for so long asks for the status."""
LONGEST_REQUEST_BYTES = 4096
MAX_CLIENTS = 8
"""Beyond these, clients wait in the listen queue."""
_CREDENTIALS = struct.Struct("3i")


class Outcome(StrEnum):
    DONE = "done"
    NOT_YET = "not_yet"
    """It is on its way: ask again."""
    UNKNOWN = "unknown"
    """What was named is not there."""
    REFUSED = "refused"
    """It is there, and must not be done."""
    FORBIDDEN = "forbidden"
    BAD = "bad"


Told = dict[str, Any]
Command = Callable[[Told], Awaitable[tuple[Outcome, str]]]
"""Does what a request asks for, and says in one line how it went."""


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
        Path(path).chmod(0o660)  # whatever the umask: the service's group may ask for the status
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


async def serve(
    listener: socket.socket, describe: Callable[[], Awaitable[Told]], commands: Mapping[str, Command]
) -> None:
    """Answers until it is cancelled, a few clients at a time; whatever one of them does costs the others nothing."""
    listening = trio.socket.from_stdlib_socket(listener.dup())
    room = trio.CapacityLimiter(MAX_CLIENTS)

    async def answer(client: trio.SocketStream) -> None:
        try:
            told = await _answer(client, describe, commands)
            with trio.move_on_after(ANSWER_WITHIN_S):
                await client.send_all(json.dumps(told).encode() + b"\n")
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


async def _answer(
    client: trio.SocketStream, describe: Callable[[], Awaitable[Told]], commands: Mapping[str, Command]
) -> Told:
    line = await _hear(client)
    if not line:
        return await _guarded(describe)
    try:
        asked: Any = json.loads(line)
        name = asked["request"]
        command = commands[name]
    except (ValueError, TypeError, LookupError, RecursionError):  # the last: brackets in brackets
        return {"request": None, "outcome": Outcome.BAD, "words": f"not a request; known are {', '.join(commands)}"}
    if not _may_ask(uid := _uid_of(client)):
        words = f"only root and the daemon's own user (uid {os.geteuid()}) may ask for this, not uid {uid}"
        return {"request": name, "outcome": Outcome.FORBIDDEN, "words": words}
    outcome, words = await command(asked)
    log.info("uid %d asked for %s: %s", uid, name, words)
    return {"request": name, "outcome": outcome, "words": words}


async def _hear(client: trio.SocketStream) -> bytes:
    """A request, or nothing: of one who says nothing for a moment, or that it will say nothing."""
    line = b""
    with trio.move_on_after(SILENT_S):
        while not line.endswith(b"\n") and len(line) < LONGEST_REQUEST_BYTES:
            part = await client.receive_some(LONGEST_REQUEST_BYTES)
            if not part:
                break
            line += part
    return line


async def _guarded(describe: Callable[[], Awaitable[Told]]) -> Told:
    try:
        return await describe()
    except Exception as error:
        log.exception("what the daemon says of itself cannot be put together")
        return {"error": f"{type(error).__name__}: {error}"}


def _may_ask(uid: int) -> bool:
    return uid in (0, os.geteuid())


def _uid_of(client: trio.SocketStream) -> int:
    """Whoever connected, by the kernel's word: SO_PEERCRED (unix(7)) gives pid, uid and gid."""
    told = client.socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    uid: int = _CREDENTIALS.unpack(told)[1]
    return uid


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
