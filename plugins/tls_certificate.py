"""What a certificate says of itself: how long it holds, its serial number and its fingerprint.

The standard library reads certificates only of peers and of authorities, so the
few fields that we need are read here, from DER (X.690) as RFC 5280 section 4.1 lays
them out. Nothing is verified here: that is OpenSSL's and gRPC's.
"""

import binascii
import re
from calendar import timegm
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Final

_PEM: Final = re.compile(rb"-----BEGIN CERTIFICATE-----\s*([A-Za-z0-9+/=\s]+?)\s*-----END CERTIFICATE-----")
_MOST: Final = 4_096
"""Certificates read from one file; a system's whole bundle has some 150."""
_SEQUENCE, _INTEGER, _VERSION = 0x30, 0x02, 0xA0
_UTC_TIME, _GENERALIZED_TIME = 0x17, 0x18
_PIVOT_YEAR: Final = 50
"""RFC 5280 section 4.1.2.5.1: years of two digits below this are of this century."""


class BadCertificate(ValueError):
    """Bytes that are no X.509 certificate."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """Valid from ``not_before_s`` through ``not_after_s``, Unix seconds, both included."""

    serial: int
    not_before_s: int
    not_after_s: int
    sha256: str
    """Of the whole certificate in DER: 64 hexadecimal digits, as of ``openssl x509 -fingerprint -sha256``."""


def read_certificates(pem: bytes) -> list[Certificate]:
    """Each certificate of a PEM file, in order, the first 4,096. Raises BadCertificate."""
    found = [match.group(1) for _, match in zip(range(_MOST), _PEM.finditer(pem), strict=False)]
    try:
        return [read_certificate(binascii.a2b_base64(text)) for text in found]
    except binascii.Error as error:
        raise BadCertificate(f"no base64: {error}") from None


def read_certificate(der: bytes) -> Certificate:
    """Raises BadCertificate."""
    fields = _fields(_only(_only(der, _SEQUENCE), _SEQUENCE, rest=True))
    tag, value = next(fields, (0, b""))
    if tag == _VERSION:
        tag, value = next(fields, (0, b""))
    if tag != _INTEGER:
        raise BadCertificate("it has no serial number")
    next(fields, None)  # the signature's algorithm
    next(fields, None)  # the issuer
    _, validity = next(fields, (0, b""))
    times = [_time(*each) for each in _fields(validity)]
    if len(times) != 2:
        raise BadCertificate("it does not say how long it is valid")
    return Certificate(int.from_bytes(value, signed=True), times[0], times[1], sha256(der).hexdigest())


def day_of(unix_s: int) -> str:
    """As an operator reads it, in UTC."""
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def _only(der: bytes, tag: int, *, rest: bool = False) -> bytes:
    """The contents of the one value that ``der`` is, or begins with."""
    found = list(_fields(der)) if not rest else [next(_fields(der), (0, b""))]
    if not found or found[0][0] != tag:
        raise BadCertificate("it is no certificate in DER form")
    return found[0][1]


def _fields(der: bytes) -> Iterator[tuple[int, bytes]]:
    """(tag, contents) of values that stand one behind the other."""
    at = 0
    while at < len(der):
        tag = der[at]
        length, at = _length(der, at + 1)
        if at + length > len(der):
            raise BadCertificate("it is cut short")
        yield tag, der[at : at + length]
        at += length


def _length(der: bytes, at: int) -> tuple[int, int]:
    """(length, where the contents begin)."""
    if at >= len(der):
        raise BadCertificate("it is cut short")
    first = der[at]
    if first < 0x80:
        return first, at + 1
    count = first & 0x7F
    if not 1 <= count <= 4:
        raise BadCertificate("a length in it cannot be")
    return int.from_bytes(der[at + 1 : at + 1 + count]), at + 1 + count


def _time(tag: int, value: bytes) -> int:
    """UTCTime or GeneralizedTime, which RFC 5280 has in one shape only, as Unix seconds."""
    digits = {_UTC_TIME: 12, _GENERALIZED_TIME: 14}.get(tag)
    text = value.decode("ascii", "replace")
    if digits is None or not re.fullmatch(rf"[0-9]{{{digits}}}Z", text):
        raise BadCertificate("a time in it cannot be read")
    if tag == _UTC_TIME:
        text = ("20" if int(text[:2]) < _PIVOT_YEAR else "19") + text
    try:
        return timegm(datetime.strptime(text, "%Y%m%d%H%M%SZ").timetuple())
    except ValueError:
        raise BadCertificate("a time in it cannot be read") from None
