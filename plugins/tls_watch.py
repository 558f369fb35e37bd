"""The three files of mutual TLS while a process runs: taken up when they change, and only if they are good.

Whoever renews certificates writes two or three files one after the other, and
sometimes the wrong ones. So what was good stays in force until all of the new is
good together; until then the trouble is logged once and shown.
"""

import logging
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from .tls import TlsFiles, tls_problems
from .tls_expiry import Chain, Term, Validity, certificates_in, terms_of

log = logging.getLogger(__name__)
_SETTLED_S: Final = 2.0
"""A file written again within one tick of the kernel's clock (4 ms or so) may keep its time: younger ones are read."""
_TRY_AGAIN_S: Final = 1.0
"""Bad files are not checked more often than this, however many connections ask."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What is in force, as PEM. ``number`` counts the changes since the start."""

    ca: bytes
    certificate: bytes
    key: bytes
    authorities: Chain
    chain: Chain
    number: int


class BadCredentials(Exception):
    """A file of the TLS identity cannot be used; the message names its key and path."""


Stamp = tuple[int, int, int, int]


class WatchedFiles:
    """Any thread may ask."""

    def __init__(self, files: TlsFiles, table: str) -> None:
        """``table`` of the configuration, for messages: uplink or intake. Reads nothing yet."""
        self.files = files
        self.trouble = ""
        """Why the files as they are now are not in force; empty while they are."""
        self._table = table
        self._lock = threading.Lock()
        self._held: Identity | None = None
        self._seen: tuple[Stamp, ...] | None = None
        self._again_s = float("-inf")

    def current(self) -> Identity:
        """What is in force, the newest that is good. Reads files if they changed. Raises BadCredentials if none is."""
        with self._lock:
            self._look()
            if self._held is None:
                raise BadCredentials(self.trouble)
            return self._held

    def terms(self, warn_days: float) -> list[Term]:
        """How long what is in force is good for; nothing if nothing is."""
        with self._lock:
            held = self._held
        return [] if held is None else terms_of(self.files, held.authorities, held.chain, time.time(), warn_days)

    def _look(self) -> None:
        stamps = self._stamps()
        if stamps is not None and stamps == self._seen:
            return
        if self._held is not None and time.monotonic() < self._again_s:
            return
        self._seen = None
        trouble = self._take()
        if not trouble and stamps is not None and settled(stamps):
            self._seen = stamps
        if trouble:
            self._again_s = time.monotonic() + _TRY_AGAIN_S
        self._tell(trouble)

    def _take(self) -> str:
        """Why the files are not taken up; empty if they are."""
        try:
            read = self.files.read()
            if self._held is not None and read == (self._held.ca, self._held.certificate, self._held.key):
                return ""
            if problems := tls_problems(self.files):
                return "; ".join(f"{self._table}.{key}: {what}" for key, what in problems)
            if read != self.files.read():
                return f"{self._table}: the files are being changed"
        except OSError as error:
            return f"{self._table}: {error.filename} cannot be read: {error.strerror}"
        return self._replace(*read)

    def _replace(self, ca: bytes, certificate: bytes, key: bytes) -> str:
        """What runs out or has not begun is no improvement on what is good."""
        held, number = self._held, 0 if self._held is None else self._held.number + 1
        new = Identity(ca, certificate, key, certificates_in(ca), certificates_in(certificate), number)
        if held is not None and (bad := self._bad(new)) and not self._bad(held):
            return "; ".join(f"{self._table}.{term.key}: {term}" for term in bad)
        self._held = new
        if held is not None:
            log.info("%s: changed TLS files are in force for new connections", self._table)
        return ""

    def _bad(self, identity: Identity) -> list[Term]:
        terms = terms_of(self.files, identity.authorities, identity.chain, time.time(), 0)
        return [term for term in terms if term.validity in (Validity.EXPIRED, Validity.NOT_YET_VALID)]

    def _tell(self, trouble: str) -> None:
        if trouble and trouble != self.trouble and self._held is not None:
            log.error("changed TLS files cannot be used, the former ones stay in force: %s", trouble)
        self.trouble = trouble

    def _stamps(self) -> tuple[Stamp, ...] | None:
        try:
            return tuple(map(stamp_of, (self.files.ca, self.files.certificate, self.files.key)))
        except OSError:
            return None


def stamp_of(path: Path) -> Stamp:
    """Another one if the file changed. Raises OSError."""
    told = path.stat()
    return told.st_ino, told.st_size, told.st_mtime_ns, told.st_ctime_ns


def settled(stamps: Iterable[Stamp]) -> bool:
    """Whether these files, when they change next, will surely have another stamp."""
    return all(abs(time.time() - stamp[3] / 1e9) > _SETTLED_S for stamp in stamps)
