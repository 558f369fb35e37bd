"""Throw-away certificates for tests that need real TLS files."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_CLEAR = serialization.NoEncryption()


@dataclass(frozen=True, slots=True)
class Authority:
    """An authority of our own, and the folder its files lie in."""

    folder: Path
    name: x509.Name
    key: ec.EllipticCurvePrivateKey

    @property
    def ca(self) -> Path:
        return self.folder / "ca.pem"

    def issue(
        self,
        common_name: str,
        *,
        names: Sequence[x509.GeneralName] | None = None,
        days: tuple[float, float] = (-1 / 24, 1),
    ) -> tuple[Path, Path]:
        """(certificate, key) for both ends of a connection on loopback; ``days``: valid from and to, from now."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = on_loopback(common_name) if names is None else names
        certificate = _sign(_name(common_name), key, self.name, self.key, names, days)
        return (
            _write(self.folder / f"{common_name}.pem", certificate.public_bytes(serialization.Encoding.PEM)),
            _write(self.folder / f"{common_name}.key", _pem(key)),
        )

    def encrypted(self, password: bytes) -> bytes:
        """A private key that only a password opens."""
        return _pem(self.key, serialization.BestAvailableEncryption(password))


def make_authority(folder: Path, name: str = "test authority") -> Authority:
    """An authority with its certificate in ``folder``/ca.pem."""
    subject, key = _name(name), ec.generate_private_key(ec.SECP256R1())
    authority = Authority(folder, subject, key)
    certificate = _sign(subject, key, subject, key, None)
    _write(authority.ca, certificate.public_bytes(serialization.Encoding.PEM))
    return authority


def on_loopback(host: str) -> list[x509.GeneralName]:
    return [x509.DNSName(host), x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]


def spiffe(told: str) -> x509.GeneralName:
    return x509.UniformResourceIdentifier(told)


def _sign(
    name: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    by: x509.Name,
    by_key: ec.EllipticCurvePrivateKey,
    names: Sequence[x509.GeneralName] | None,
    days: tuple[float, float] = (-1 / 24, 1),
) -> x509.Certificate:
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(by)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + timedelta(days=days[0]))
        .not_valid_after(now + timedelta(days=days[1]))
        .add_extension(x509.BasicConstraints(ca=names is None, path_length=None), critical=True)
    )
    if names is not None:
        usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    return builder.sign(by_key, hashes.SHA256())


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _pem(
    key: ec.EllipticCurvePrivateKey,
    encryption: serialization.KeySerializationEncryption = _CLEAR,
) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)


def _write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path
