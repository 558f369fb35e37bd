"""The folder of a small authority: who may read what, and nothing ever overwritten unasked.

ca.pem  ca.key            the authority; whoever has ca.key can let anybody in
NAME.pem  NAME.key        a certificate and its key
"""

import os
import re
import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from .pki_make import LONGEST_NAME, Issued, Signer

CA: Final = "ca"
_NAME: Final = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{LONGEST_NAME - 1}}}", re.ASCII)
_PUBLIC, _SECRET = 0o644, 0o600


class Unusable(Exception):
    """One line for the operator: which file, and what to do."""


def check_name(name: str) -> None:
    """Raises Unusable unless this may be a file's name and a common name."""
    if not _NAME.fullmatch(name) or name.lower() == CA:
        raise Unusable(
            f'"{name}" cannot be a name here: 1 to {LONGEST_NAME} letters, digits, ".", "_" and "-", '
            f'the first a letter or digit, and not "{CA}"'
        )


def make_folder(folder: Path) -> None:
    """For its owner only. Raises Unusable."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise Unusable(f"{folder}: {error.strerror}") from None


def pair_of(folder: Path, name: str) -> tuple[Path, Path]:
    """(certificate, key)."""
    return folder / f"{name}.pem", folder / f"{name}.key"


def write_new(folder: Path, name: str, issued: Issued) -> tuple[Path, Path]:
    """(certificate, key), neither of which may be there yet. Raises Unusable."""
    certificate, key = pair_of(folder, name)
    for path in (certificate, key):
        if path.exists():
            hint = "another folder" if name == CA else "gputally pki renew, or another name"
            raise Unusable(f"{path} is there already and is not overwritten: {hint}")
    _write(key, issued.key_pem, _SECRET, replace=False)
    _write(certificate, issued.certificate_pem, _PUBLIC, replace=False)
    return certificate, key


def replace(folder: Path, name: str, issued: Issued) -> tuple[Path, Path]:
    """(certificate, key), each replaced in one step; between the two whoever watches them waits. Raises Unusable."""
    certificate, key = pair_of(folder, name)
    _write(key, issued.key_pem, _SECRET, replace=True)
    _write(certificate, issued.certificate_pem, _PUBLIC, replace=True)
    return certificate, key


def read_certificates(path: Path) -> list[x509.Certificate]:
    """Raises Unusable."""
    try:
        return x509.load_pem_x509_certificates(_read(path))
    except ValueError:
        raise Unusable(f"{path} holds no certificate in PEM form") from None


def read_signer(folder: Path) -> Signer:
    """Raises Unusable."""
    certificate, key = pair_of(folder, CA)
    if not certificate.exists():
        raise Unusable(f"{certificate} is not there: gputally pki init {folder}")
    try:
        read = serialization.load_pem_private_key(_read(key), None)
    except (ValueError, TypeError):
        raise Unusable(f"{key} holds no private key in PEM form, or an encrypted one") from None
    signer = read_certificates(certificate)[0]
    if not isinstance(read, ec.EllipticCurvePrivateKey) or read.public_key() != signer.public_key():
        raise Unusable(f"{key} is not the private key of {certificate}")
    if signer.not_valid_after_utc <= datetime.now(UTC):
        raise Unusable(f"{certificate} expired on {signer.not_valid_after_utc:%Y-%m-%d}: make a new authority")
    return Signer(signer, read)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise Unusable(f"{path} cannot be read: {error.strerror}") from None


def _write(path: Path, content: bytes, mode: int, *, replace: bool) -> None:
    """Whole or not at all, and with its mode from the first byte on."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, mode)
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        if replace:
            draft.replace(path)
        else:
            path.hardlink_to(draft)  # unlike a rename it fails if somebody was faster
    except OSError as error:
        raise Unusable(f"{path} cannot be written: {error.strerror}") from None
    finally:
        draft.unlink(missing_ok=True)
