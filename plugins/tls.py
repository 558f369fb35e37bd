"""The three files of mutual TLS: found, read and checked before anything is opened with them."""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self, TypeVar

from ..model.settings import Complaints

CREDENTIALS_DIRECTORY = "CREDENTIALS_DIRECTORY"
"""Where systemd puts what LoadCredential names (systemd.exec(5))."""


_KEYS = ("ca", "certificate", "key")
_MISSING = (
    "is missing: TLS needs ca, certificate and key together "
    "(for a trial on one host: insecure_plaintext = true, and a loopback address)"
)


class TlsTable(Protocol):
    """A table of the configuration that names TLS files: a dataclass with ca, certificate and key."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def ca(self) -> str | None: ...

    @property
    def certificate(self) -> str | None: ...

    @property
    def key(self) -> str | None: ...


T = TypeVar("T", bound=TlsTable)


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Paths of PEM files: the authority that signs the peers, our certificate chain, its private key."""

    ca: Path
    certificate: Path
    key: Path

    @classmethod
    def of(cls, ca: str, certificate: str, key: str) -> Self:
        return cls(Path(ca), Path(certificate), Path(key))

    def read(self) -> tuple[bytes, bytes, bytes]:
        """(ca, certificate, key) as PEM, in this order. Raises OSError."""
        return self.ca.read_bytes(), self.certificate.read_bytes(), self.key.read_bytes()


def locate_credentials(table: T, environ: Mapping[str, str]) -> T:
    """``table`` with the names of systemd credentials replaced by their paths."""
    paths = {key: _credential_path(getattr(table, key), environ) for key in _KEYS}
    return replace(table, **paths)


def _credential_path(told: str | None, environ: Mapping[str, str]) -> str | None:
    folder = environ.get(CREDENTIALS_DIRECTORY)
    if told is None:
        return None
    if folder and "/" not in told and (Path(folder) / told).exists():
        return str(Path(folder) / told)
    return told


def check_tls(name: str, table: TlsTable, complaints: Complaints) -> None:
    """All three files given, readable, PEM, and the key that of the certificate; ``name`` is the table's."""
    given = {key: getattr(table, key) for key in _KEYS}
    missing = [key for key in _KEYS if not given[key]]
    if len(missing) == len(_KEYS) and complaints.is_unread(f"{name}.insecure_plaintext"):
        return  # Whoever wrote that key wrongly may well have meant that none is needed.
    for key in missing:
        complaints.refuse(f"{name}.{key}", _MISSING)
    if not missing:
        for key, what in tls_problems(TlsFiles.of(**given)):
            complaints.refuse(f"{name}.{key}", what)


def tls_problems(files: TlsFiles) -> list[tuple[str, str]]:
    """(key, what is wrong with it) for each file that is missing, unreadable, not PEM or does not fit."""
    named = {"ca": files.ca, "certificate": files.certificate, "key": files.key}
    unreadable = [(name, what) for name, path in named.items() if (what := _unreadable(path))]
    return unreadable or [*_check_authority(files.ca), *_check_pair(files.certificate, files.key)]


def _unreadable(path: Path) -> str:
    try:
        with path.open("rb") as file:
            file.read(1)
    except FileNotFoundError:
        return f"there is no file {path}: give the path of a PEM file, or the name of a systemd credential"
    except OSError as error:
        return f"{path} cannot be read: {error.strerror}"
    return ""


def _check_authority(path: Path) -> list[tuple[str, str]]:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except ssl.SSLError:
        return [("ca", f"{path} holds no certificate in PEM form")]
    return []


def _check_pair(certificate: Path, key: Path) -> list[tuple[str, str]]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        # Without the callback OpenSSL asks the terminal for the password of an encrypted key.
        context.load_cert_chain(certificate, key, password=_no_password)
    except _EncryptedKey:
        return [
            (
                "key",
                f"{key} is encrypted: nobody is there to type its password; store it in the clear, mode 0400",
            )
        ]
    except ssl.SSLError as error:
        return [_pair_problem(error, certificate, key)]
    return []


class _EncryptedKey(Exception):
    """OpenSSL asked for a password."""


def _no_password() -> str:
    raise _EncryptedKey


def _pair_problem(error: ssl.SSLError, certificate: Path, key: Path) -> tuple[str, str]:
    if error.reason == "KEY_VALUES_MISMATCH":
        return "key", f"{key} is not the private key of {certificate}"
    if b"-----BEGIN CERTIFICATE-----" not in certificate.read_bytes():
        return "certificate", f"{certificate} holds no certificate in PEM form"
    if b"PRIVATE KEY-----" not in key.read_bytes():
        return "key", f"{key} holds no private key in PEM form"
    return "certificate", f"{certificate} and {key} cannot be used: {error.reason or error}"
