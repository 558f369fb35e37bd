"""The child's main loop: one request, one reply, until the daemon closes the pipe.

    python -P -S -c '...child import main; main()' REQUEST_FD REPLY_FD MARKER_FD ACCOUNTING EVENTS

ACCOUNTING is 1 if accounting mode is to be switched on, and EVENTS 1 if error events are to be looked for.

It initialises NVML once in its life; to initialise anew, the daemon starts another
child. It is told to leave by the end of the request pipe, which also comes when
the daemon dies, so that it never outlives the daemon by more than one call.
Signals do not end it: SIGTERM at most wakes a driver call that lets itself be
woken, for ending a process in the middle of a call has frozen GPUs in the field.
"""

import os
import signal
import sys
import time
from collections.abc import Container
from contextlib import suppress
from typing import NamedTuple

from . import binding, codec, marker
from .calls import Driver
from .device import WatchedDevice
from .events import Events
from .junk import Junk

READ_BYTES = 65536


def main() -> None:
    """Runs until the request pipe ends; exit status 0, or 70 for a fault of our own, told in one line."""
    request_fd, reply_fd, marker_fd, accounting, events = (int(word) for word in sys.argv[-5:])
    signal.signal(signal.SIGTERM, _stay)
    for number in (signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2):  # the latter two are for the daemon
        signal.signal(number, signal.SIG_IGN)
    status = 0
    try:
        _serve(request_fd, reply_fd, Watch(marker.Marker(marker_fd), Wants(bool(accounting), bool(events))))
    except (OSError, EOFError):
        pass  # the daemon is gone: nobody is left to be told
    except Exception as error:
        status = 70
        os.write(2, f"gputally: the NVML child fails: {type(error).__name__}: {error}\n".encode())
    os._exit(status)


def _stay(_number: int, _frame: object) -> None:
    pass


def _serve(request_fd: int, reply_fd: int, watch: "Watch") -> None:
    inbox = codec.Inbox()
    try:
        while data := os.read(request_fd, READ_BYTES):
            for request in inbox.feed(data):
                _send(reply_fd, codec.pack(watch.reply(request)))
    finally:
        watch.close()


def _send(fd: int, frame: bytes) -> None:
    while frame:
        frame = frame[os.write(fd, frame) :]


class Wants(NamedTuple):
    """What the daemon wants of a child, beside readings."""

    accounting: bool
    events: bool


class Watch:
    """NVML as this process sees it: not yet initialised, refused with a code, or serving devices."""

    def __init__(self, where: marker.Marker, wants: Wants) -> None:
        self._marker = where
        self._wants = wants
        self._driver: Driver | None = None
        self._code: int | None = None
        self._why = ""
        self._initialised = False
        self._devices: list[WatchedDevice] = []
        self._told: list[object] | None = None
        self._junk = Junk()
        self._events: Events | None = None
        self._looked_ns = 0
        self._tick = 0

    def reply(self, request: object) -> list[object]:
        """What codec.py calls a reply, to what it calls a request."""
        skip = codec.read_request(request)
        if self._code is None:
            self._code = self._start(skip)
        xids = self._xids()
        rows = self._rows(skip)
        told, self._told = self._told, None
        return [*self._calls(), self._code, told, rows, self._why, self._junk.take(), xids]

    def _rows(self, skip: Container[int]) -> list[object]:
        rows: list[object] = [device.read(self._tick) for device in self._devices if device.index not in skip]
        self._enter(marker.IDLE)
        self._tick += 1
        return rows

    def _xids(self) -> list[object] | None:
        """What happened since the last look: before the devices are read, as it may be why one cannot be."""
        if self._events is None:
            return None
        now_ns = self._enter(marker.EVENTS)
        since_ns, self._looked_ns = self._looked_ns, now_ns
        flat = self._events.poll()
        return [since_ns, now_ns, flat] if flat else None

    def _calls(self) -> list[int]:
        """Calls since the last reply: those in the budget of a tick, and others."""
        if self._driver is None:
            return [0, 0]
        return self._driver.asker.take_counts()

    def _enter(self, stage: int, device: int = 0) -> int:
        """The time on CLOCK_BOOTTIME."""
        now_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        self._marker.enter(stage, device, now_ns)
        return now_ns

    def _start(self, skip: Container[int]) -> int:
        self._enter(marker.INIT)
        try:
            binding.nvml_init()
            self._initialised = True
            self._driver = Driver(binding.Asker(self._marker))
            if self._wants.events:
                self._events, self._looked_ns = Events(self._driver.asker), self._enter(marker.INIT)
            self._told = [self._driver.version(), self._open_all(self._driver, skip)]
        except binding.NVMLError as error:
            self._why = binding.why_unloadable(error)
            return error.value
        return 0

    def _open_all(self, driver: Driver, skip: Container[int]) -> list[object]:
        """One lost device does not end the enumeration of the others."""
        told: list[object] = []
        for index in range(driver.device_count()):
            if index in skip:
                continue
            self._enter(marker.OPEN, index)
            told.append(self._open(index, driver))
        return told

    def _open(self, index: int, driver: Driver) -> list[object]:
        try:
            device = WatchedDevice(index, driver, self._marker, self._junk)
            told = device.identify(self._wants.accounting)
        except binding.NVMLError:
            return [index, None, "", 0, "", []]
        self._devices.append(device)
        if self._events is not None:
            self._events.watch(index, device.handle)
        return told

    def close(self) -> None:
        """Lets go of the driver politely. It may hang in here as in any call."""
        if self._initialised:
            self._enter(marker.SHUTDOWN)
            with suppress(binding.NVMLError):
                binding.nvml_shutdown()


if __name__ == "__main__":
    main()
