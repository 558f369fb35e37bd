"""The few fields that are read from a certificate are those that it has, and rubbish is called rubbish."""

import contextlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from gputally.plugins.tls_certificate import BadCertificate, read_certificate, read_certificates

from ..certificates import make_authority

KEY = ec.generate_private_key(ec.SECP256R1())
NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x")])
DAYS = st.datetimes(datetime(1960, 1, 1), datetime(2120, 1, 1), timezones=st.just(UTC))


def certificate(serial: int, begin: datetime, end: datetime) -> x509.Certificate:
    builder = x509.CertificateBuilder().subject_name(NAME).issuer_name(NAME).public_key(KEY.public_key())
    return builder.serial_number(serial).not_valid_before(begin).not_valid_after(end).sign(KEY, hashes.SHA256())


@given(st.integers(1, 2**159 - 1), DAYS, st.integers(0, 40_000))
def test_what_is_read_is_what_openssl_reads(serial: int, begin: datetime, days: int) -> None:
    begin = begin.replace(microsecond=0)
    made = certificate(serial, begin, begin + timedelta(days=days))
    read = read_certificate(made.public_bytes(serialization.Encoding.DER))
    assert read.serial == serial
    assert read.sha256 == made.fingerprint(hashes.SHA256()).hex()
    assert read.not_before_s == made.not_valid_before_utc.timestamp()
    assert read.not_after_s == made.not_valid_after_utc.timestamp()


WHOLE = certificate(7, datetime(2026, 1, 1), datetime(2027, 1, 1)).public_bytes(serialization.Encoding.DER)


@given(st.integers(0, len(WHOLE) - 1), st.binary(min_size=0, max_size=4))
def test_a_spoilt_certificate_is_read_or_refused_and_nothing_else(at: int, spoilt: bytes) -> None:
    for der in (WHOLE[:at] + spoilt + WHOLE[at + len(spoilt) :], WHOLE[:at], spoilt):
        with contextlib.suppress(BadCertificate):
            read_certificate(der)


def test_what_is_cut_short_is_refused() -> None:
    with pytest.raises(BadCertificate):
        read_certificate(WHOLE[:100])


def test_a_chain_is_read_in_order_and_text_between_is_passed_over(tmp_path: Path) -> None:
    authority = make_authority(tmp_path)
    first, key = authority.issue("a")
    pem = b"a comment\n" + first.read_bytes() + key.read_bytes() + authority.ca.read_bytes()
    serials = [each.serial_number for each in x509.load_pem_x509_certificates(pem)]
    assert [each.serial for each in read_certificates(pem)] == serials
    assert read_certificates(b"nothing") == []
