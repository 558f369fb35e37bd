"""Ed25519 by the package cryptography (the extra ``sign``): whoever imports this module needs it.

RFC 8032. What a signature costs: bench/bench_signing.py.
"""

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)


class NotEd25519(ValueError):
    """Bytes that are no private key we can sign with; the message says what they are."""


class SecretKey:
    """A private key. It is never shown: not by repr, not by an error."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public_key = key.public_key().public_bytes_raw()

    @classmethod
    def generate(cls) -> "SecretKey":
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def from_pem(cls, pem: bytes) -> "SecretKey":
        """PKCS#8 (RFC 8410), not encrypted; what follows the key is of no matter. Raises NotEd25519."""
        try:
            key = load_pem_private_key(pem, password=None)
        except TypeError:
            raise NotEd25519("is encrypted: nobody is there to type its password") from None
        except Exception:  # UnsupportedAlgorithm and ValueError, and whatever a later version has for it
            raise NotEd25519("holds no private key in PEM form (PKCS#8)") from None
        if not isinstance(key, Ed25519PrivateKey):
            raise NotEd25519("is no Ed25519 key")
        return cls(key)

    def to_pem(self) -> bytes:
        return self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def sign(self, message: bytes) -> bytes:
        """64 bytes."""
        return self._key.sign(message)


def check(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether the signature is that of this key over this message; False also for bytes that are no key."""
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True
