"""Who is let in no more, whatever the authority signed: a file of the operator's, read again when it changes.

One entry a line: ``sha256:`` and a certificate's fingerprint, ``serial:`` and its
serial number, both hexadecimal, colons allowed, or ``host:`` and a host's id. ``#`` begins a comment.
"""

import logging
import re
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..plugins.tls_certificate import Certificate
from ..plugins.tls_watch import Stamp, settled, stamp_of

log = logging.getLogger(__name__)
_LARGEST_BYTES: Final = 8 * 1024 * 1024
_FINGERPRINT: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_SERIAL: Final = re.compile(r"[0-9a-f]{1,40}", re.ASCII)
"""At most 20 octets (RFC 5280 section 4.1.2.2)."""


@dataclass(frozen=True, slots=True)
class Revoked:
    """An empty list revokes nobody."""

    fingerprints: frozenset[str] = frozenset()
    serials: frozenset[int] = frozenset()
    hosts: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.fingerprints or self.serials or self.hosts)

    def why(self, host_id: str, certificate: Certificate) -> str:
        """The entry that revokes; empty if none does."""
        if certificate.sha256 in self.fingerprints:
            return f"sha256:{certificate.sha256}"
        if certificate.serial in self.serials:
            return f"serial:{certificate.serial:x}"
        return f"host:{host_id}" if host_id in self.hosts else ""


def read_revoked(path: Path) -> Revoked:
    """Raises OSError, and ValueError, whose text names the line."""
    if path.stat().st_size > _LARGEST_BYTES:
        raise ValueError(f"is larger than {_LARGEST_BYTES} bytes")
    fingerprints, serials, hosts = set[str](), set[int](), set[str]()
    for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
        entry = line.partition("#")[0].strip()
        kind, _, told = entry.partition(":")
        digits = told.replace(":", "").strip().lower()
        if kind == "sha256" and _FINGERPRINT.fullmatch(digits):
            fingerprints.add(digits)
        elif kind == "serial" and _SERIAL.fullmatch(digits):
            serials.add(int(digits, 16))
        elif kind == "host" and told.strip():
            hosts.add(told.strip())
        elif entry:
            raise ValueError(f"line {number}: must be sha256:, serial: or host: and what that is, such as host:gpu-07")
    return Revoked(frozenset(fingerprints), frozenset(serials), frozenset(hosts))


class RevokedFile:
    """The list in force: the last that could be read. Any thread may look."""

    def __init__(self, path: Path | None) -> None:
        self.now = Revoked()
        self.trouble = ""
        """Why the file as it is now is not in force; empty while it is."""
        self._path = path
        self._seen: Stamp | None = None
        self._lock = threading.Lock()

    def look(self) -> None:
        """Reads the file if it changed. What cannot be read changes nothing, and is said once."""
        if self._path is None:
            return
        with self._lock:
            try:
                stamp = stamp_of(self._path)
                if stamp != self._seen:
                    self._seen = stamp if settled([stamp]) else None
                    self._take(read_revoked(self._path))
                    self._say("")
            except OSError as error:
                self._seen = None
                self._say(f"intake.revoked: {self._path} cannot be read: {error.strerror}")
            except ValueError as bad:
                self._say(f"intake.revoked: {self._path} {bad}")

    def _take(self, new: Revoked) -> None:
        if new != self.now:
            count = len(new.fingerprints) + len(new.serials) + len(new.hosts)
            log.info("intake.revoked: %d entries are in force", count)
        self.now = new

    def _say(self, trouble: str) -> None:
        if trouble and trouble != self.trouble:
            log.error("%s: the list as it was before stays in force", trouble)
        self.trouble = trouble
