"""Mutual TLS from files: who is let in, and that each refusal names its cause and loses no frame."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest
import trio
from cryptography import x509

from gputally.daemon.uplink import Uplink
from gputally.storage.wal import Log

from ..certificates import Authority, make_authority, spiffe
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
def serving(authority: Authority, host: str = "localhost", **issued: Any) -> Iterator[RudeCollector]:
    collector = RudeCollector(credentials(authority, **issued), host)
    yield collector
    collector.stop()


def credentials(authority: Authority, **issued: Any) -> grpc.ServerCredentials:
    certificate, key = authority.issue("collector", **issued)
    pair = (key.read_bytes(), certificate.read_bytes())
    return grpc.ssl_server_credentials([pair], authority.ca.read_bytes(), require_client_auth=True)


def settings(authority: Authority, *, ca: Path | None = None, **issued: Any) -> Settings:
    certificate, key = authority.issue(HOST, **issued)
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


@pytest.mark.parametrize(
    ("days", "why"), [((-3, -1), "its certificate, or the authority's, has expired"), ((1, 3), "is not valid yet")]
)
@in_trio
async def test_a_collector_whose_certificate_is_out_of_its_time_gets_nothing(
    log: Log, authority: Authority, days: tuple[float, float], why: str
) -> None:
    with serving(authority, days=days) as collector:
        await sees(log, collector.address, settings(authority), why)
    assert collector.hellos == []


@pytest.mark.parametrize(("days", "why"), [((-3, -1), "expired on"), ((1, 3), "is not valid before")])
@in_trio
async def test_a_host_whose_own_certificate_is_out_of_its_time_knows_why_it_is_not_let_in(
    log: Log, authority: Authority, days: tuple[float, float], why: str
) -> None:
    told = settings(authority, days=days)
    with serving(authority) as collector:
        await sees(log, collector.address, told, f"uplink.certificate: {told['certificate']} {why}")
    assert collector.hellos == []


@in_trio
async def test_a_collector_that_is_addressed_by_another_name_is_known_by_the_configured_one(
    log: Log, authority: Authority
) -> None:
    names = [x509.DNSName("collector.example"), spiffe("spiffe://example.org/collector")]
    with serving(authority, names=names) as collector:
        await sees(log, collector.address, settings(authority), "its certificate is for another name")
        other = {**settings(authority), "collector_name": "other.example"}
        await sees(log, collector.address, other, "its certificate is for another name")
        told = {**settings(authority), "collector_name": "collector.example"}
        async with running(log, collector.address, **told):
            await all_acknowledged(log)


@in_trio
async def test_a_collector_that_has_only_a_spiffe_id_cannot_be_known(log: Log, authority: Authority) -> None:
    """gRPC in Python compares DNS names and addresses only; docs/tls.md says so."""
    with serving(authority, names=[spiffe("spiffe://example.org/collector")]) as collector:
        told = {**settings(authority), "collector_name": "spiffe://example.org/collector"}
        await sees(log, collector.address, told, "its certificate is for another name")


@in_trio
async def test_a_held_stream_is_left_and_opened_again_when_the_hosts_files_change(
    log: Log, authority: Authority
) -> None:
    told = settings(authority)
    with serving(authority) as collector:
        async with running(log, collector.address, linger_s=float("inf"), **told) as uplink, watching(uplink):
            for streams in range(1, 4):
                await all_acknowledged(log)
                assert (len(collector.hellos), collector.goodbyes) == (streams, streams - 1)
                assert uplink.status().state == "streaming"
                authority.issue(HOST)  # over the former files
                await until(partial(has_goodbyes, collector, streams))
                write(log, 2)
                uplink.wake()
            await all_acknowledged(log)
    assert (collector.ledger.cursor, collector.ledger.said) == (11, 11)


@in_trio
async def test_no_frame_is_lost_or_said_twice_when_files_change_in_the_middle_of_a_backlog(
    log: Log, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    write(log, 400)
    with serving(authority) as collector:
        collector.manners.ack_after_s = 0.002
        told = settings(authority)
        async with running(log, collector.address, linger_s=float("inf"), **told) as uplink, watching(uplink):
            for _ in range(3):
                await until(partial(has_frames, collector, collector.ledger.cursor + 20))
                authority.issue(HOST)
            await all_acknowledged(log)
    assert (collector.ledger.cursor, collector.ledger.said) == (405, 405)
    assert collector.goodbyes >= 1
    assert [record for record in caplog.records if "no stream" in record.getMessage()] == [], "a change is no failure"


@in_trio
async def test_bad_new_files_neither_end_a_stream_nor_keep_the_next_from_opening(
    log: Log, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    told = settings(authority)
    with serving(authority) as collector:
        async with running(log, collector.address, linger_s=float("inf"), **told) as uplink, watching(uplink):
            await all_acknowledged(log)
            Path(told["key"]).write_text("rubbish")
            await until(lambda: uplink.credentials.described()["trouble"])
            assert (uplink.status().state, len(collector.hellos)) == ("streaming", 1)
            collector.stop()
            collector.start()
            write(log, 2)
            uplink.wake()
            await all_acknowledged(log)
    assert len([record for record in caplog.records if "stay in force" in record.getMessage()]) == 1


@in_trio
async def test_the_next_endpoint_is_taken_when_the_first_cannot_be_trusted(
    log: Log, authority: Authority, tmp_path: Path
) -> None:
    with serving(another_authority(tmp_path, "other")) as impostor, serving(authority) as collector:
        async with running(log, impostor.address, collector.address, **settings(authority)) as uplink:
            await all_acknowledged(log)
            assert uplink.status().endpoint == collector.address
    assert impostor.hellos == []


@in_trio
async def test_what_runs_out_is_in_the_status_with_its_file_and_day(
    log: Log, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    told = settings(authority, days=(-1, 20))
    with serving(authority) as collector:
        async with running(log, collector.address, **told) as uplink, watching(uplink):
            await until(lambda: uplink.credentials.described()["files"])
            _, certificate = uplink.credentials.described()["files"]
    assert (certificate["file"], certificate["state"]) == (told["certificate"], "expires_soon")
    assert any(told["certificate"] in record.getMessage() for record in caplog.records)


def has_goodbyes(collector: RudeCollector, count: int) -> bool:
    return collector.goodbyes == count


def has_frames(collector: RudeCollector, count: int) -> bool:
    return collector.ledger.cursor > count


@asynccontextmanager
async def watching(uplink: Uplink) -> AsyncIterator[None]:
    """The actor that looks at the files, without its patience."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(uplink.watch_credentials, 0.02)
        yield
        nursery.cancel_scope.cancel()
