"""The daemon signs what it wrote: once a minute and when it stops, in frames that it writes anyway."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import pytest
import trio
from trio.testing import MockClock

from gputally.cli.log_signatures import LogSignatures
from gputally.daemon.keeper import Keeper, WriterThread
from gputally.daemon.loading import load_daemon_config
from gputally.daemon.signing import Signing
from gputally.model.key_ring import KeyRing
from gputally.model.meter import Meter
from gputally.model.settings import BadSettings
from gputally.model.usage import Batch
from gputally.plugins.ed25519 import check
from gputally.plugins.signing_key import make_key_file, write_key_file
from gputally.proto.convert import decode_batch
from gputally.storage.frame import read_frame
from gputally.storage.wal import Entry, Log, LogBroken, LogFull

from ..model.host import PaperHost, Run

CAP_BYTES = 1 << 20
T = TypeVar("T")


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    opened = Log.open(tmp_path / "log", "host", CAP_BYTES)
    yield opened
    opened.close()


@pytest.fixture
def signing(tmp_path: Path, log: Log) -> Signing:
    write_key_file(tmp_path / "key", make_key_file(), replace=False)
    return Signing.open(tmp_path / "key", log, "host")


def said(log: Log) -> list[Batch]:
    return [decode_batch(read_frame(raw).payload()) for raw in log.read(1, 10_000, 1 << 30)]


def judged(log: Log) -> LogSignatures:
    """What somebody makes of it who only has the log."""
    found = LogSignatures(KeyRing("host", check))
    for raw in log.read(1, 10_000, 1 << 30):
        assert list(found.hear(read_frame(raw))) == []
    return found


def make_meter() -> Meter:
    return PaperHost([Run(1, "t", 0, 10**15, "nvidia:GPU-0")], ("nvidia:GPU-0",)).meter


def run(keeper: Keeper, *steps: int | Callable[[], object], every_s: int = 10) -> None:
    """A life in simulated time: so many seconds with a batch every ten, and what happens between."""

    async def live() -> None:
        meter = make_meter()
        for step in steps:
            if callable(step):
                step()
                continue
            for _ in range(0, step, every_s):
                await keeper.keep(meter, Batch("host", "boot"))
                await trio.sleep(every_s)

    trio.run(live, clock=MockClock(autojump_threshold=0))


class Inline:
    """Runs what is to be written at once: no thread under a clock that jumps."""

    async def __call__(self, work: Callable[[], T], /) -> T:
        return work()


def test_a_checkpoint_is_signed_once_a_minute_and_travels_in_the_next_frame(log: Log, signing: Signing) -> None:
    keeper = Keeper(log, Inline(), signing=signing)
    run(keeper, 180)
    batches = said(log)
    assert len(batches) == 18, "a signature may cost no frame of its own"
    assert [(at, [c.seq for c in batch.checkpoints]) for at, batch in enumerate(batches, 1) if batch.checkpoints] == [
        (7, [6]),
        (13, [12]),
    ]
    assert [at for at, batch in enumerate(batches, 1) if batch.keys] == [1]
    assert judged(log).signed_through == 12


def test_the_key_is_told_again_every_hour(log: Log, signing: Signing) -> None:
    run(Keeper(log, Inline(), signing=signing), 3 * 3600, every_s=60)
    assert sum(bool(batch.keys) for batch in said(log)) == 3


def test_at_a_graceful_stop_all_but_the_signature_itself_is_signed(log: Log, signing: Signing) -> None:
    meter = make_meter()

    async def main() -> None:
        keeper = Keeper(log, WriterThread(), signing=signing)
        for _ in range(3):
            await keeper.keep(meter, Batch("host", "boot"))
        assert await keeper.sign_off(meter)

    trio.run(main)
    assert judged(log).signed_through == log.stat().last_seq - 1 == 3


def test_a_daemon_without_a_key_writes_no_frame_at_its_stop(log: Log) -> None:
    meter = make_meter()

    async def main() -> bool:
        keeper = Keeper(log, WriterThread())
        await keeper.keep(meter, Batch("host", "boot"))
        return await keeper.sign_off(meter)

    assert trio.run(main) is False and log.stat().last_seq == 1


def test_the_next_life_signs_what_the_one_before_could_not(tmp_path: Path, log: Log, signing: Signing) -> None:
    run(Keeper(log, Inline(), signing=signing), 50)
    run(Keeper(log, Inline(), signing=Signing.open(tmp_path / "key", log, "host")), 10)
    last = said(log)[-1]
    assert [c.seq for c in last.checkpoints] == [5] and last.keys
    assert judged(log).signed_through == 5


def test_what_the_disk_may_not_have_is_not_signed(log: Log, signing: Signing, monkeypatch: pytest.MonkeyPatch) -> None:
    """A frame that an error of the disk takes back must never have been signed: another one gets its place."""
    keeper = Keeper(log, Inline(), signing=signing)

    def fail(*_: object) -> int:
        raise LogBroken("the disk fails")

    def look() -> None:
        assert len(keeper.waiting) == 12
        assert [batch for batch in keeper.waiting[6:] if batch.checkpoints] == []
        monkeypatch.undo()

    run(keeper, 10, lambda: monkeypatch.setattr(log, "append", fail), 120, look, 130)
    assert keeper.waiting == ()
    assert judged(log).signed_through > 13


def test_a_signature_that_a_full_log_refused_is_made_again(
    log: Log, signing: Signing, monkeypatch: pytest.MonkeyPatch
) -> None:
    append = log.append

    def refuse(entries: Sequence[Entry], checkpoint: bytes | None) -> int:
        if entries:
            raise LogFull("full")
        return append(entries, checkpoint)

    monkeypatch.setattr(log, "append", refuse)
    run(Keeper(log, Inline(), signing=signing), 30, monkeypatch.undo, 200)
    assert any(batch.keys for batch in said(log)), "the key was told in a frame that was never written"
    assert judged(log).signed_through > 10


def test_a_rotated_key_is_taken_up_while_the_daemon_runs(tmp_path: Path, log: Log, signing: Signing) -> None:
    successor = signing.file.succeeded()
    run(
        Keeper(log, Inline(), signing=signing),
        70,
        lambda: write_key_file(tmp_path / "key", successor, replace=True),
        140,
    )
    found = judged(log)
    assert found.keys.introduced == 2 and found.keys.current == successor.own.key_id


def test_a_key_file_that_breaks_under_a_running_daemon_leaves_the_key_it_has(
    tmp_path: Path, log: Log, signing: Signing, caplog: pytest.LogCaptureFixture
) -> None:
    broken = tmp_path / "broken"
    broken.write_text("no key")
    broken.chmod(0o400)
    run(
        Keeper(log, Inline(), signing=signing),
        70,
        lambda: broken.rename(tmp_path / "key"),
        200,
        (tmp_path / "key").unlink,
        200,
    )
    assert judged(log).signed_through > 30
    assert caplog.text.count("holds no private key") == 1 and "the key before it goes on" in caplog.text


def test_a_key_that_cannot_be_used_is_refused_before_anything_is_touched(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("no key")
    (tmp_path / "daemon.toml").write_text(f"[log]\nsigning_key = '{tmp_path / 'key'}'\n")
    with pytest.raises(BadSettings, match=r"log\.signing_key.*has mode 0644: others could sign"):
        load_daemon_config(tmp_path / "daemon.toml", {})
