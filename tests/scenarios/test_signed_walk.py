"""A host that signs, a collector that runs, and somebody who checks beside it: all with the real commands."""

import shutil
import sqlite3
import time
from hashlib import sha256
from pathlib import Path

from click.testing import CliRunner, Result

from gputally.cli.main import main
from gputally.storage.ledger_folder import LOG_FILE

from .field import DOCKER, a_field


def gputally(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(each) for each in arguments])


def test_what_a_host_signed_is_verified_beside_its_collector_and_in_a_copy(tmp_path: Path) -> None:
    key, trusted = tmp_path / "signing.key", tmp_path / "trusted"
    public_key = gputally("log", "new-key", key).stdout.split()[-1]
    trusted.write_text(f"sim-01 {public_key}\n")
    with a_field(tmp_path, gpus=1, log={"signing_key": str(key)}) as field:
        field.start_collector()
        field.start_daemon()
        field.rig.start("a", DOCKER.format("a"), 0)
        time.sleep(3)
        assert field.status()["signing"]["key_id"] == sha256(bytes.fromhex(public_key)).hexdigest()[:16]
        field.stop_daemon()
        assert gputally("log", "new-key", key, "--rotate").exit_code == 0
        field.start_daemon()
        time.sleep(2)
        field.wait_for_frames()
        field.end_jobs()
        field.stop_daemon()
        done = gputally("verify", tmp_path / "ledger", "--trusted-keys", trusted)
        assert done.exit_code == 0, done.stdout
        assert "(pinned); the last 1 frames are not" in done.stdout
        field.assert_lawful()
        local = gputally("log", "verify", tmp_path / "log")
        assert local.exit_code == 0 and ", not the last 1\n" in local.stdout, local.stdout + local.stderr
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in (tmp_path / "ledger").glob(f"{LOG_FILE}*"):
        shutil.copy(file, copy)
    assert gputally("verify", copy, "--trusted-keys", trusted).exit_code == 0
    db = sqlite3.connect(copy / LOG_FILE)
    db.execute("DROP TRIGGER log_is_never_changed")
    batch = "(SELECT batch FROM run WHERE stream = 1 AND last_seq >= 2 LIMIT 1)"
    db.execute(f"UPDATE log SET body = substr(body, 1, length(body) - 1) || x'00' WHERE id = {batch}")
    db.commit()
    db.close()
    broken = gputally("verify", copy, "--trusted-keys", trusted)
    assert broken.exit_code == 1 and "BROKEN     at frame " in broken.stdout
