"""Mutual TLS from files: who is let in, and that each refusal names its cause and loses no frame."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from gputally.storage.wal import Log

from ..certificates import Authority, make_authority
from .rude_collector import RudeCollector
from .test_uplink import HOST, MIB, all_acknowledged, in_trio, running, until, write

Settings = dict[str, Any]


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    opened = Log.open(tmp_path / "log", HOST, MIB)
    write(opened, 5)
    yield opened
    opened.close()


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return another_authority(tmp_path, "ours")


def another_authority(tmp_path: Path, name: str) -> Authority:
    folder = tmp_path / name
    folder.mkdir()
    return make_authority(folder)


@contextmanager
def serving(authority: Authority, host: str = "localhost") -> Iterator[RudeCollector]:
    collector = RudeCollector(credentials(authority), host)
    yield collector
    collector.stop()


def credentials(authority: Authority) -> grpc.ServerCredentials:
    certificate, key = authority.issue("collector")
    pair = (key.read_bytes(), certificate.read_bytes())
    return grpc.ssl_server_credentials([pair], authority.ca.read_bytes(), require_client_auth=True)


def settings(authority: Authority, *, ca: Path | None = None) -> Settings:
    certificate, key = authority.issue(HOST)
    return {
        "insecure_plaintext": False,
        "ca": str(ca or authority.ca),
        "certificate": str(certificate),
        "key": str(key),
    }


async def sees(log: Log, address: str, told: Settings, why: str) -> None:
    """The cause is in the status, and nothing is acknowledged."""
    async with running(log, address, **told) as uplink:
        await until(lambda: why in (uplink.status().last_error or ""))
        assert uplink.status().state in ("backoff", "connecting")
        assert address in (uplink.status().last_error or "")
    assert log.stat().unacked_frames == 5


@in_trio
async def test_frames_go_over_mutual_tls(log: Log, authority: Authority) -> None:
    with serving(authority) as collector:
        async with running(log, collector.address, **settings(authority)):
            await all_acknowledged(log)
    assert collector.ledger.cursor == 5


@in_trio
async def test_a_collector_signed_by_somebody_else_gets_nothing(log: Log, authority: Authority, tmp_path: Path) -> None:
    other = another_authority(tmp_path, "other")
    with serving(other) as collector:
        told = settings(other, ca=authority.ca)
        await sees(log, collector.address, told, "its certificate is not signed by the authority in uplink.ca")
    assert collector.hellos == []


@in_trio
async def test_a_collector_with_a_certificate_for_another_name_gets_nothing(log: Log, authority: Authority) -> None:
    # This machine as well, but the certificate is for localhost and 127.0.0.1.
    with serving(authority, host="127.0.0.2") as collector:
        await sees(log, collector.address, settings(authority), "its certificate is for another name")
    assert collector.hellos == []


@in_trio
async def test_a_host_whose_certificate_the_collector_does_not_know_is_not_let_in(
    log: Log, authority: Authority, tmp_path: Path
) -> None:
    other = another_authority(tmp_path, "other")
    with serving(authority) as collector:
        await sees(log, collector.address, settings(other, ca=authority.ca), "it hung up")
    assert collector.hellos == []


@in_trio
async def test_a_collector_without_tls_is_told_from_one_that_is_down(log: Log, authority: Authority) -> None:
    collector = RudeCollector()
    await sees(log, collector.address, settings(authority), "it speaks no TLS")
    collector.stop()


SPOILT: dict[str, Callable[[Settings], object]] = {
    "gone": lambda told: Path(told["certificate"]).unlink(),
    "no PEM": lambda told: Path(told["ca"]).write_text("no certificate"),
    "no key": lambda told: Path(told["ca"]).replace(told["key"]),
}


@pytest.mark.parametrize("spoilt", SPOILT)
@in_trio
async def test_a_spoilt_file_of_ours_is_named_and_mended_without_a_restart(
    log: Log, authority: Authority, spoilt: str
) -> None:
    with serving(authority) as collector:
        told = settings(authority)
        files = {told[key]: Path(told[key]).read_bytes() for key in ("ca", "certificate", "key")}
        SPOILT[spoilt](told)
        async with running(log, collector.address, **told) as uplink:
            await until(lambda: uplink.status().last_error)
            error = uplink.status().last_error or ""
            assert any(path in error for path in files), error
            for path, content in files.items():
                Path(path).write_bytes(content)
            await all_acknowledged(log)


@in_trio
async def test_a_renewed_certificate_is_used_by_the_next_stream(log: Log, authority: Authority, tmp_path: Path) -> None:
    told = settings(authority)
    with serving(authority) as collector:
        async with running(log, collector.address, linger_s=0, **told) as uplink:
            await all_acknowledged(log)
            await until(lambda: uplink.status().state == "quiet")
            renewed = another_authority(tmp_path, "renewed")
            collector.stop()
            collector.change_credentials(credentials(renewed))
            collector.start()
            for key, path in settings(renewed).items():
                if key != "insecure_plaintext":
                    Path(str(path)).replace(told[key])
            write(log, 2)
            uplink.wake()
            await all_acknowledged(log)
    assert collector.ledger.cursor == 7
