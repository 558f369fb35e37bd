"""`gputally collector rebuild`: the projection made again, and only while nobody else has the folder."""

import subprocess
import sys
from pathlib import Path

import pytest

from gputally.storage.ledger_folder import PROJECTION_FILE, FolderLock

from .folded import Folded
from .test_rollups import hosts

COMMAND = Path(sys.executable).parent / "gputally"


def rebuild(folder: Path) -> subprocess.CompletedProcess[str]:
    config = folder.parent / "collector.toml"
    config.write_text(f'[intake]\nlisten = "127.0.0.1:0"\ninsecure_plaintext = true\n[ledger]\npath = "{folder}"\n')
    command = [str(COMMAND), "collector", "rebuild", "--config", str(config)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "ledger"
    made.mkdir()
    return made


def test_a_damaged_projection_is_made_again_with_the_same_totals(folder: Path) -> None:
    with Folded(folder) as before:
        for host in hosts():
            before.take(host.host_id, host.batches())
        told = before.usage()
    (folder / PROJECTION_FILE).write_bytes(b"the disk had other ideas")
    done = rebuild(folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("rebuilt: ")
    with Folded(folder) as after:
        assert after.projection.position == int(told["as_of"])
        assert after.usage() == told


def test_a_rebuild_refuses_while_a_collector_has_the_folder(folder: Path) -> None:
    with Folded(folder) as there:
        there.take("gpu-0", hosts()[0].batches())
    held = FolderLock(folder)
    kept = (folder / PROJECTION_FILE).read_bytes()
    try:
        done = rebuild(folder)
    finally:
        held.release()
    assert done.returncode == 69 and "ledger.path" in done.stderr and len(done.stderr.splitlines()) == 1
    assert (folder / PROJECTION_FILE).read_bytes() == kept


def test_where_there_is_no_log_a_rebuild_makes_none(folder: Path) -> None:
    done = rebuild(folder)
    assert done.returncode == 78 and "log.sqlite" in done.stderr
    assert list(folder.iterdir()) == []
