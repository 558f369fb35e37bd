"""`gputally ledger backup` and `restore`: a ledger from yesterday, filled up again by its hosts, answers the same."""

import json
from pathlib import Path

import pytest
import trio

from gputally.daemon.config import UplinkConfig
from gputally.daemon.keeper import WriterThread
from gputally.daemon.uplink import Uplink
from gputally.model.interval import Interval
from gputally.model.usage import Batch
from gputally.proto.convert import encode_batch
from gputally.simulator.stream import SimulatedHost
from gputally.storage.ledger_backup import MANIFEST_FILE
from gputally.storage.ledger_folder import LOG_FILE
from gputally.storage.wal import Entry, Log

from ..collector.running import HOUR_NS, JUNE_NS, RunningCollector, run_command, write_config

HOST = "gpu-01"


class Host:
    """A real log and a real uplink; what is metered is said by the simulator, in frames of 8 records."""

    def __init__(self, folder: Path) -> None:
        self.log = Log.open(folder / "log", HOST, 8 << 20)
        said = SimulatedHost(HOST, records_per_frame=8)
        for gpu in range(4):
            span = Interval(JUNE_NS, JUNE_NS + 2 * HOUR_NS)
            said.hold(f"nvidia:GPU-{gpu}", "NVIDIA H100 80GB HBM3", f"org-{gpu}", span)
        self._payloads = [(frame.record_count, frame.payload()) for frame in said.frames()]

    def write(self, count: int) -> None:
        taken, self._payloads = self._payloads[:count], self._payloads[count:]
        self.log.append([Entry(records, payload) for records, payload in taken], None)

    def deliver(self, address: str) -> None:
        """Until everything is acknowledged."""

        async def run() -> None:
            config = UplinkConfig(endpoints=(address,), insecure_plaintext=True, linger_s=0.1)
            uplink = Uplink(self.log, config, HOST, "0.test", WriterThread())
            with trio.fail_after(60):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(uplink.run)
                    while self.log.stat().acked_seq < self.log.stat().last_seq:
                        await trio.sleep(0.02)
                    nursery.cancel_scope.cancel()

        trio.run(run)


def usage(collector: RunningCollector) -> object:
    told = collector.usage()
    told.pop("as_of", None)
    return told


def test_a_ledger_restored_from_an_older_backup_is_filled_up_by_its_hosts_and_answers_the_same(tmp_path: Path) -> None:
    host, backup = Host(tmp_path), tmp_path / "backup"
    with RunningCollector(write_config(tmp_path)) as collector:
        host.write(20)
        host.deliver(collector.intake)
        made = run_command("ledger", "backup", backup, "--config", collector.config)  # its collector runs
        assert made.returncode == 0, made.stderr
        host.write(1_000)
        host.deliver(collector.intake)
        before = usage(collector)
        assert collector.stop() == 0
        (tmp_path / "ledger").rename(tmp_path / "lost")
        restored = run_command("ledger", "restore", backup, "--to", tmp_path / "ledger")
        assert restored.returncode == 0 and "through entry 20" in restored.stdout, restored.stderr
        collector.start()
        assert usage(collector) != before, "else the backup was not older, and this test proves nothing"
        # The host has nothing new to say; it comes when the next frame does, and hears where the ledger stands.
        host.log.append([Entry(0, encode_batch(Batch(HOST, "boot-1")))], None)
        host.deliver(collector.intake)
        assert usage(collector) == before
        assert run_command("verify", tmp_path / "ledger").returncode == 0
    host.log.close()
    assert json.loads((backup / MANIFEST_FILE).read_text())["last_log_id"] == 20


def small_backup(folder: Path) -> Path:
    host = Host(folder)
    with RunningCollector(write_config(folder)) as collector:
        host.write(3)
        host.deliver(collector.intake)
        collector.stop()
    host.log.close()
    assert run_command("ledger", "backup", folder / "backup", "--ledger", folder / "ledger").returncode == 0
    return folder / "backup"


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    backup = small_backup(tmp_path)
    for arguments in (
        ("ledger", "backup", backup, "--ledger", tmp_path / "ledger"),
        ("ledger", "restore", backup, "--to", tmp_path / "ledger"),
    ):
        done = run_command(*arguments)
        assert done.returncode == 66 and "not overwritten" in done.stderr
    assert run_command("ledger", "restore", tmp_path, "--to", tmp_path / "new").returncode == 66
    assert run_command("ledger", "backup", tmp_path / "new", "--ledger", tmp_path / "nowhere").returncode == 66
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("damage", ["log", "manifest", "gone"])
def test_a_damaged_backup_is_refused_and_leaves_nothing(tmp_path: Path, damage: str) -> None:
    backup = small_backup(tmp_path)
    log, manifest = backup / LOG_FILE, backup / MANIFEST_FILE
    if damage == "log":
        raw = bytearray(log.read_bytes())
        raw[raw.rindex(b"\x28\xb5\x2f\xfd") + 9] ^= 1  # in the last batch: RFC 8878, 3.1.1
        log.write_bytes(raw)
    elif damage == "manifest":
        manifest.write_text(manifest.read_text().replace('"last_log_id": 3', '"last_log_id": 2'))
    else:
        log.unlink()
    done = run_command("ledger", "restore", backup, "--to", tmp_path / "new")
    assert done.returncode == (66 if damage == "gone" else 74) and str(tmp_path) in done.stderr, done.stderr
    assert sorted(path.name for path in tmp_path.iterdir() if "new" in path.name) == []
