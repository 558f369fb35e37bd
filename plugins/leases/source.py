"""Claims from the lease file: read again when it changes, and converted to CLOCK_BOOTTIME."""

import logging
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Final

from ...model.claims import Claim
from ...model.interval import NS_PER_S
from ...model.reading import Device, HostReading
from ...model.settings import BadSettings
from ...model.usage import ClaimClass
from .edges import Edges
from .lease import Lease, expand, unknown_names
from .lease_file import LeaseBook, Stamp, load_leases, look_at

_log = logging.getLogger(__name__)

LOOK_EVERY_NS: Final = NS_PER_S
DRIFT_NS: Final = 1_000_000
"""By how much the wall clock may be off what it was, before it is asked anew when the next edge comes."""
REMEMBERED_NS: Final = 24 * 3600 * NS_PER_S
"""For how long a claim that has ended is still told."""
_FAR_NS: Final = 2**63 - 1


class LeaseFile:
    """Implements the port ``ClaimSource``. A file that is not good is refused whole; the last good one stays."""

    def __init__(self, path: Path) -> None:
        """Raises BadSettings if the file is not good now: a daemon does not start with half of its leases."""
        self._path = path
        self._book = load_leases(path)
        self.version = self._book.version
        self._edges = Edges()
        self._claims: tuple[Claim, ...] = ()
        self._in_force: set[str] = set()
        self._devices: tuple[Device, ...] | None = None
        self._offset_ns = 0
        self._until_ns = 0
        self._asked_ns = 0
        self._looked_ns: int | None = None
        self._seen: Stamp | None = self._book.stamp
        self._refused: Stamp | None = self._book.stamp
        self._told: set[str] = set()
        self._say_in_force()

    def claims(self, reading: HostReading) -> tuple[Claim, ...]:
        """See the port. A changed file counts from the second look at which it has stood still: after 1 to 2 s.

        An end that is still to come is not told: it moves with the wall clock, and
        claims that change cut segments.
        """
        if self._looked_ns is None or reading.boot_ns - self._looked_ns >= LOOK_EVERY_NS:
            self._looked_ns = reading.boot_ns
            self._look_again()
        if self._is_new(reading):
            self._renew(reading)
        self._asked_ns = reading.boot_ns
        return self._claims

    def close(self) -> None:
        """Holds nothing open."""

    # The file.

    def _look_again(self) -> None:
        """Takes up a changed file. One that is just being written is left alone until it stands still."""
        stamp = look_at(self._path)
        stands_still, self._seen = stamp == self._seen, stamp
        if not stands_still or stamp in (self._book.stamp, self._refused):
            return
        try:
            self._take(load_leases(self._path))
            self._refused = self._book.stamp
        except BadSettings as bad:
            self._refused = stamp
            _log.error("leases: %s\nleases: the last good ones stay in force: version %s", bad, self.version)

    def _take(self, book: LeaseBook) -> None:
        is_same = book.version == self.version
        self._book, self.version = book, book.version
        if is_same:
            return
        self._edges.keep(edge for lease in book.leases for edge in _edges_of(lease))
        self._devices = None
        self._told.clear()
        self._say_in_force()

    def _say_in_force(self) -> None:
        _log.info("leases: %s: %d, version %s", self._path, len(self._book.leases), self.version)

    # The claims.

    def _is_new(self, reading: HostReading) -> bool:
        """Whether there may be something new to say."""
        drift_ns = reading.wall_ns - reading.boot_ns - self._offset_ns
        return reading.boot_ns >= self._until_ns or abs(drift_ns) > DRIFT_NS or reading.devices != self._devices

    def _renew(self, reading: HostReading) -> None:
        self._devices, self._offset_ns = reading.devices, reading.wall_ns - reading.boot_ns
        self._until_ns = _FAR_NS
        in_force: set[str] = set()
        claims = tuple(claim for lease in self._book.leases for claim in self._claims_of(lease, reading, in_force))
        if claims != self._claims:
            self._claims = claims
        self._in_force = in_force
        self._warn(reading)

    def _claims_of(self, lease: Lease, reading: HostReading, in_force: set[str]) -> Iterator[Claim]:
        start_ns = self._when(lease, lease.from_ns, reading, None)
        if start_ns is None:
            return
        came_ns = self._end_of(lease, reading)
        if came_ns is None:
            in_force.add(lease.id)
        elif came_ns <= max(start_ns, reading.boot_ns - REMEMBERED_NS):
            return
        else:
            self._until_ns = min(self._until_ns, came_ns + REMEMBERED_NS)
        for device_id in expand(lease.devices, reading.devices):
            yield _claim(lease, device_id, start_ns, came_ns)

    def _end_of(self, lease: Lease, reading: HostReading) -> int | None:
        """What was claimed stays claimed, wherever the wall clock is stepped to."""
        if lease.to_ns is None:
            return None
        return self._when(lease, lease.to_ns, reading, self._asked_ns if lease.id in self._in_force else None)

    def _when(self, lease: Lease, edge_ns: int, reading: HostReading, not_before_ns: int | None) -> int | None:
        """When this edge came; one that is still to come is looked at again when it does."""
        came_ns = self._edges.boot_ns(lease.id, edge_ns, reading.boot_ns, reading.wall_ns, not_before_ns)
        if came_ns is None:
            self._until_ns = min(self._until_ns, edge_ns - self._offset_ns)
        return came_ns

    # What an operator should know, once for each version of the file.

    def _warn(self, reading: HostReading) -> None:
        present = [lease for lease in self._book.leases if reading.devices and lease.id in self._in_force]
        for lease in present:
            for name in unknown_names(lease.devices, reading.devices):
                self._say(name, f"lease {lease.id} names {name}, which this host has not shown so far")
        for device in reading.devices:
            claims = self._claims_now(device)
            if sum(Fraction(claim.units, claim.of) for claim in claims) > 1:
                who = ", ".join(claim.workload.id for claim in claims)
                self._say(
                    f"{device.device_id} twice", f"{device.device_id}, or its GPU, is leased more than once: {who}"
                )

    def _claims_now(self, device: Device) -> list[Claim]:
        """Those in force on a device, or on the GPU that it is an instance of."""
        names = (device.device_id, device.slices.parent_id if device.slices is not None else "")
        return [each for each in self._claims if each.device_id in names and each.workload.id in self._in_force]

    def _say(self, what: str, text: str) -> None:
        if what not in self._told:
            self._told.add(what)
            _log.warning("leases: %s: %s", self._path, text)


def _claim(lease: Lease, device_id: str, start_ns: int, end_ns: int | None) -> Claim:
    return Claim(
        device_id,
        ClaimClass.LEASE,
        lease.workload,
        lease.owner,
        start_ns,
        end_ns,
        units=lease.units,
        of=lease.of,
        evidence=lease.evidence,
    )


def _edges_of(lease: Lease) -> Iterator[tuple[str, int]]:
    yield lease.id, lease.from_ns
    if lease.to_ns is not None:
        yield lease.id, lease.to_ns
