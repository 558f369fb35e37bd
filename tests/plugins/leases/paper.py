"""A lease file in a folder of its own, and readings with clocks that the test sets."""

import os
from datetime import datetime
from itertools import count
from pathlib import Path

from gputally.model.claims import Claim
from gputally.model.reading import Device, HostReading
from gputally.model.usage import Partition, Slices
from gputally.plugins.leases import LeaseFile
from gputally.plugins.leases.lease import to_ns

S = 1_000_000_000
HOUR = 3600 * S
GPU = "nvidia:GPU-0"
GPUS = (Device(GPU, "H100", 1), Device("nvidia:GPU-1", "H100", 1))
MIG = (
    Device("nvidia:GPU-2", "H100", 1, partition=Partition(7, 8)),
    Device("nvidia:MIG-a", "H100", 1, slices=Slices("nvidia:GPU-2", 3, 7, 4, 8)),
    Device("nvidia:MIG-b", "H100", 1, slices=Slices("nvidia:GPU-2", 4, 7, 4, 8)),
)
BOOT_WALL_NS = to_ns(datetime.fromisoformat("2026-11-01T00:00:00+00:00"))
"""The wall clock at CLOCK_BOOTTIME 0."""
_mtimes = count(1)


def lease(name: str = "l1", **keys: str) -> str:
    """One table; values as TOML writes them. An empty one leaves the key out."""
    told = {
        "id": f'"{name}"',
        "tenant": '"acme"',
        "devices": '["GPU-0"]',
        "from": "2026-11-01T00:00:00Z",
        **{key.rstrip("_"): value for key, value in keys.items()},
    }
    return "[[leases]]\n" + "".join(f"{key} = {value}\n" for key, value in told.items() if value)


def at(hours: float) -> str:
    """A date and time so long after the boot."""
    return datetime.fromtimestamp((BOOT_WALL_NS + round(hours * HOUR)) / S, tz=None).astimezone().isoformat()


def write(path: Path, text: str) -> None:
    """As an editor does: another file takes its place. Its time of change differs even on a coarse clock."""
    new = path.with_suffix(".new")
    new.write_text(text)
    os.utime(new, ns=(0, next(_mtimes)))
    new.replace(path)


class PaperClock:
    """Asks a lease file at instants that the test names."""

    def __init__(self, path: Path, text: str, devices: tuple[Device, ...] = GPUS) -> None:
        self.path, self.devices = path, devices
        self.offset_ns = BOOT_WALL_NS
        self.now_ns = 0
        write(path, text)
        self.source = LeaseFile(path)

    def ask(self, boot_ns: int | None = None) -> tuple[Claim, ...]:
        """The claims at this instant, or at the last one."""
        self.now_ns = self.now_ns if boot_ns is None else boot_ns
        reading = HostReading(self.now_ns, self.now_ns + self.offset_ns, S, (), devices=self.devices)
        return self.source.claims(reading)

    def after_a_change(self) -> tuple[Claim, ...]:
        """After the two looks that it takes to believe that a file stands still."""
        self.ask(self.now_ns + S)
        return self.ask(self.now_ns + S)
