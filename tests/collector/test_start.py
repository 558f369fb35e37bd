"""Starting, refusing to start, and mutual TLS: the collector as its own process."""

import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from gputally.simulator.uplink import Conversation, StreamEnded

from ..certificates import Authority, make_authority
from .running import SKUS, RunningCollector, run_command, write_config

EPOCH = b"e" * 16


def refused(config: Path, environ: dict[str, str] | None = None) -> tuple[int, str]:
    """(exit code, what it said) of a collector that must not start."""
    done = run_command("collector", "--config", config, environ=environ)
    assert done.stdout == "" and "Traceback" not in done.stderr
    return done.returncode, done.stderr


def test_one_line_says_that_it_is_ready_and_where(collector: RunningCollector) -> None:
    assert collector.intake.startswith("127.0.0.1:") and collector.url.startswith("http://127.0.0.1:")
    assert not collector.intake.endswith(":0") and not collector.url.endswith(":0")
    assert "anybody on this host can read all usage" in collector.log.read_text()
    assert collector.stop() == 0
    assert "Traceback" not in collector.log.read_text() and "leaked" not in collector.log.read_text()


def test_systemd_is_told_when_it_is_ready_and_when_it_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "200000")
        with RunningCollector(write_config(tmp_path)) as collector:
            told = [listener.recv(1000).decode() for _ in range(5)]
            assert told[0] == "READY=1" and told[1].startswith("STATUS=ready: intake 127.0.0.1:")
            assert told[2:] == ["WATCHDOG=1"] * 3
            assert collector.stop() == 0
        while (last := listener.recv(1000).decode()) == "WATCHDOG=1":
            pass
        assert last == "STOPPING=1"


def test_a_second_collector_on_one_ledger_is_refused(collector: RunningCollector) -> None:
    code, said = refused(collector.config)
    assert code == 69 and "ledger.path" in said and "in use by another collector" in said


@pytest.mark.parametrize("key", ["intake", "api"])
def test_a_taken_port_is_named_with_its_key(tmp_path: Path, key: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        code, said = refused(write_config(tmp_path), {f"GPUTALLY_{key.upper()}__LISTEN": address})
    assert code == 69 and f"{key}.listen = {address}: Address already in use" in said


def test_a_ledger_path_that_is_no_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "ledger").write_text("")
    code, said = refused(write_config(tmp_path))
    assert code == 78 and "ledger.path" in said and f"{tmp_path / 'ledger'} is not a folder" in said


@pytest.mark.root
def test_a_full_disk_is_named_and_is_no_question_of_configuration(tmp_path: Path) -> None:
    folder = tmp_path / "ledger"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("may not mount: needs CAP_SYS_ADMIN")
    try:
        (folder / "ballast").write_bytes(b"." * 65_536)
        code, said = refused(write_config(tmp_path))
    finally:
        subprocess.run(["umount", folder], check=True)
    assert code == 74 and "ledger.path" in said and "no space left" in said


def test_a_damaged_log_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "ledger").mkdir()
    log = tmp_path / "ledger" / "log.sqlite"
    log.write_bytes(b"what was a ledger once" * 500)
    code, said = refused(write_config(tmp_path))
    assert code == 74 and "damaged" in said and log.read_bytes().startswith(b"what was")


def test_a_wrong_configuration_is_refused_before_anything_is_touched(tmp_path: Path) -> None:
    code, said = refused(write_config(tmp_path, "[retention]\n"))
    assert code == 78 and "retention" in said
    code, said = refused(write_config(tmp_path), {"GPUTALLY_INTAKE__LISTEN": "0.0.0.0:0"})
    assert code == 78 and "loopback" in said
    code, said = refused(write_config(tmp_path), {"GPUTALLY_API__LISTEN": "0.0.0.0:0"})
    assert code == 78 and "api.tokens" in said
    assert not (tmp_path / "ledger").exists()


def test_tokens_that_cannot_be_used_are_refused(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens.toml"
    for text, what in (
        ("", "names nobody"),
        ('[[tokens]]\nname = "x"\nsha256 = "12"\nrole = "auditor"\n', "64 hexadecimal"),
        (f'[[tokens]]\nname = "x"\nsha256 = "{"a" * 64}"\nrole = "tenant"\n', "tenant must be given"),
        (f'[[tokens]]\nname = "x"\nsha256 = "{"a" * 64}"\nrole = "king"\n', "operator"),
    ):
        tokens.write_text(text)
        code, said = refused(write_config(tmp_path), {"GPUTALLY_API__TOKENS": str(tokens)})
        assert code == 78 and what in said and str(tokens) in said, said


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return make_authority(tmp_path_factory.mktemp("authority"))


def tls_lines(authority: Authority) -> str:
    certificate, key = authority.issue("collector")
    return f'ca = "{authority.ca}"\ncertificate = "{certificate}"\nkey = "{key}"'


@pytest.fixture(scope="module")
def secured(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCollector]:
    folder = tmp_path_factory.mktemp("secured")
    with RunningCollector(write_config(folder, SKUS, tls_lines(authority))) as running:
        yield running


def credentials(authority: Authority, name: str | None) -> grpc.ChannelCredentials:
    if name is None:
        return grpc.ssl_channel_credentials(authority.ca.read_bytes())
    certificate, key = authority.issue(name)
    return grpc.ssl_channel_credentials(authority.ca.read_bytes(), key.read_bytes(), certificate.read_bytes())


def test_a_host_with_its_own_certificate_is_welcome(secured: RunningCollector, authority: Authority) -> None:
    with Conversation(secured.intake, credentials(authority, "gpu-01")) as said:
        assert said.hello("gpu-01", EPOCH).committed_seq == 0


def test_no_host_can_write_the_stream_of_another(secured: RunningCollector, authority: Authority) -> None:
    with Conversation(secured.intake, credentials(authority, "gpu-01")) as said:
        with pytest.raises(StreamEnded, match=r"names .*gpu-01.*, not gpu-02") as ended:
            said.hello("gpu-02", EPOCH)
        assert ended.value.code is grpc.StatusCode.PERMISSION_DENIED


@pytest.mark.parametrize("how", ["no certificate", "another authority", "plaintext"])
def test_who_shows_no_certificate_of_ours_is_not_heard(
    secured: RunningCollector, authority: Authority, tmp_path: Path, how: str
) -> None:
    shown = None
    if how != "plaintext":
        shown = credentials(authority, None) if how == "no certificate" else foreign(authority, tmp_path)
    with Conversation(secured.intake, shown) as said, pytest.raises(StreamEnded) as ended:
        said.hello("gpu-01", EPOCH)
    assert ended.value.code is grpc.StatusCode.UNAVAILABLE


def foreign(authority: Authority, folder: Path) -> grpc.ChannelCredentials:
    """Believes in our authority, but was signed by another."""
    certificate, key = make_authority(folder).issue("gpu-01")
    return grpc.ssl_channel_credentials(authority.ca.read_bytes(), key.read_bytes(), certificate.read_bytes())


@pytest.mark.parametrize("key", ["ca", "certificate", "key"])
def test_a_bad_certificate_file_is_named_with_its_key(tmp_path: Path, authority: Authority, key: str) -> None:
    bad = tmp_path / "bad.pem"
    bad.write_text("this is no certificate")
    code, said = refused(
        write_config(tmp_path, SKUS, tls_lines(authority)), {f"GPUTALLY_INTAKE__{key.upper()}": str(bad)}
    )
    assert code == 78 and str(bad) in said and key.upper() in said.upper()
    missing = tmp_path / "missing.pem"
    config = write_config(tmp_path, SKUS, tls_lines(authority).replace(f"\n{key} =", f'\n{key} = "{missing}" #'))
    if key != "ca":
        code, said = refused(config)
        assert code == 78 and f"intake.{key}" in said and str(missing) in said
    assert not (tmp_path / "ledger").exists()


def test_help_needs_no_configuration() -> None:
    done = run_command("collector", "--help")
    assert done.returncode == 0 and "69" in done.stdout
