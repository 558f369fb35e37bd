"""Where the child is: one shared page that tells even while a call into the driver hangs.

The child writes it, the daemon looks only when an answer is late. The fields are
not written together, which does no harm: a child that hangs has long since
written them all.
"""

import mmap
import os

IDLE, INIT, OPEN, READ, SHUTDOWN, EVENTS = range(6)
"""Stages: waiting for a request; nvmlInit; a device's handle; reading a device; nvmlShutdown; looking for events."""

PAGE_BYTES = 4096


class Where:
    """A look at the page. ``device`` means something only in the stages OPEN and READ."""

    __slots__ = ("call", "device", "since_ns", "stage")

    def __init__(self, stage: int, device: int, call: int, since_ns: int) -> None:
        self.stage = stage
        self.device = device
        self.call = call
        self.since_ns = since_ns

    def __str__(self) -> str:
        words = (
            "idle",
            "in nvmlInit",
            "opening device {}",
            "reading device {} (call {})",
            "in nvmlShutdown",
            "looking for events",
        )
        return words[self.stage % len(words)].format(self.device, self.call)


class Marker:
    """The page, as its writer and its reader see it. ``fd`` is a memfd of PAGE_BYTES."""

    __slots__ = ("_map", "_small", "_times", "now_in")

    def __init__(self, fd: int) -> None:
        self._map = mmap.mmap(fd, PAGE_BYTES)
        self._times = memoryview(self._map)[:8].cast("Q")
        self._small = memoryview(self._map)[8:20].cast("I")
        self.now_in = self._small[2:]
        """The number of the call it is in, to be written before each."""

    def enter(self, stage: int, device: int, now_ns: int) -> None:
        """Before the first of a series of calls; ``now_ns`` is CLOCK_BOOTTIME."""
        self._times[0] = now_ns
        self._small[1] = device
        self._small[0] = stage

    def where(self) -> Where:
        stage, device, call = self._small
        return Where(stage, device, call, self._times[0])

    def close(self) -> None:
        self._times.release()
        self.now_in.release()
        self._small.release()
        self._map.close()


def new_page() -> int:
    """A file descriptor for a Marker; the caller closes it."""
    fd = os.memfd_create("gputally-nvml-marker")
    os.ftruncate(fd, PAGE_BYTES)
    return fd
