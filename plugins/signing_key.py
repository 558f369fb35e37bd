"""The file of a signing key: the private key, and how the keys before it have introduced it.

A PEM file of PKCS#8, as ``openssl genpkey -algorithm ed25519`` writes it, is one; ``gputally log new-key`` adds
blocks of its own behind it, one for each key that led here, so that a key and its introduction change together, in
one rename. docs/formats.md has the bytes.
"""

import base64
import binascii
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ..model.key_ring import key_message
from ..model.signing import KEY_ID_BYTES, PUBLIC_KEY_BYTES, SIGNATURE_BYTES, SigningKey

if TYPE_CHECKING:
    from .ed25519 import SecretKey

MOST_FORERUNNERS: Final = 16
"""Introductions kept with a key: a daemon that saw none of them can still tell how each led to the next."""
MOST_BYTES: Final = 16 * 1024
_BEGIN, _END = b"-----BEGIN GPUTALLY SIGNING KEY-----", b"-----END GPUTALLY SIGNING KEY-----"
_BLOCK: Final = re.compile(re.escape(_BEGIN) + rb"([A-Za-z0-9+/=\s]*)" + re.escape(_END))
_NEEDS: Final = "needs the package cryptography: pip install 'gputally[sign]'"
_OTHERS_MAY: Final = stat.S_IWGRP | stat.S_IRWXO
"""Reading by the group is let pass: so a credential of systemd looks that was given to a service's user by an ACL."""


class BadSigningKey(Exception):
    """The file cannot be used to sign. The message says which, why and what to do."""


@dataclass(frozen=True, slots=True)
class KeyFile:
    """A private key and its introductions, oldest first; the last is its own."""

    secret: "SecretKey"
    introductions: tuple[SigningKey, ...]

    @property
    def own(self) -> SigningKey:
        return self.introductions[-1]

    def succeeded(self) -> "KeyFile":
        """A new key, introduced by this one."""
        from .ed25519 import SecretKey

        secret = SecretKey.generate()
        message = key_message(secret.public_key, self.own.key_id)
        own = SigningKey(secret.public_key, self.own.key_id, self.secret.sign(message))
        return KeyFile(secret, (*self.introductions[1 - MOST_FORERUNNERS :], own))

    def to_bytes(self) -> bytes:
        return b"".join((self.secret.to_pem(), *map(_block_out, self.introductions)))


def make_key_file() -> KeyFile:
    """A host's first key. Raises BadSigningKey without the package cryptography."""
    return _first(_secret_keys().generate())


def load_key_file(path: Path) -> KeyFile:
    """Raises BadSigningKey."""
    keys = _secret_keys()
    raw = _read(path)
    try:
        secret = keys.from_pem(raw)
        introductions = tuple(_block_in(found[1]) for found in _BLOCK.finditer(raw))
    except ValueError as error:
        raise BadSigningKey(f"{path} {error}") from None
    if not introductions:
        return _first(secret)
    if len(introductions) > MOST_FORERUNNERS or introductions[-1].public_key != secret.public_key:
        raise BadSigningKey(f"{path}: the introductions in it do not lead to the key in it: restore the file")
    return KeyFile(secret, introductions)


def write_key_file(path: Path, file: KeyFile, *, replace: bool) -> None:
    """Whole or not at all, for its owner's eyes only; whose file it was, his it stays. Raises BadSigningKey."""
    made = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        if path.exists() and not replace:
            raise BadSigningKey(
                f"{path} is there already: give another path, or --rotate to put a new key in its place"
            )
        fd = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o400)
        try:
            with os.fdopen(fd, "wb") as out:
                if replace:
                    before = path.stat()
                    os.fchown(fd, before.st_uid, before.st_gid)
                    os.fchmod(fd, stat.S_IMODE(before.st_mode))
                out.write(file.to_bytes())
                out.flush()
                os.fsync(fd)
            made.rename(path)
            _sync(path.parent)
        except BaseException:
            made.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise BadSigningKey(f"{path} cannot be written: {error.strerror}") from None


def _sync(folder: Path) -> None:
    """A key that has signed must not give way to the retired one in a power cut."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _secret_keys() -> "type[SecretKey]":
    try:
        from .ed25519 import SecretKey
    except ModuleNotFoundError:
        raise BadSigningKey(_NEEDS) from None
    return SecretKey


def _first(secret: "SecretKey") -> KeyFile:
    signature = secret.sign(key_message(secret.public_key, b""))
    return KeyFile(secret, (SigningKey(secret.public_key, b"", signature),))


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            raw = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise BadSigningKey(f"{path} cannot be read: {error.strerror}: make one with gputally log new-key") from None
    if mode & _OTHERS_MAY:
        raise BadSigningKey(
            f"{path} has mode {stat.S_IMODE(mode):04o}: others could sign for this host; chmod 0400 {path}"
        )
    if len(raw) > MOST_BYTES:
        raise BadSigningKey(f"{path} is no key: it has more than {MOST_BYTES} bytes")
    return raw


def _block_out(key: SigningKey) -> bytes:
    raw = key.public_key + (key.signed_by or bytes(KEY_ID_BYTES)) + key.signature
    return b"\n".join((_BEGIN, base64.encodebytes(raw).rstrip(), _END, b""))


def _block_in(text: bytes) -> SigningKey:
    """Raises ValueError."""
    try:
        raw = base64.b64decode(b"".join(text.split()), validate=True)
    except binascii.Error:
        raw = b""
    if len(raw) != PUBLIC_KEY_BYTES + KEY_ID_BYTES + SIGNATURE_BYTES:
        raise ValueError("holds an introduction that is damaged: restore the file")
    signed_by = raw[PUBLIC_KEY_BYTES : PUBLIC_KEY_BYTES + KEY_ID_BYTES]
    return SigningKey(
        raw[:PUBLIC_KEY_BYTES], b"" if signed_by == bytes(KEY_ID_BYTES) else signed_by, raw[-SIGNATURE_BYTES:]
    )
