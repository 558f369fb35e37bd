"""`gputally verify` on a sealed month: recomputed from the log, whatever was done to it since is found."""

import json
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from click.testing import CliRunner, Result

from gputally.cli.main import main
from gputally.collector.audit import audit
from gputally.collector.audit_seals import audit_seals, read_seals
from gputally.model.interval import Interval
from gputally.plugins.ed25519 import check
from gputally.plugins.signing_key import KeyFile, load_key_file, make_key_file, write_key_file
from gputally.simulator.stream import SimulatedHost
from gputally.storage.ledger_copy import FRAME, LedgerCopy

from ..collector.running import HOUR_NS, JUNE_NS, RunningCollector, write_config
from ..collector.test_periods import close, seal
from ..signed_host import tampering

HOSTS = ("gpu-01", "gpu-02")


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a ledger of two hosts whose June is sealed and signed, and its key. Not to be changed."""
    folder = tmp_path_factory.mktemp("sealed")
    with running(folder, make_key_file()) as collector:
        for name in HOSTS:
            collector.deliver(host(name))
        collector.wait_until_folded()
        assert close(collector).status_code == 201
        assert seal(collector).status_code == 201
        collector.stop()
    return folder


def host(name: str, tenant: str = "A") -> SimulatedHost:
    made = SimulatedHost(name, records_per_frame=48)
    made.hold(f"nvidia:GPU-{name}", "NVIDIA L40", tenant, Interval(JUNE_NS, JUNE_NS + 720 * HOUR_NS), HOUR_NS)
    return made


def running(folder: Path, key: KeyFile) -> RunningCollector:
    write_key_file(folder / "seal.key", key, replace=False)
    config = write_config(folder)
    path = f'path = "{folder / "ledger"}"'
    config.write_text(config.read_text().replace(path, f'{path}\nsigning_key = "{folder / "seal.key"}"'))
    return RunningCollector(config)


@pytest.fixture
def copy(tmp_path: Path, sealed: Path) -> Path:
    """The log alone, as a backup has it."""
    (tmp_path / "ledger").mkdir()
    for file in (sealed / "ledger").glob("log.sqlite*"):
        shutil.copy(file, tmp_path / "ledger")
    return tmp_path / "ledger"


@pytest.fixture
def trusted(tmp_path: Path, sealed: Path) -> Path:
    path = tmp_path / "trusted"
    path.write_text(f"gputally:ledger {load_key_file(sealed / 'seal.key').own.public_key.hex()}\n")
    return path


def gputally(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(each) for each in arguments])


def test_a_sealed_month_is_recomputed_from_a_copy_of_the_log(copy: Path, trusted: Path) -> None:
    done = gputally("verify", copy, "--period", "2025-06", "--trusted-keys", trusted)
    assert done.exit_code == 0, done.output
    assert "period  2025-06-01T00:00:00Z to 2025-07-01T00:00:00Z" in done.stdout
    assert "signature: right" in done.stdout and f"over {2 * 2 * 720} leaves" in done.stdout
    assert gputally("verify", copy).stdout.count("  root ") == 1
    assert "root" not in gputally("verify", copy, "--period", "none").stdout
    (told,) = json.loads(gputally("verify", copy, "--json").stdout)["seals"]
    assert (told["wrong"], told["leaves"], told["signature"]) == ("", 2_880, "by a key that is not pinned")


def test_another_key_than_the_pinned_one_is_exit_1(copy: Path, tmp_path: Path) -> None:
    (tmp_path / "others").write_text(f"gputally:ledger {make_key_file().own.public_key.hex()}\n")
    done = gputally("verify", copy, "--trusted-keys", tmp_path / "others")
    assert done.exit_code == 1 and "not signed by a key that is pinned" in done.stdout, done.output


@pytest.mark.parametrize(("period", "code"), [("2025-07", 66), ("June", 2), ("2025-13", 2)])
def test_a_month_without_a_seal_is_said(copy: Path, period: str, code: int) -> None:
    done = gputally("verify", copy, "--period", period)
    assert done.exit_code == code, done.output


def flip(db: sqlite3.Connection, random: Random) -> tuple[int, str, bytes]:
    """One bit of what is stored of one entry. Returns how to put it back."""
    names = [name for _, name, kind, *_ in db.execute("PRAGMA table_info (log)") if kind.upper() == "BLOB"]
    rows = db.execute(f"SELECT id, {', '.join(names)} FROM log").fetchall()
    row_id, *values = random.choice(rows)
    name, before = random.choices(
        list(zip(names, values, strict=True)), [len(value) if isinstance(value, bytes) else 0 for value in values]
    )[0]
    changed = bytearray(before)
    place = random.randrange(len(changed) * 8)
    changed[place // 8] ^= 1 << place % 8
    db.execute(f"UPDATE log SET {name} = ? WHERE id = ?", (bytes(changed), row_id))
    db.commit()
    return row_id, name, before


def flips_found(copy: Path, times: int) -> Iterator[bool]:
    random = Random(5)
    with tampering(copy) as db:
        for _ in range(times):
            row_id, name, before = flip(db, random)
            broken = [report for report in audit(copy, None, {}, None) if report.broken is not None]
            yield bool(broken) and all(one.host_id and one.epoch and one.broken and one.broken.seq for one in broken)
            db.execute(f"UPDATE log SET {name} = ? WHERE id = ?", (before, row_id))
            db.commit()


def test_any_flipped_bit_is_found_with_its_host_epoch_and_frame(copy: Path) -> None:
    assert not [report for report in audit(copy, None, {}, None) if report.broken]
    assert all(flips_found(copy, 50))


@pytest.mark.long
def test_a_thousand_flipped_bits_are_found(copy: Path) -> None:
    assert all(flips_found(copy, 1_000))


def test_a_flipped_bit_is_told_to_the_operator(copy: Path) -> None:
    with tampering(copy) as db:
        flip(db, Random(7))
    done = gputally("verify", copy, "--period", "2025-06")
    assert done.exit_code == 1 and "BROKEN     at frame" in done.stdout, done.output
    assert "epoch" in done.stdout and "was not recomputed" in done.stdout


def test_a_log_that_was_written_anew_as_a_whole_has_another_root(tmp_path: Path, sealed: Path) -> None:
    """Every hash and link fits, and the seals are the old ones: only the roots tell."""
    folder = tmp_path / "ledger"
    forge(sealed / "ledger", folder, {"gpu-02": host("gpu-02", "B")})
    assert not [report for report in audit(folder, None, {}, check) if report.broken]
    done = gputally("verify", folder)
    assert done.exit_code == 1 and "the log has 2880 with root" in done.stdout, done.output


def test_a_log_that_lacks_a_host_has_another_root(tmp_path: Path, sealed: Path) -> None:
    folder = tmp_path / "ledger"
    forge(sealed / "ledger", folder, {"gpu-02": SimulatedHost("gpu-02")})
    (report,) = audit_seals(folder, read_seals(folder), frozenset(), check)
    assert report.wrong, "the seal covers entries that are not there any more"


def forge(honest: Path, folder: Path, others: dict[str, SimulatedHost]) -> None:
    """A ledger with the same entries in the same order, but those of some hosts, whose frames are others'."""
    from gputally.collector.examine import examine
    from gputally.storage.frame import Frame
    from gputally.storage.ledger import Ledger
    from gputally.storage.ledger_reader import LedgerReader

    folder.mkdir()
    with LedgerReader(honest) as reader:
        entries = reader.read(0, 100_000, 1 << 30)
    made: dict[str, Iterator[Frame]] = {name: each.frames() for name, each in others.items()}
    ledger = Ledger(folder)
    for entry in entries:
        stream, body = entry.stream, entry.body
        if stream.host_id in made:
            frame = next(made[stream.host_id], None)
            if frame is None:
                continue
            stream, body = type(stream)(stream.host_id, frame.epoch), frame.to_bytes()
        ledger.commit([examine(body, stream, 0)], entry.received_ns)
    ledger.close()


def test_what_the_collector_answers_is_what_it_sealed(tmp_path: Path) -> None:
    with running(tmp_path, key := make_key_file()) as collector:
        collector.deliver(host("gpu-01"))
        collector.wait_until_folded()
        close(collector)
        seal(collector)
        (tmp_path / "trusted").write_text(f"gputally:ledger {key.own.public_key.hex()}\n")
        asked = ("verify", "--collector", collector.url, "--trusted-keys", tmp_path / "trusted")
        done = gputally(*asked, "--period", "2025-06")
        assert done.exit_code == 0, done.output
        assert "signature  right" in done.stdout and "records    720 under it, 0 corrected" in done.stdout
        assert gputally(*asked, "--period", "2025-05").exit_code == 66
        (tmp_path / "trusted").write_text(f"gputally:ledger {'ab' * 32}\n")
        assert gputally(*asked).exit_code == 1
    assert gputally(*asked).exit_code == 69
    assert gputally("verify").exit_code == 2


def test_the_own_streams_frames_are_there_to_be_flipped(copy: Path) -> None:
    """Else the flips above would only hit hosts'."""
    with LedgerCopy(copy) as ledger:
        streams = {stream.id.host_id: stream for stream in ledger.streams()}
        rows = ledger.rows(streams["gputally:ledger"], 0)[1]
    assert set(streams) == {*HOSTS, "gputally:ledger"} and [row.kind for row in rows] == [FRAME] * 2
