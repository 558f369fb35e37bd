"""Every certificate, key and authority changes on both sides while 100,000 records stream: none lost, none doubled."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest
import trio

from gputally.cli.pki_make import Issued, Kind, Signer, general_names, issue, make_authority
from gputally.daemon.uplink import Uplink
from gputally.model.interval import Interval
from gputally.proto.convert import encode_batch
from gputally.simulator.stream import SimulatedHost
from gputally.simulator.uplink import Conversation, StreamEnded
from gputally.storage.frame import read_frame
from gputally.storage.ledger_reader import LedgerReader
from gputally.storage.ledger_rules import EntryKind
from gputally.storage.wal import Entry, Log

from ..collector.running import JUNE_NS, SKUS, RunningCollector, write_config
from ..daemon.test_uplink import HOST, MIB, running

RECORDS, IN_A_FRAME, IN_A_COMMIT = 100_000, 100, 5
TENTH, CHANGES = RECORDS // IN_A_FRAME // 10, 8
WINDOW_NS = 10 * 10**9
WITHIN_S = 120


class Side:
    """The three files of one side."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.ca, self.certificate, self.key = folder / "ca.pem", folder / "own.pem", folder / "own.key"

    def trust(self, *authorities: Issued) -> None:
        draft = self.ca.with_suffix(".new")
        draft.write_bytes(b"".join(authority.certificate_pem for authority in authorities))
        draft.replace(self.ca)

    def bear(self, authority: Issued, name: str, kind: Kind) -> None:
        """In two steps, as every tool does it: in between the two files do not fit."""
        made = issue(Signer(authority.certificate, authority.key), name, general_names([name]), kind, 90)
        self.certificate.write_bytes(made.certificate_pem)
        self.key.write_bytes(made.key_pem)

    def settings(self) -> dict[str, str]:
        return {"ca": str(self.ca), "certificate": str(self.certificate), "key": str(self.key)}


class Deployment:
    """Both sides, and one thing after the other that changes."""

    def __init__(self, folder: Path) -> None:
        # Of one name, as two runs of the same command make them.
        self.old, self.new = make_authority("authority", 90), make_authority("authority", 90)
        self.host, self.collector = Side(folder / "host"), Side(folder / "collector")
        self.all_from(self.old)

    def all_from(self, authority: Issued) -> None:
        for side in (self.host, self.collector):
            side.trust(authority)
        self.host.bear(authority, HOST, Kind.HOST)
        self.collector.bear(authority, "localhost", Kind.COLLECTOR)

    def changes(self) -> list[tuple[Side, Callable[[], None]]]:
        """(whose files change, what changes them), in an order in which both sides always know each other."""
        host, collector, old, new = self.host, self.collector, self.old, self.new
        return [
            (host, partial(host.bear, old, HOST, Kind.HOST)),
            (collector, partial(collector.bear, old, "localhost", Kind.COLLECTOR)),
            (collector, partial(collector.trust, old, new)),
            (host, partial(host.trust, old, new)),
            (host, partial(host.bear, new, HOST, Kind.HOST)),
            (collector, partial(collector.bear, new, "localhost", Kind.COLLECTOR)),
            (host, partial(host.trust, new)),
            (collector, partial(collector.trust, new)),
        ]


def payloads() -> Iterator[Entry]:
    host = SimulatedHost(HOST, records_per_frame=IN_A_FRAME)
    host.hold("nvidia:GPU-1", "NVIDIA H100", "A", Interval(JUNE_NS, JUNE_NS + RECORDS * WINDOW_NS), WINDOW_NS)
    for batch in host.batches():
        yield Entry(len(batch.records), encode_batch(batch))


class Course:
    """How far things have changed. A change begins and ends while frames are streaming: one for each tenth of them."""

    def __init__(self, log: Log, uplink: Uplink) -> None:
        self.log, self.uplink, self.changes = log, uplink, 0

    async def meter(self) -> None:
        """Never more than two tenths ahead of what has changed."""
        entries = list(payloads())
        for at in range(0, len(entries), IN_A_COMMIT):
            while at >= (self.changes + 2) * TENTH and self.changes < CHANGES:
                await trio.sleep(0.02)
            await trio.to_thread.run_sync(self.log.append, entries[at : at + IN_A_COMMIT], None)
            self.uplink.wake()
            await trio.sleep(0.01)

    async def change_everything(self, deployment: Deployment) -> None:
        changes = deployment.changes()
        assert len(changes) == CHANGES
        for side, change in changes:
            while self.log.stat().acked_seq < (self.changes + 1) * TENTH:
                await trio.sleep(0.02)
            number = self.uplink.credentials.number
            await trio.to_thread.run_sync(change)
            while side is deployment.host and self.uplink.credentials.number == number:
                await trio.sleep(0.02)
            self.changes += 1


def shown(side: Side) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(side.ca.read_bytes(), side.key.read_bytes(), side.certificate.read_bytes())


def test_certificates_keys_and_authority_rotate_on_both_sides_during_a_stream(tmp_path: Path) -> None:
    deployment = Deployment(tmp_path)
    former = shown(deployment.host)
    toml = "\n".join(f'{key} = "{path}"' for key, path in deployment.collector.settings().items())
    config = write_config(tmp_path, SKUS, toml)
    config.write_text(config.read_text().replace('listen = "127.0.0.1:0"', 'listen = "localhost:0"', 1))
    log = Log.open(tmp_path / "log", HOST, 64 * MIB)
    with RunningCollector(config) as collector:
        trio.run(stream_and_change, deployment, log, collector.intake)
        assert_each_once(tmp_path / "ledger")
        with Conversation(collector.intake, shown(deployment.host)) as said:
            assert said.hello(HOST, log.epoch).committed_seq == RECORDS // IN_A_FRAME
        with pytest.raises(StreamEnded), Conversation(collector.intake, former) as said:
            said.hello(HOST, log.epoch)
    log.close()


async def stream_and_change(deployment: Deployment, log: Log, address: str) -> None:
    told: dict[str, Any] = {"linger_s": float("inf"), "insecure_plaintext": False, **deployment.host.settings()}
    with trio.fail_after(WITHIN_S):
        async with running(log, address, **told) as uplink, trio.open_nursery() as nursery:
            course = Course(log, uplink)
            nursery.start_soon(uplink.watch_credentials, 0.02)
            nursery.start_soon(course.change_everything, deployment)
            await course.meter()
            while log.stat().unacked_frames:
                await trio.sleep(0.02)
            assert course.changes == CHANGES
            nursery.cancel_scope.cancel()


def assert_each_once(ledger: Path) -> None:
    with LedgerReader(ledger) as reader:
        entries = reader.read(0, 10_000, 1 << 30)
    assert [entry.seq for entry in entries] == list(range(1, RECORDS // IN_A_FRAME + 1))
    assert {entry.kind for entry in entries} == {EntryKind.FRAME}
    assert sum(read_frame(entry.body).record_count for entry in entries) == RECORDS
