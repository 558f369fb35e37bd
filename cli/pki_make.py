"""A small authority and what it signs: X.509 v3 with P-256 keys, as RFC 5280 wants them. No files here."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from ipaddress import ip_address
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

SKEW: Final = timedelta(hours=1)
"""Certificates begin so long ago: no two machines' clocks agree."""
LONGEST_NAME: Final = 64
"""Of a common name (RFC 5280 appendix A, ub-common-name)."""
_DNS_NAME: Final = re.compile(r"(?:\*\.)?[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,251}[A-Za-z0-9])?", re.ASCII)
_SPIFFE: Final = re.compile(r"spiffe://[a-z0-9._-]{1,255}(?:/[A-Za-z0-9._-]+)*", re.ASCII)


class Kind(StrEnum):
    """What a certificate is good for: the extended key usage keeps a host from posing as a collector."""

    HOST = "host"
    COLLECTOR = "collector"


@dataclass(frozen=True, slots=True)
class Signer:
    """The authority: its certificate and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


@dataclass(frozen=True, slots=True)
class Issued:
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def certificate_pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        """PKCS#8, in the clear."""
        clear = serialization.NoEncryption()
        return self.key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, clear)


def make_authority(name: str, days: int) -> Issued:
    """Signs itself; may sign certificates, but no further authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _builder(_named(name), _named(name), key, days)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_usage(signs=True), critical=True)
    return Issued(builder.sign(key, hashes.SHA256()), key)


def issue(by: Signer, common_name: str, names: Sequence[x509.GeneralName], kind: Kind, days: int) -> Issued:
    """Never valid for longer than the authority itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _builder(_named(common_name), by.certificate.subject, key, days, by.certificate.not_valid_after_utc)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_usage(signs=False), critical=True)
    purpose = ExtendedKeyUsageOID.CLIENT_AUTH if kind is Kind.HOST else ExtendedKeyUsageOID.SERVER_AUTH
    builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
    builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    signer = x509.AuthorityKeyIdentifier.from_issuer_public_key(by.key.public_key())
    builder = builder.add_extension(signer, critical=False)
    return Issued(builder.sign(by.key, hashes.SHA256()), key)


def general_names(names: Sequence[str]) -> list[x509.GeneralName]:
    """A DNS name, an IP address or a SPIFFE id each, told apart by their looks. Raises ValueError."""
    return [_general_name(name) for name in dict.fromkeys(names)]


def kind_of(certificate: x509.Certificate) -> Kind | None:
    """None: made by somebody else, for something else, or an authority."""
    try:
        usages = list(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    except x509.ExtensionNotFound:
        return None
    kinds = {ExtendedKeyUsageOID.CLIENT_AUTH: Kind.HOST, ExtendedKeyUsageOID.SERVER_AUTH: Kind.COLLECTOR}
    return kinds.get(usages[0]) if len(usages) == 1 else None


def names_in(certificate: x509.Certificate) -> list[x509.GeneralName]:
    """Its subject alternative names."""
    try:
        return list(certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        return []


def _general_name(name: str) -> x509.GeneralName:
    if _SPIFFE.fullmatch(name):
        return x509.UniformResourceIdentifier(name)
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        pass
    if not _DNS_NAME.fullmatch(name):
        raise ValueError(f'"{name}" is no DNS name, no IP address and no SPIFFE id (spiffe://example.com/host/gpu-01)')
    return x509.DNSName(name)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    days: int,
    at_most: datetime | None = None,
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    wanted = now + timedelta(days=days)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - SKEW)
        .not_valid_after(wanted if at_most is None else min(wanted, at_most))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _named(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
