"""The host's side of mutual TLS while it runs: which files are in force, and when they run out."""

import time
from typing import Any, Final

from ..plugins.tls import TlsFiles
from ..plugins.tls_expiry import Reminder, Term, Validity
from ..plugins.tls_watch import Identity, WatchedFiles
from .config import UplinkConfig

LOOK_EVERY_S: Final = 10.0
"""A changed file is taken up within this time, also by a stream that is never idle."""


class Credentials:
    """None of it is there where the configuration says plaintext, or nothing at all."""

    def __init__(self, settings: UplinkConfig) -> None:
        self._warn_days = settings.expiry_warning_days
        self._files = None
        if settings.ca and settings.certificate and settings.key and not settings.insecure_plaintext:
            self._files = WatchedFiles(TlsFiles.of(settings.ca, settings.certificate, settings.key), "uplink")
        self._reminder = Reminder("uplink")
        self._terms: list[Term] = []
        self.number = 0
        """Counts the changes of what is in force: a stream that began with another one is outdated."""

    def current(self) -> Identity | None:
        """None: plaintext. Reads files: not for the event loop. Raises BadCredentials."""
        if self._files is None:
            return None
        identity = self._files.current()
        self.number = identity.number
        return identity

    def look(self) -> None:
        """Takes up what has changed, and warns of what runs out. Reads files. Raises BadCredentials."""
        if self._files is not None:
            self.current()
            self._terms = self._files.terms(self._warn_days)
            self._reminder.look(self._terms, time.monotonic())

    def trouble(self) -> str:
        """What is wrong with our own files as far as we can see; asked when a connection failed. Reads files."""
        if self._files is None:
            return ""
        bad = (Validity.EXPIRED, Validity.NOT_YET_VALID)
        terms = [f"uplink.{term.key}: {term}" for term in self._files.terms(0) if term.validity in bad]
        return "; ".join([*terms, self._files.trouble] if self._files.trouble else terms)

    def described(self) -> dict[str, Any]:
        """As of the last look; for ``gputally status``."""
        return {
            "trouble": (self._files.trouble if self._files else "") or None,
            "files": [term.described() for term in self._terms],
        }
