"""systemd hears what the daemon says, and the daemon never waits for systemd."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from secrets import token_hex

import pytest

from gputally.plugins.notify import Notifier


def listen(address: str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listener.bind(address)
    listener.settimeout(5)
    return listener


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "notify")


@pytest.fixture
def systemd(path: str) -> Iterator[socket.socket]:
    with listen(path) as listener:
        yield listener


def test_each_word_is_one_datagram(systemd: socket.socket, path: str) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": path})
    notifier.ready()
    notifier.status("metering\n8 GPUs")
    notifier.watchdog()
    notifier.stopping()
    notifier.close()
    said = [systemd.recv(100) for _ in range(4)]
    assert said == [b"READY=1", b"STATUS=metering 8 GPUs", b"WATCHDOG=1", b"STOPPING=1"]


def test_a_socket_without_a_file_is_found() -> None:
    name = f"gputally-test-{token_hex(8)}"
    with listen("\0" + name) as listener:
        Notifier({"NOTIFY_SOCKET": "@" + name}).ready()
        assert listener.recv(100) == b"READY=1"


def test_without_systemd_nothing_is_said_and_nothing_breaks() -> None:
    notifier = Notifier({})
    notifier.ready()
    notifier.close()
    assert notifier.watchdog_interval_s is None


def test_a_systemd_that_is_gone_or_full_does_not_stop_the_daemon(systemd: socket.socket, path: str) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": path})
    for _ in range(1000):  # far more than a datagram socket queues
        notifier.watchdog()
    systemd.close()
    notifier.ready()


@pytest.mark.parametrize(
    ("environ", "interval_s"),
    [
        ({"WATCHDOG_USEC": "10000000"}, 5.0),
        ({"WATCHDOG_USEC": "10000000", "WATCHDOG_PID": str(os.getpid())}, 5.0),
        ({"WATCHDOG_USEC": "10000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "often"}, None),
    ],
)
def test_the_watchdog_is_fed_twice_as_often_as_systemd_asks(environ: dict[str, str], interval_s: float | None) -> None:
    assert Notifier(environ).watchdog_interval_s == interval_s
