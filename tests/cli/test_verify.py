"""`gputally verify`, `gputally log verify` and `gputally log new-key` as an operator sees them."""

import json
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gputally.cli.main import main
from gputally.model.usage import Batch
from gputally.plugins.signing_key import load_key_file
from gputally.proto.convert import encode_batch
from gputally.storage.wal import Entry, Log

from ..signed_host import HOST, SignedHost, changed, forging, into_ledger, put


@pytest.fixture
def host(tmp_path: Path) -> Iterator[SignedHost]:
    made = SignedHost(tmp_path)
    made.write(10)
    yield made
    made.log.close()


@pytest.fixture
def ledger(tmp_path: Path, host: SignedHost) -> Path:
    return into_ledger(tmp_path / "ledger", host)


def gputally(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(each) for each in arguments])


def trusted(tmp_path: Path, *lines: str) -> Path:
    path = tmp_path / "trusted"
    path.write_text("# who may sign for whom\n" + "\n".join(lines) + "\n")
    return path


def test_a_whole_ledger_is_told_host_by_host(tmp_path: Path, ledger: Path, host: SignedHost) -> None:
    done = gputally("verify", ledger)
    assert done.exit_code == 0
    key = host.file.own.key_id.hex()
    assert done.stdout.splitlines() == [
        f"gpu-01  epoch {host.log.epoch.hex()}",
        "  frames     10 through 10, 0 tombstones, 0 skips for 0 frames",
        f"  signed     through 9 by key {key} (first seen, not pinned); the last 1 frames are not",
        "1 streams: all as their hosts wrote them",
    ]


def test_a_pinned_key_is_told(tmp_path: Path, ledger: Path, host: SignedHost) -> None:
    done = gputally("verify", ledger, "--trusted-keys", trusted(tmp_path, f"{HOST} {host.file.own.public_key.hex()}"))
    assert done.exit_code == 0 and "(pinned)" in done.stdout


def test_another_key_than_the_pinned_one_is_exit_1(tmp_path: Path, ledger: Path) -> None:
    done = gputally("verify", ledger, "--trusted-keys", trusted(tmp_path, f"{HOST} {'ab' * 32}  # the real one"))
    assert done.exit_code == 1
    assert "gpu-01: a key is pinned, and nothing is there that it has signed" in done.stdout


def test_the_first_broken_place_is_told_exactly_and_for_machines(ledger: Path, host: SignedHost) -> None:
    with forging(ledger) as db:
        put(db, changed(host.frames()[6], Batch(HOST, "boot")))
    done = gputally("verify", ledger)
    assert done.exit_code == 1
    assert "  BROKEN     at frame 8 (log.id 8): frame 8 does not follow the frame 7 that is there" in done.stdout
    told = json.loads(gputally("verify", ledger, "--json", "--host", HOST).stdout)
    assert told["whole"] is False and told["signatures_checked"] is True
    assert told["streams"][0]["broken"] == {
        "seq": 8,
        "log_id": 8,
        "what": "frame 8 does not follow the frame 7 that is there",
    }


def test_deleted_rows_are_told_even_where_no_stream_misses_them(ledger: Path) -> None:
    with forging(ledger) as db:
        db.execute("UPDATE log SET id = 20 WHERE id = 10")
    done = gputally("verify", ledger)
    assert done.exit_code == 1 and "10 rows were deleted" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("nowhere",), 66, "holds no ledger"),
        (("ledger", "--host", "gpu-99"), 66, "has no stream of host gpu-99"),
        (("ledger", "--trusted-keys", "nowhere"), 66, "nowhere cannot be read"),
    ],
)
def test_what_is_not_there_is_said_in_a_line(
    tmp_path: Path, ledger: Path, arguments: tuple[str, ...], code: int, words: str
) -> None:
    told = [tmp_path / each if each in ("nowhere", "ledger") else each for each in arguments]
    done = gputally("verify", *told)
    assert done.exit_code == code and words in done.stderr and done.stderr.count("\n") == 1


def test_a_bad_line_among_the_trusted_keys_is_named(tmp_path: Path, ledger: Path) -> None:
    path = trusted(tmp_path, "gpu-01 abc")
    assert gputally("verify", ledger, "--trusted-keys", path).stderr.startswith(f"{path}:2: must be a host's id")


def test_without_cryptography_the_chain_is_checked_and_that_is_said(tmp_path: Path, ledger: Path) -> None:
    code = "import sys; sys.modules['cryptography'] = None; from gputally.cli.main import main; main()"

    def without(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)

    done = without("verify", ledger)
    assert done.returncode == 0 and "signatures were not looked at" in done.stdout, done.stderr
    assert "signed" not in done.stdout.splitlines()[2]
    pinned = without("verify", ledger, "--trusted-keys", trusted(tmp_path))
    assert pinned.returncode == 69 and "gputally[sign]" in pinned.stderr
    assert "gputally[sign]" in without("log", "new-key", tmp_path / "new").stderr


def test_the_signatures_in_a_log_are_checked_where_it_is(tmp_path: Path, host: SignedHost) -> None:
    folder = tmp_path / f"log-{HOST}"
    host.log.close()
    done = gputally("log", "verify", folder)
    key = host.file.own.key_id.hex()
    assert (done.exit_code, done.stdout) == (0, f"{folder}: whole; signed through 9 by key {key}, not the last 1\n")


def test_a_forged_signature_in_a_log_is_exit_1(tmp_path: Path, host: SignedHost) -> None:
    """Whoever can write the log can make its chain fit; he has not the key."""
    signed = host.signing.sign(10**6)
    assert signed is not None
    host.write(1, every=2)
    (one,) = signed.checkpoints
    forged = Batch(HOST, "boot", checkpoints=(type(one)(one.key_id, one.epoch, one.seq, bytes(32), one.signature),))
    host.log.append([Entry(0, encode_batch(forged))], None)
    host.log.close()
    done = gputally("log", "verify", tmp_path / f"log-{HOST}")
    assert done.exit_code == 1 and "its signature is not that of key" in done.stderr


def test_a_log_whose_first_frames_are_trimmed_is_checked_from_the_next_introduction_on(tmp_path: Path) -> None:
    host = SignedHost(tmp_path)
    host.write(80)  # an introduction an hour
    host.log.acknowledge(30, 1)
    host.log.trim(2)
    host.log.close()
    done = gputally("log", "verify", tmp_path / f"log-{HOST}")
    assert done.exit_code == 0 and "whole; signed through 78" in done.stdout, done.stderr
    assert "10 signatures cannot be told" in done.stdout


def test_a_log_that_nobody_signs_is_whole_and_says_so(tmp_path: Path) -> None:
    log = Log.open(tmp_path / "log", HOST, 1 << 20)
    log.append([Entry(0, encode_batch(Batch(HOST, "boot")))], None)
    log.close()
    assert gputally("log", "verify", tmp_path / "log").stdout == f"{tmp_path / 'log'}: whole; nothing in it is signed\n"


def test_a_new_key_is_for_its_owner_alone_and_is_not_written_over(tmp_path: Path) -> None:
    path = tmp_path / "signing.key"
    done = gputally("log", "new-key", path)
    assert done.exit_code == 0 and stat.S_IMODE(path.stat().st_mode) == 0o400
    file = load_key_file(path)
    assert done.stdout == f"key id      {file.own.key_id.hex()}\npublic key  {file.own.public_key.hex()}\n"
    again = gputally("log", "new-key", path)
    assert again.exit_code == 78 and "--rotate" in again.stderr
    assert load_key_file(path).own == file.own


def test_a_rotated_key_is_introduced_by_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "signing.key"
    gputally("log", "new-key", path)
    first = load_key_file(path).own
    assert gputally("log", "new-key", path, "--rotate").exit_code == 0
    assert [key.signed_by for key in load_key_file(path).introductions] == [b"", first.key_id]
    assert [each.name for each in tmp_path.iterdir()] == ["signing.key"]
