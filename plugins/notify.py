"""Telling systemd how we are: sd_notify(3), without a library. Says nothing where nobody listens."""

import os
import socket
from collections.abc import Mapping

_US_PER_S = 1_000_000


class Notifier:
    """One datagram per call to the socket that NOTIFY_SOCKET names; every call returns at once.

    A message that cannot be delivered is dropped: the service manager's silence must never stop a meter.
    Protocol and variables: sd_notify(3), sd_watchdog_enabled(3).
    """

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._address = _address(environ.get("NOTIFY_SOCKET", ""))
        self._watchdog_interval_s = _watchdog_interval_s(environ)
        self._socket: socket.socket | None = None
        if self._address:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self._socket.setblocking(False)

    @property
    def watchdog_interval_s(self) -> float | None:
        """Half of what systemd allows between two calls of ``watchdog()``; None: it does not watch us."""
        return self._watchdog_interval_s

    def ready(self) -> None:
        """Startup is over: systemd starts what comes after us."""
        self._send("READY=1")

    def status(self, text: str) -> None:
        """One line for `systemctl status`."""
        self._send("STATUS=" + " ".join(text.split()))

    def watchdog(self) -> None:
        """We make progress. Not called while any part that must make progress does not."""
        self._send("WATCHDOG=1")

    def stopping(self) -> None:
        """The drain has begun."""
        self._send("STOPPING=1")

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, message: str) -> None:
        if self._socket is None:
            return
        try:
            self._socket.sendto(message.encode(), self._address)
        except OSError:
            # Full, gone or forbidden: systemd's own watchdog is the answer to that, not ours.
            return


def _address(told: str) -> str:
    # A leading @ stands for the zero byte of an abstract socket (unix(7)).
    return "\0" + told[1:] if told.startswith("@") else told if told.startswith("/") else ""


def _watchdog_interval_s(environ: Mapping[str, str]) -> float | None:
    allowed_us, pid = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
    if not allowed_us.isdecimal() or int(allowed_us) == 0 or pid not in ("", str(os.getpid())):
        return None
    return int(allowed_us) / _US_PER_S / 2
