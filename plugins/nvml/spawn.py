"""The daemon's end of a child: its process, its pipes, and the page that says where it is."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from . import codec
from .marker import INIT, Marker, Where, new_page
from .replies import Reply, Told, parse

_MAIN = "from gputally.plugins.nvml.child import main; main()"
_PACKAGES = str(Path(__file__).absolute().parents[3])
"""Where gputally is, should an editable install have hidden it from ``sys.path``."""
_READ_BYTES = 65536
_ASK_ALL = codec.pack([])

_left_behind: list["subprocess.Popen[bytes]"] = []
"""Processes in uninterruptible sleep that the daemon ends without; held, so that nothing waits for them."""


class ChildGoneError(Exception):
    """The child has ended, or no longer speaks our language."""


class Child:
    """A running child. Raises OSError if the system refuses a process.

    ``wants``: whether accounting is to be switched on, and whether error events are to be looked for.
    """

    def __init__(self, number: int, environment: Mapping[str, str], wants: tuple[bool, bool]) -> None:
        self.number = number
        self.device_ids: dict[int, str] = {}
        """By the index that this child uses: an index means something only within one life."""
        self.unopened = False
        """Whether it met a device that it could not open."""
        self._inbox = codec.Inbox()
        self._request_fd: int | None = None
        self._start(environment, wants)

    def _start(self, environment: Mapping[str, str], wants: tuple[bool, bool]) -> None:
        requests, request_fd = os.pipe()
        reply_fd, replies = os.pipe()
        page = new_page()
        try:
            self.marker = Marker(page)
            self.marker.enter(INIT, 0, time.clock_gettime_ns(time.CLOCK_BOOTTIME))  # until it says more
            self._process = _run((requests, replies, page), wants, environment)
        except BaseException:
            os.close(request_fd)
            os.close(reply_fd)
            raise
        finally:
            for fd in (requests, replies, page):
                os.close(fd)
        self._request_fd, self.reply_fd = request_fd, reply_fd
        os.set_blocking(reply_fd, False)
        os.set_blocking(request_fd, False)
        self.pid_fd = os.pidfd_open(self._process.pid)

    @property
    def pid(self) -> int:
        return self._process.pid

    def ask(self, skip: Collection[int]) -> None:
        """Asks for one reading of all devices but ``skip``. Raises ChildGoneError."""
        try:
            os.write(self._request(), _ASK_ALL if not skip else codec.pack([*skip]))
        except OSError as error:
            raise ChildGoneError(f"takes no request: {error.strerror}") from error

    def _request(self) -> int:
        if self._request_fd is None:
            raise ChildGoneError("was told to leave")
        return self._request_fd

    def receive(self) -> Reply | None:
        """The reply to what was last asked, if it is there. Raises ChildGoneError; EOFError once it ends."""
        try:
            data = os.read(self.reply_fd, _READ_BYTES)
        except BlockingIOError:
            return None
        if not data:
            raise EOFError
        try:
            replies = [parse(message) for message in self._inbox.feed(data)]
        except codec.BrokenFrameError as error:
            raise ChildGoneError(f"sent {error}") from error
        return replies[-1] if replies else None

    def met(self, told: Iterable[Told], device_ids: dict[int, str]) -> None:
        """It enumerated its devices."""
        self.device_ids = device_ids
        self.unopened = any(device.uuid is None for device in told)

    def where(self) -> Where:
        return self.marker.where()

    def leave(self) -> None:
        """It shuts NVML down and exits, as soon as the call it may be in returns."""
        if self._request_fd is not None:
            os.close(self._request_fd)
            self._request_fd = None

    def send(self, signal_number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            self._process.send_signal(signal_number)

    def ended(self) -> int | None:
        """The exit status once the process has ended (negative: the signal that ended it)."""
        return self._process.poll()

    def close(self) -> None:
        """Lets go of everything; of a process that still runs, too."""
        self.leave()
        os.close(self.reply_fd)
        os.close(self.pid_fd)
        self.marker.close()
        if self._process.returncode is None:
            _left_behind.append(self._process)


def _run(
    fds: tuple[int, int, int], wants: tuple[bool, bool], environment: Mapping[str, str]
) -> "subprocess.Popen[bytes]":
    """Without ``site``, which costs memory; it finds its modules where we found ours.

    In a session of its own, so that the terminal's signals do not reach it.
    """
    command = [sys.executable, "-P", "-S", "-s", "-c", _MAIN, *map(str, fds), *(str(int(want)) for want in wants)]
    paths = [str(Path(entry).absolute()) for entry in (*sys.path, _PACKAGES) if entry]
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        cwd="/",
        env={**environment, "PYTHONPATH": os.pathsep.join(paths)},
        pass_fds=fds,
        start_new_session=True,
    )
