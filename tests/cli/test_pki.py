"""``gputally pki``: what it makes fits together, is safe on disk, and is never overwritten unasked."""

import ssl
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from cryptography import x509

from gputally.cli.main import main
from gputally.plugins.tls import TlsFiles, tls_problems


def pki(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["pki", *map(str, arguments)])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    assert pki("init", tmp_path / "pki").exit_code == 0
    return tmp_path / "pki"


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_what_is_made_is_what_a_daemon_accepts(folder: Path) -> None:
    assert pki("issue", folder, "gpu-01", "--kind", "host").exit_code == 0
    assert tls_problems(TlsFiles(folder / "ca.pem", folder / "gpu-01.pem", folder / "gpu-01.key")) == []


def test_only_the_owner_can_read_keys(folder: Path) -> None:
    pki("issue", folder, "gpu-01", "--kind", "host")
    pki("renew", folder, "gpu-01")
    assert [mode(folder), mode(folder / "ca.key"), mode(folder / "gpu-01.key")] == [0o700, 0o600, 0o600]
    assert [mode(folder / "ca.pem"), mode(folder / "gpu-01.pem")] == [0o644, 0o644]
    assert {path.name for path in folder.iterdir()} == {"ca.key", "ca.pem", "gpu-01.key", "gpu-01.pem"}


def test_nothing_is_overwritten_unasked(folder: Path) -> None:
    pki("issue", folder, "gpu-01", "--kind", "host")
    before = {path: path.read_bytes() for path in folder.iterdir()}
    for again in (("init", folder), ("issue", folder, "gpu-01", "--kind", "host")):
        done = pki(*again)
        assert done.exit_code == 66 and "is not overwritten" in done.stderr
    (folder / "ca.pem").rename(folder / "elsewhere")
    assert pki("init", folder).exit_code == 66
    (folder / "elsewhere").rename(folder / "ca.pem")
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_a_renewal_keeps_names_and_purpose_and_changes_key_and_number(folder: Path) -> None:
    pki("issue", folder, "c.example", "--kind", "collector", "--dns", "10.0.0.1", "--spiffe", "spiffe://x/c")
    before = x509.load_pem_x509_certificate((folder / "c.example.pem").read_bytes())
    assert pki("renew", folder, "c.example", "--days", 10).exit_code == 0
    after = x509.load_pem_x509_certificate((folder / "c.example.pem").read_bytes())
    for kind in (x509.SubjectAlternativeName, x509.ExtendedKeyUsage):
        assert after.extensions.get_extension_for_class(kind) == before.extensions.get_extension_for_class(kind)
    assert after.subject == before.subject
    assert after.serial_number != before.serial_number and after.public_key() != before.public_key()
    assert tls_problems(TlsFiles(folder / "ca.pem", folder / "c.example.pem", folder / "c.example.key")) == []


def test_no_certificate_outlives_its_authority(tmp_path: Path) -> None:
    pki("init", tmp_path, "--days", 5)
    pki("issue", tmp_path, "gpu-01", "--kind", "host", "--days", 500)
    ca, host = (x509.load_pem_x509_certificate((tmp_path / name).read_bytes()) for name in ("ca.pem", "gpu-01.pem"))
    assert host.not_valid_after_utc == ca.not_valid_after_utc


def test_show_says_what_for_how_long_and_how_to_revoke(folder: Path) -> None:
    pki("issue", folder, "gpu-01", "--kind", "host", "--spiffe", "spiffe://x/host/gpu-01")
    said = pki("show", folder / "gpu-01.pem").stdout
    made = x509.load_pem_x509_certificate((folder / "gpu-01.pem").read_bytes())
    assert "a host" in said and "gpu-01, spiffe://x/host/gpu-01" in said
    assert f"serial:{made.serial_number:x}" in said and f"{made.not_valid_after_utc:%Y-%m-%d}" in said
    assert "an authority" in pki("show", folder / "ca.pem").stdout


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (("issue", "nowhere", "gpu-01", "--kind", "host"), "gputally pki init nowhere"),
        (("issue", "pki", "../x", "--kind", "host"), "cannot be a name here"),
        (("issue", "pki", "ca", "--kind", "host"), "cannot be a name here"),
        (("issue", "pki", "x" * 65, "--kind", "host"), "cannot be a name here"),
        (("issue", "pki", "gpu-01", "--kind", "host", "--dns", "a b"), "is no DNS name"),
        (("renew", "pki", "gpu-07"), "cannot be read"),
        (("show", "pki/ca.key"), "holds no certificate"),
        (("show", "nothing"), "cannot be read"),
    ],
)
def test_what_cannot_be_done_is_one_clear_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], what: str
) -> None:
    monkeypatch.chdir(folder.parent)
    done = pki(*arguments)
    assert done.exit_code == 66, done.output
    assert what in done.stderr and done.stderr.count("\n") == 1


def test_the_key_of_another_authority_is_refused(folder: Path, tmp_path: Path) -> None:
    pki("init", tmp_path / "other")
    (tmp_path / "other" / "ca.key").replace(folder / "ca.key")
    assert "is not the private key of" in pki("issue", folder, "gpu-01", "--kind", "host").stderr


def test_where_the_package_is_missing_the_command_that_installs_it_is_told() -> None:
    script = (
        "import sys; sys.modules['cryptography'] = None; sys.argv = ['gputally', 'pki', 'init', 'x']; "
        "from gputally.cli.main import entry; entry()"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (69, "")
    assert "pip install 'gputally[pki]'" in done.stderr and "Traceback" not in done.stderr


def test_a_host_cannot_pose_as_a_collector(folder: Path) -> None:
    """By its extended key usage; OpenSSL's own check, as any client makes it."""
    pki("issue", folder, "gpu-01", "--kind", "host")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder / "gpu-01.pem", folder / "gpu-01.key")
    client = ssl.create_default_context(cafile=str(folder / "ca.pem"))
    with pytest.raises(ssl.SSLCertVerificationError, match="purpose"):
        shake_hands(client, server, "gpu-01")


def shake_hands(client: ssl.SSLContext, server: ssl.SSLContext, name: str) -> None:
    """A whole handshake in memory. Raises ssl.SSLError."""
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server, server_hostname=name),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    for _ in range(4):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
