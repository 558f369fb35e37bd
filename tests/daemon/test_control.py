"""The control socket: who says nothing is told how the daemon is; who asks for something must be allowed to."""

import json
import os
import socket
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from gputally.cli.socket_asking import NoDaemon, ask_daemon
from gputally.daemon.control import MAX_CLIENTS, ControlUnusable, Outcome, Told, close_control, open_control, serve
from gputally.model.exits import Exit

NOBODY = 65534


@asynccontextmanager
async def served(path: Path, asked: list[Told]) -> AsyncGenerator[None]:
    async def release(told: Told) -> tuple[Outcome, str]:
        asked.append(told)
        await trio.sleep(told.get("takes_s", 0))
        return Outcome.DONE, "it is let go of"

    async def describe() -> dict[str, Any]:
        return {"ready": True, "long": "x" * 100_000}

    listener = open_control(str(path))
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve, listener, describe, {"release": release})
            yield
            nursery.cancel_scope.cancel()
    finally:
        close_control(listener)


def asking(path: Path, work: Callable[[], Any], asked: list[Told] | None = None) -> Any:
    """What ``work``, in a thread of its own, gets from a daemon that serves the socket."""

    async def main() -> Any:
        async with served(path, [] if asked is None else asked):
            with trio.fail_after(30):
                return await trio.to_thread.run_sync(work, abandon_on_cancel=True)

    return trio.run(main)


def said(path: Path, raw: bytes, shut: bool = False) -> Any:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(20)
        client.connect(str(path))
        client.sendall(raw)
        if shut:
            client.shutdown(socket.SHUT_WR)
        with client.makefile() as answer:
            return json.loads(answer.readline())


def test_who_asks_nothing_is_told_the_status(tmp_path: Path) -> None:
    path = tmp_path / "sock"
    assert asking(path, lambda: ask_daemon(str(path)))["ready"] is True


def test_a_client_of_the_version_before_which_only_listens_is_told_the_status(tmp_path: Path) -> None:
    path = tmp_path / "sock"
    assert asking(path, lambda: said(path, b""))["ready"] is True


def test_a_request_is_carried_out_and_answered(tmp_path: Path) -> None:
    path, asked = tmp_path / "sock", list[Told]()
    told = asking(path, lambda: ask_daemon(str(path), {"request": "release", "within_s": 3}), asked)
    assert told == {"request": "release", "outcome": "done", "words": "it is let go of"}
    assert asked == [{"request": "release", "within_s": 3}]


def test_whoever_waits_is_told_for_how_long(tmp_path: Path) -> None:
    path, waited = tmp_path / "sock", list[float]()
    request = {"request": "release", "takes_s": 2.5}
    assert asking(path, lambda: ask_daemon(str(path), request, 20, waited.append))["outcome"] == "done"
    assert len(waited) >= 2 and waited == sorted(waited)


@pytest.mark.parametrize(
    "raw",
    [
        b"nonsense\n",
        b"[]\n",
        b"7\n",
        b"{}\n",
        b'{"request": "explode"}\n',
        b'{"request": ["release"]}\n',
        b'{"request": {}}\n',
        b"\xff\xfe\n",
        b'{"request": "release"',
        b"{" * 5000,
        b"\n",
    ],
)
def test_what_is_no_request_is_answered_with_what_would_be(tmp_path: Path, raw: bytes) -> None:
    path, asked = tmp_path / "sock", list[Told]()
    told = asking(path, lambda: said(path, raw, shut=True), asked)
    assert told["outcome"] == "bad" and "release" in told["words"] and asked == []


@pytest.mark.root
def test_a_stranger_may_ask_for_nothing_to_be_done(tmp_path: Path) -> None:
    """Even where the socket's permissions let him: the kernel says who he is."""
    path, asked = tmp_path / "sock", list[Told]()
    for folder in (tmp_path, *tmp_path.parents):
        if folder != Path("/tmp") and folder.is_relative_to(Path("/tmp")):
            folder.chmod(0o755)

    def work() -> Any:
        path.chmod(0o666)
        read_fd, write_fd = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            os.write(write_fd, json.dumps([said(path, b'{"request": "release"}\n'), said(path, b"")["ready"]]).encode())
            os._exit(0)
        os.close(write_fd)
        os.waitpid(pid, 0)
        with os.fdopen(read_fd) as told:
            return json.load(told)

    refused, status = asking(path, work, asked)
    assert refused["outcome"] == "forbidden" and f"not uid {NOBODY}" in refused["words"]
    assert status is True and asked == []


def test_clients_that_ask_for_something_slow_leave_room_for_the_status(tmp_path: Path) -> None:
    path = tmp_path / "sock"

    def work() -> Any:
        slow = [socket.socket(socket.AF_UNIX) for _ in range(MAX_CLIENTS - 1)]
        for client in slow:
            client.connect(str(path))
            client.sendall(b'{"request": "release", "takes_s": 600}\n')
        told = ask_daemon(str(path))
        for client in slow:
            client.close()
        return told

    assert asking(path, work)["ready"] is True


def test_the_services_group_may_ask_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        listener = open_control(str(tmp_path / "sock"))
    finally:
        os.umask(before)
    assert (tmp_path / "sock").stat().st_mode & 0o777 == 0o660
    close_control(listener)


def test_the_socket_of_another_daemon_is_left_alone(tmp_path: Path) -> None:
    listener = open_control(str(tmp_path / "sock"))
    with pytest.raises(ControlUnusable) as caught:
        open_control(str(tmp_path / "sock"))
    assert caught.value.exit_code is Exit.UNAVAILABLE
    close_control(listener)
    open_control(str(tmp_path / "sock")).close()  # as a killed daemon leaves it
    close_control(open_control(str(tmp_path / "sock")))


def test_nobody_there_is_one_line_with_the_cure(tmp_path: Path) -> None:
    with pytest.raises(NoDaemon, match=r"none\.sock: no daemon answers .*gputallyd"):
        ask_daemon(str(tmp_path / "none.sock"))


def test_a_daemon_that_takes_no_requests_is_told_apart(tmp_path: Path) -> None:
    """As one of the version before: it writes its status and closes, whatever it is sent."""
    path = tmp_path / "sock"

    async def main() -> None:
        listener = trio.socket.from_stdlib_socket(open_control(str(path)))

        async def old() -> None:
            while True:
                client, _ = await listener.accept()
                await client.send(b'{"ready": true}\n')
                client.close()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(old)
            with pytest.raises(NoDaemon, match="takes no requests"):
                await trio.to_thread.run_sync(ask_daemon, str(path), {"request": "release"})
            assert (await trio.to_thread.run_sync(ask_daemon, str(path)))["ready"] is True
            nursery.cancel_scope.cancel()

    trio.run(main)
