"""A collector with TLS, as its own process: who is let in by which name, who no more, and files that change."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest

from gputally.plugins.tls_certificate import read_certificates
from gputally.simulator.uplink import Conversation, StreamEnded

from ..certificates import Authority, make_authority, spiffe
from .running import SKUS, RunningCollector, run_command, write_config

EPOCH = b"e" * 16
UNAVAILABLE = grpc.StatusCode.UNAVAILABLE


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    folder = tmp_path / "authority"
    folder.mkdir()
    return make_authority(folder)


def tls_lines(authority: Authority, *more: str) -> str:
    """Files of their own, which a test may change."""
    certificate, key = authority.issue("collector")
    return "\n".join([f'ca = "{authority.ca}"', f'certificate = "{certificate}"', f'key = "{key}"', *more])


def running(folder: Path, authority: Authority, *more: str) -> RunningCollector:
    return RunningCollector(write_config(folder, SKUS, tls_lines(authority, *more)))


def credentials(authority: Authority, host: str, ca: Path | None = None, **issued: Any) -> grpc.ChannelCredentials:
    certificate, key = authority.issue(host, **issued)
    return grpc.ssl_channel_credentials((ca or authority.ca).read_bytes(), key.read_bytes(), certificate.read_bytes())


def welcomed(collector: RunningCollector, host: str, shown: grpc.ChannelCredentials) -> bool:
    with Conversation(collector.intake, shown) as said:
        return said.hello(host, EPOCH).committed_seq == 0


def refusal(collector: RunningCollector, host: str, shown: grpc.ChannelCredentials) -> StreamEnded:
    with pytest.raises(StreamEnded) as ended:
        welcomed(collector, host, shown)
    return ended.value


def wait_until(what: Callable[[], object], within_s: float = 60.0) -> None:
    end = time.monotonic() + within_s
    while not what():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_by_a_rule_for_spiffe_ids_no_other_name_opens_a_stream(tmp_path: Path, authority: Authority) -> None:
    rule = 'identity = ["spiffe://example.org/host/{host}"]'
    with running(tmp_path, authority, rule) as collector:
        mine = credentials(authority, "ignored", names=[spiffe("spiffe://example.org/host/gpu-01")])
        assert welcomed(collector, "gpu-01", mine)
        assert "names gpu-01, not gpu-02" in refusal(collector, "gpu-02", mine).why
        foreign = credentials(authority, "gpu-01", names=[spiffe("spiffe://evil.org/host/gpu-01")])
        ended = refusal(collector, "gpu-01", foreign)
        assert ended.code is grpc.StatusCode.PERMISSION_DENIED and "no host" in ended.why
        assert "PERMISSION_DENIED" in collector.log.read_text()


@pytest.mark.parametrize(
    ("days", "reason"), [((-3, -1), "certificate has expired"), ((1, 3), "certificate is not yet valid")]
)
def test_a_host_whose_certificate_is_out_of_its_time_is_not_heard_and_the_collectors_log_says_why(
    tmp_path: Path, authority: Authority, days: tuple[float, float], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GRPC_VERBOSITY", raising=False)  # as a collector is started; only daemons silence gRPC
    with running(tmp_path, authority) as collector:
        assert refusal(collector, "gpu-01", credentials(authority, "gpu-01", days=days)).code is UNAVAILABLE
        wait_until(lambda: reason in collector.log.read_text())
        assert welcomed(collector, "gpu-01", credentials(authority, "gpu-01"))


def test_whoever_is_revoked_is_refused_from_then_on_and_loses_a_live_stream(
    tmp_path: Path, authority: Authority
) -> None:
    revoked = tmp_path / "revoked"
    revoked.write_text("host:gpu-09\n")
    with running(tmp_path, authority, f'revoked = "{revoked}"') as collector:
        certificate, key = authority.issue("gpu-01")
        serial = read_certificates(certificate.read_bytes())[0].serial
        shown = grpc.ssl_channel_credentials(authority.ca.read_bytes(), key.read_bytes(), certificate.read_bytes())
        assert "host:gpu-09" in refusal(collector, "gpu-09", credentials(authority, "gpu-09")).why
        with Conversation(collector.intake, shown) as said:
            said.hello("gpu-01", EPOCH)
            revoked.write_text(f"host:gpu-09\nserial:{serial:x}\n")
            too_late = threading.Timer(60, collector.kill)
            too_late.start()
            with pytest.raises(StreamEnded, match="gpu-01 is revoked at the collector") as ended:
                said.hear()
            too_late.cancel()
            assert ended.value.code is grpc.StatusCode.PERMISSION_DENIED
        assert f"serial:{serial:x}" in refusal(collector, "gpu-01", shown).why
        assert welcomed(collector, "gpu-01", credentials(authority, "gpu-01"))  # a new certificate of the same host
        assert "gpu-01 is revoked" in collector.log.read_text()
        revoked.write_text("host:gpu-09\nrubbish\n")
        assert "host:gpu-09" in refusal(collector, "gpu-09", credentials(authority, "gpu-09")).why
        (trouble,) = collector.ask("/readyz").json()["tls"]["trouble"]
        assert trouble.startswith("intake.revoked: revoked line 2: must be sha256:, serial: or host:")
        revoked.unlink()
        assert "host:gpu-09" in refusal(collector, "gpu-09", credentials(authority, "gpu-09")).why


def test_files_that_change_are_shown_to_the_next_host_without_a_restart(tmp_path: Path, authority: Authority) -> None:
    folder = tmp_path / "next"
    folder.mkdir()
    following = make_authority(folder, "the next authority")
    with running(tmp_path, authority) as collector:
        assert welcomed(collector, "gpu-01", credentials(authority, "gpu-01"))
        only_new = credentials(following, "gpu-01")
        assert refusal(collector, "gpu-01", only_new).code is UNAVAILABLE
        authority.ca.write_bytes(authority.ca.read_bytes() + following.ca.read_bytes())
        for path, old in zip(following.issue("collector"), ("collector.pem", "collector.key"), strict=True):
            path.replace(authority.folder / old)
        assert welcomed(collector, "gpu-01", only_new)
        both = tmp_path / "both.pem"
        both.write_bytes(authority.ca.read_bytes())
        assert welcomed(collector, "gpu-01", credentials(authority, "gpu-01", ca=both))
        authority.ca.write_bytes(following.ca.read_bytes())
        assert welcomed(collector, "gpu-01", only_new)
        assert refusal(collector, "gpu-01", credentials(authority, "gpu-01", ca=both)).code is UNAVAILABLE


def test_bad_new_files_keep_the_old_in_force_and_are_an_alarm(tmp_path: Path, authority: Authority) -> None:
    with running(tmp_path, authority) as collector:
        shown = credentials(authority, "gpu-01")
        tls = collector.ask("/readyz").json()["tls"]
        assert tls["changed_files_refused"] is False
        assert {each["key"]: each["state"] for each in tls["certificates"]} == dict.fromkeys(
            ("ca", "certificate"), "expires_soon"
        )
        assert str(tmp_path) not in collector.ask("/readyz").text
        (authority.folder / "collector.key").write_text("rubbish")
        assert welcomed(collector, "gpu-01", shown)
        tls = collector.ask("/readyz").json()["tls"]
        assert tls["changed_files_refused"] is True
        assert len(tls["trouble"]) == 1 and tls["trouble"][0].startswith("intake.key: collector.key "), tls
        assert str(tmp_path) not in collector.ask("/readyz").text
        said = collector.log.read_text()
        assert "stay in force" in said and str(authority.folder / "collector.key") in said
        assert f"intake.certificate: {authority.folder / 'collector.pem'} expires on " in said


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("identity = []", "intake.identity: is empty"),
        ('identity = ["dns:host"]', 'intake.identity: holds "dns:host"'),
        ('revoked = "/nowhere/revoked"', "intake.revoked: /nowhere/revoked cannot be read"),
    ],
)
def test_a_rule_or_a_list_that_cannot_be_read_is_refused_before_anything_is_touched(
    tmp_path: Path, authority: Authority, line: str, what: str
) -> None:
    done = run_command("collector", "--config", write_config(tmp_path, SKUS, tls_lines(authority, line)))
    assert done.returncode == 78 and what in done.stderr
    assert not (tmp_path / "ledger").exists()
