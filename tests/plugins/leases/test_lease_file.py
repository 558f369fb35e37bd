"""Whether a file may be believed, and how a change of it is seen."""

import logging
import os
from pathlib import Path

import pytest

from gputally.model.settings import BadSettings
from gputally.plugins.leases import LeaseFile
from gputally.plugins.leases.lease_file import load_leases

from .paper import GPU, PaperClock, S, lease, write


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "leases.toml"


def refusal(path: Path) -> str:
    with pytest.raises(BadSettings) as refused:
        load_leases(path)
    return str(refused.value)


def test_a_good_file_has_a_version_that_is_its_contents(path: Path) -> None:
    versions = []
    for text in (lease("a"), lease("b"), lease("a")):
        write(path, text)
        versions.append(load_leases(path).version)
    assert versions[0] == versions[2] != versions[1]
    assert len(versions[0]) == 16


@pytest.mark.parametrize("mode", [0o664, 0o646, 0o666])
def test_a_file_that_others_may_write_is_refused_with_the_cure(path: Path, mode: int) -> None:
    write(path, lease())
    path.chmod(mode)
    assert refusal(path) == f"{path}: may be written by others than its owner: chmod go-w {path}"


@pytest.mark.root
def test_a_file_of_another_user_is_refused_with_the_cure(path: Path) -> None:
    write(path, lease())
    os.chown(path, 65534, 65534)
    assert refusal(path) == f"{path}: belongs to uid 65534, must be root's: chown root {path}"


@pytest.mark.parametrize(("mode", "refused"), [(0o777, True), (0o775, True), (0o1777, False), (0o755, False)])
def test_a_file_in_a_folder_where_others_may_replace_it_is_refused(path: Path, mode: int, refused: bool) -> None:
    write(path, lease())
    path.parent.chmod(mode)
    if refused:
        assert refusal(path).endswith(f"where others than its owner may replace it: chmod go-w {path.parent}")
    else:
        assert load_leases(path).leases


def test_a_link_is_judged_by_where_the_file_lies(path: Path, tmp_path: Path) -> None:
    open_to_all = tmp_path / "open"
    open_to_all.mkdir(mode=0o700)
    write(open_to_all / "leases.toml", lease())
    path.symlink_to(open_to_all / "leases.toml")
    assert load_leases(path).leases
    open_to_all.chmod(0o777)
    assert str(open_to_all) in refusal(path)


def test_all_that_is_wrong_with_who_may_write_it_is_said_at_once(path: Path) -> None:
    write(path, lease())
    path.chmod(0o666)
    path.parent.chmod(0o777)
    assert len(refusal(path).splitlines()) == 2


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: None, "there is no such file: create it, empty if there are no leases"),
        (lambda path: path.mkdir(), "is no regular file"),
        (os.mkfifo, "is no regular file"),
        (lambda path: path.symlink_to(path), "cannot be read: Too many levels of symbolic links"),
        (lambda path: path.symlink_to("/dev/zero"), "is no regular file"),
        (lambda path: path.write_bytes(b"#" * 2**21), "is longer than 1048576 bytes"),
        (lambda path: path.write_bytes(b"\xff"), "is not UTF-8 in line 1"),
    ],
)  # fmt: skip
def test_what_is_no_lease_file_is_refused_and_keeps_nobody_waiting(path: Path, make, said: str) -> None:  # type: ignore[no-untyped-def]
    make(path)
    assert said in refusal(path)


def test_a_daemon_does_not_begin_with_a_bad_file(path: Path) -> None:
    write(path, "[[leases]]")
    with pytest.raises(BadSettings, match="tenant: is missing"):
        LeaseFile(path)


def test_a_change_is_seen_without_a_restart_once_the_file_stands_still(path: Path) -> None:
    clock = PaperClock(path, lease("a"))
    assert [claim.workload.id for claim in clock.ask(0)] == ["a"]
    version = clock.source.version
    write(path, lease("b"))
    assert [claim.workload.id for claim in clock.ask(S // 2)] == ["a"], "looked twice within a second"
    assert [claim.workload.id for claim in clock.ask(S)] == ["a"], "believed a file that may still be written"
    assert [claim.workload.id for claim in clock.ask(2 * S)] == ["b"]
    assert clock.source.version != version


def test_a_file_that_is_written_in_place_is_not_taken_up_by_halves(path: Path) -> None:
    clock = PaperClock(path, lease("a"))
    clock.ask(0)
    for second, part in enumerate([lease("b"), lease("b") + "[[lea", lease("b") + lease("c", devices='["GPU-1"]')], 1):
        path.write_text(part)
        os.utime(path, ns=(0, second))
        assert [claim.workload.id for claim in clock.ask(second * S)] == ["a"]
    assert [claim.workload.id for claim in clock.ask(4 * S)] == ["b", "c"]


def test_a_bad_change_is_refused_once_and_the_old_one_stays(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    clock = PaperClock(path, lease("a"))
    before, version = clock.ask(0), clock.source.version
    write(path, lease("b", tenant=""))
    for second in range(1, 10):
        assert clock.ask(second * S) is before
    told = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(told) == 1
    assert "[[leases]] b: tenant: is missing" in told[0].getMessage()
    assert f"the last good ones stay in force: version {version}" in told[0].getMessage()
    assert clock.source.version == version
    write(path, lease("c"))
    assert [claim.workload.id for claim in clock.after_a_change()] == ["c"]


def test_a_file_that_is_taken_away_ends_no_lease_and_is_said_once(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    clock = PaperClock(path, lease("a"))
    before = clock.ask(0)
    path.unlink()
    for second in range(1, 6):
        assert clock.ask(second * S) is before
    assert [record.getMessage().count("there is no such file") for record in caplog.records] == [1]


def test_the_cure_of_a_refusal_is_seen_though_the_content_stays(path: Path) -> None:
    """chmod changes neither size nor time of modification."""
    clock = PaperClock(path, lease("a"))
    clock.ask(0)
    write(path, lease("b"))
    path.chmod(0o666)
    assert [claim.workload.id for claim in clock.after_a_change()] == ["a"]
    path.chmod(0o644)
    assert [claim.workload.id for claim in clock.after_a_change()] == ["b"]


def test_a_file_that_is_only_touched_changes_nothing(path: Path) -> None:
    clock = PaperClock(path, lease("a"))
    before, version = clock.ask(0), clock.source.version
    write(path, lease("a"))
    assert clock.after_a_change() is before
    assert clock.source.version == version


def test_nothing_stays_open(path: Path) -> None:
    clock = PaperClock(path, lease("a"))
    before = len(list(Path("/proc/self/fd").iterdir()))
    write(path, lease("b", tenant=""))
    clock.after_a_change()
    clock.source.close()
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_the_device_of_the_helpers_is_the_devices(path: Path) -> None:
    assert PaperClock(path, lease("a")).ask(0)[0].device_id == GPU
