"""Whose stream a certificate may write, and who is let in no more."""

from pathlib import Path

import grpc
import pytest

from gputally.collector.config import IntakeConfig
from gputally.collector.identity_rule import IdentityRule, names_of
from gputally.collector.intake_identity import check_identity, check_revoked
from gputally.collector.intake_stream import Refused
from gputally.collector.revoked import RevokedFile, read_revoked

from ..certificates import make_authority

AUTH = {
    "x509_common_name": [b"gpu-01"],
    "peer_dns": [b"gpu-02.example", b"gpu-02"],
    "peer_ip": [b"10.0.0.7"],
    "peer_uri": [b"spiffe://example.org/hosts/gpu-03", b"https://example.org/hosts/gpu-05"],
    "peer_email": [b"gpu-04"],
}


def names(*rules: str) -> set[str]:
    return names_of(AUTH, [IdentityRule.of(rule) for rule in rules])


def test_by_default_a_name_an_address_the_common_name_and_the_end_of_a_spiffe_id_name_the_host() -> None:
    default = names(*IntakeConfig().identity)
    assert default == {"gpu-01", "gpu-02.example", "gpu-02", "10.0.0.7", "gpu-03"}
    assert names_of({}, [IdentityRule.of(rule) for rule in IntakeConfig().identity]) == set()


def test_a_rule_is_exact_about_everything_but_the_host() -> None:
    assert names("dns:{host}.example") == {"gpu-02"}
    assert names("dns:{host}.exampl") == set()
    assert names("dns:{host}_example") == set()
    assert names("dns:gpu-02{host}") == {".example"}
    assert names("spiffe://example.org/hosts/{host}") == {"gpu-03"}
    assert names("spiffe://example.org/{host}") == set()
    assert names("spiffe://evil.org/hosts/{host}") == set()
    assert names("spiffe://*/hosts/{host}") == {"gpu-03"}
    assert names("cn:gpu-{host}") == {"01"}
    assert names("ip:{host}") == {"10.0.0.7"}


@pytest.mark.parametrize("rule", ["{host}", "dns:host", "dns:{host}{host}", "email:{host}", "dns:", "https://x/{host}"])
def test_a_rule_that_cannot_be_read_is_refused_with_examples(rule: str) -> None:
    with pytest.raises(ValueError, match=r"spiffe://example\.com/host/"):
        IdentityRule.of(rule)


def test_a_host_that_no_rule_finds_hears_what_its_certificate_names() -> None:
    rules = [IdentityRule.of("cn:{host}")]
    check_identity("gpu-01", AUTH, rules)
    with pytest.raises(Refused, match=r"names gpu-01, not gpu-02: a host can write its own stream only") as refused:
        check_identity("gpu-02", AUTH, rules)
    assert refused.value.code is grpc.StatusCode.PERMISSION_DENIED
    with pytest.raises(Refused, match=r"no host that a rule of intake\.identity finds"):
        check_identity("gpu-02", {}, rules)


def test_a_certificate_is_revoked_by_its_fingerprint_its_serial_number_or_its_host(tmp_path: Path) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes

    pem = make_authority(tmp_path).issue("gpu-01")[0].read_bytes()
    made = x509.load_pem_x509_certificate(pem)
    auth = {"x509_pem_cert": [pem]}
    path = tmp_path / "revoked"
    fingerprint = made.fingerprint(hashes.SHA256()).hex(":").upper()
    for entry in (f"sha256:{fingerprint}", f"serial:{made.serial_number:x}", "host:gpu-01  # sold"):
        path.write_text(f"# who is out\n\n{entry}\n")
        with pytest.raises(Refused, match="gpu-01 is revoked at the collector") as refused:
            check_revoked("gpu-01", auth, read_revoked(path))
        assert refused.value.code is grpc.StatusCode.PERMISSION_DENIED
    path.write_text("host:gpu-02\nserial:1\n")
    check_revoked("gpu-01", auth, read_revoked(path))
    with pytest.raises(Refused, match="cannot be read"):
        check_revoked("gpu-01", {}, read_revoked(path))


def test_a_list_that_cannot_be_read_leaves_the_former_in_force(tmp_path: Path) -> None:
    path = tmp_path / "revoked"
    path.write_text("host:gpu-01\n")
    file = RevokedFile(path)
    file.look()
    for spoilt in ("host:gpu-02\ngpu-03\n", "sha256:12\n", "serial:xyz\n", "host:\n"):
        path.write_text(spoilt)
        file.look()
        file.look()
        assert file.now.hosts == {"gpu-01"}
        assert "line" in file.trouble and str(path) in file.trouble
    path.unlink()
    file.look()
    assert file.now.hosts == {"gpu-01"}
    path.write_text("host:gpu-02\n")
    file.look()
    assert file.now.hosts == {"gpu-02"}
    assert file.trouble == ""
