"""The collector's side of mutual TLS while it runs: its files, who is revoked, and when certificates run out."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import grpc

from ..model.exits import Exit
from ..plugins.tls import TlsFiles
from ..plugins.tls_expiry import Reminder, Term
from ..plugins.tls_watch import BadCredentials, Identity, WatchedFiles
from .config import IntakeConfig
from .identity_rule import Auth, IdentityRule
from .intake_identity import check_identity, check_revoked
from .refusal import CannotStart
from .revoked import RevokedFile


class IntakeCredentials:
    """What decides who is let in. Everything may change while streams run, but for the rules of identity."""

    def __init__(self, config: IntakeConfig) -> None:
        assert config.ca and config.certificate and config.key, "the configuration was not checked"
        self._warn_days = config.expiry_warning_days
        self._files = WatchedFiles(TlsFiles.of(config.ca, config.certificate, config.key), "intake")
        self._rules = [IdentityRule.of(rule) for rule in config.identity]
        self._revoked = RevokedFile(Path(config.revoked) if config.revoked else None)
        named = (config.ca, config.certificate, config.key, config.revoked)
        self._paths = [Path(path) for path in named if path]
        self._reminder = Reminder("intake")
        self._terms: list[Term] = []
        self._given = 0

    def for_server(self) -> grpc.ServerCredentials:
        """Mutual TLS: without a certificate that our authority signed there is no stream. Raises CannotStart."""
        try:
            identity = self._files.current()
        except BadCredentials as bad:
            raise CannotStart(Exit.CONFIG, str(bad)) from None
        self.look()
        if self._revoked.trouble:
            raise CannotStart(Exit.CONFIG, self._revoked.trouble)
        fetch = cast(Callable[[], grpc.ServerCertificateConfiguration], self._fetch)  # the stubs forget None
        return grpc.dynamic_ssl_server_credentials(_served(identity), fetch, require_client_authentication=True)

    def look(self) -> None:
        """Takes up what has changed on disk, and warns of what runs out. Reads files: not for the event loop."""
        self._files.current()
        self._revoked.look()
        self._terms = self._files.terms(self._warn_days)
        self._reminder.look(self._terms, time.monotonic())

    def check(self, host_id: str, auth: Auth) -> None:
        """Raises Refused unless this peer may write the stream of ``host_id``."""
        check_identity(host_id, auth, self._rules)
        self.check_again(host_id, auth)

    def check_again(self, host_id: str, auth: Auth) -> None:
        """As ``check``, of a peer that was let in before. Raises Refused."""
        check_revoked(host_id, auth, self._revoked.now)

    def described(self) -> dict[str, Any]:
        """For ``/readyz``, which anybody may ask: files by their names, without the folders they are in."""
        trouble = [self._without_folders(text) for text in (self._files.trouble, self._revoked.trouble) if text]
        files = [{key: said for key, said in term.described().items() if key != "file"} for term in self._terms]
        return {"changed_files_refused": bool(trouble), "trouble": trouble, "certificates": files}

    def _without_folders(self, text: str) -> str:
        for path in self._paths:
            text = text.replace(str(path), path.name)
        return text

    def _fetch(self) -> grpc.ServerCertificateConfiguration | None:
        """gRPC asks before each handshake, in a thread of its own. None: as before."""
        try:
            self._revoked.look()
            identity = self._files.current()
        except BadCredentials:
            return None  # never once something was good; but gRPC hides what is raised here
        if identity.number == self._given:
            return None
        self._given = identity.number
        return _served(identity)


def _served(identity: Identity) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration(
        [(identity.key, identity.certificate)], root_certificates=identity.ca
    )
