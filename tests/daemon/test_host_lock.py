"""Two daemons on one host would bill every nanosecond twice: the second one is told so, and who is in its way."""

import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from gputally.daemon.host_lock import HostLocked, host_lock
from gputally.model.exits import Exit

NOBODY = 65534


def refused(host_id: str, folder: Path, shared: Path | None = None) -> HostLocked:
    with pytest.raises(HostLocked) as caught, host_lock(host_id, str(folder), {}, shared or Path("/run/gputally")):
        pass
    return caught.value


def as_nobody(work: Callable[[], str]) -> str:
    """What ``work`` says when an unprivileged user does it."""
    read_fd, write_fd = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
        try:
            said = work()
        except BaseException as error:
            said = f"{type(error).__name__}: {error}"
        os.write(write_fd, said.encode())
        os._exit(0)
    os.close(write_fd)
    os.waitpid(pid, 0)
    with os.fdopen(read_fd) as told:
        return told.read()


def test_a_second_daemon_of_the_same_host_is_told_the_file_and_the_pid(tmp_path: Path) -> None:
    with host_lock("gpu-01", str(tmp_path / "lock")) as path:
        error = refused("gpu-01", tmp_path / "lock")
    assert error.exit_code is Exit.UNAVAILABLE
    assert str(path) in str(error) and f"process {os.getpid()}," in str(error)
    assert "\n" not in str(error)


def test_daemons_of_two_hosts_do_not_mind_each_other(tmp_path: Path) -> None:
    """As on a machine that simulates a fleet; ids may hold what no file name can."""
    with host_lock("rack/1", str(tmp_path)), host_lock("rack/2", str(tmp_path)), host_lock("x" * 255, str(tmp_path)):
        assert len(list(tmp_path.iterdir())) == 3


def test_the_lock_is_free_when_its_holder_was_killed(tmp_path: Path) -> None:
    code = (
        "import sys, time\nfrom gputally.daemon.host_lock import host_lock\n"
        "with host_lock('gpu-01', sys.argv[1]):\n    print('held', flush=True)\n    time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, tmp_path], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
        assert f"process {holder.pid}," in str(refused("gpu-01", tmp_path))
        holder.kill()
    with host_lock("gpu-01", str(tmp_path)):
        pass


def test_a_child_that_outlives_the_daemon_does_not_keep_the_lock(tmp_path: Path) -> None:
    with host_lock("gpu-01", str(tmp_path)):
        child = subprocess.Popen(["/bin/sh", "-c", "echo; exec sleep 60"], close_fds=False, stdout=subprocess.PIPE)
        assert child.stdout is not None and child.stdout.readline() == b"\n"
    try:
        with host_lock("gpu-01", str(tmp_path)):
            pass
    finally:
        child.kill()
        child.communicate()


def test_a_lock_file_that_was_tidied_away_is_no_second_lock_for_who_opened_it_before(tmp_path: Path) -> None:
    with host_lock("gpu-01", str(tmp_path)) as path:
        path.unlink()
    with host_lock("gpu-01", str(tmp_path)) as path:
        assert path.read_text() == f"{os.getpid()} gpu-01\n"


@pytest.mark.parametrize("mode", [0o775, 0o757, 0o1777])
def test_a_folder_that_others_can_write_is_refused(tmp_path: Path, mode: int) -> None:
    folder = tmp_path / "lock"
    folder.mkdir()
    folder.chmod(mode)
    error = refused("gpu-01", folder)
    assert error.exit_code is Exit.CONFIG and "chmod go-w" in str(error)
    assert list(folder.iterdir()) == []


def test_a_link_in_place_of_the_folder_or_the_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir(mode=0o755)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert refused("gpu-01", tmp_path / "link").exit_code is Exit.CONFIG
    with host_lock("gpu-01", str(tmp_path / "real")) as path:
        pass
    path.unlink()
    path.symlink_to(tmp_path / "elsewhere")
    assert str(path) in str(refused("gpu-01", tmp_path / "real"))
    assert not (tmp_path / "elsewhere").exists()


def test_a_file_that_has_a_second_name_is_not_written(tmp_path: Path) -> None:
    (tmp_path / "lock").mkdir(mode=0o755)
    with host_lock("gpu-01", str(tmp_path / "lock")) as path:
        pass
    precious = tmp_path / "precious"
    precious.write_text("money")
    path.unlink()
    path.hardlink_to(precious)
    assert "one name" in str(refused("gpu-01", tmp_path / "lock"))
    assert precious.read_text() == "money"


def test_a_folder_that_cannot_be_made_is_named_with_its_cure(tmp_path: Path) -> None:
    error = refused("gpu-01", tmp_path / "not" / "there")
    assert error.exit_code is Exit.CONFIG and str(tmp_path / "not" / "there") in str(error)


@pytest.mark.root
def test_a_folder_of_a_stranger_is_refused_and_one_that_root_gave_away_in_run_is_not(tmp_path: Path) -> None:
    folder = tmp_path / "lock"
    folder.mkdir(mode=0o755)
    os.chown(folder, NOBODY, NOBODY)
    assert f"belongs to uid {NOBODY}" in str(refused("gpu-01", folder))
    with host_lock("gpu-01", None, {}, shared=folder) as path:
        assert path.stat().st_uid == NOBODY  # or the service's user could not start after root
        assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.root
def test_a_tenant_can_neither_open_nor_hold_the_lock(tmp_path: Path) -> None:
    with host_lock("gpu-01", str(tmp_path)) as path:
        pass

    def work() -> str:
        with path.open() as file:
            return file.read()

    assert as_nobody(work).startswith("PermissionError")


@pytest.mark.root
def test_a_user_without_the_shared_folder_locks_in_a_private_one_and_says_so_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    own = tmp_path / "run"
    own.mkdir()
    for folder in (own, *own.parents):
        if folder.is_relative_to(Path("/tmp")) and folder != Path("/tmp"):
            folder.chmod(0o755)
    os.chown(own, NOBODY, NOBODY)

    def work() -> str:
        lines: list[str] = []
        handler = logging.Handler()
        handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
        logging.getLogger("gputally.daemon.host_lock").addHandler(handler)
        with host_lock("gpu-01", None, {"XDG_RUNTIME_DIR": str(own)}, shared=tmp_path / "shared") as path:
            mode = path.parent.stat().st_mode & 0o777
            return f"{path.parent} {mode:o} {len(lines)} {lines[0]}"

    said = as_nobody(work)
    assert said.startswith(f"{own / 'gputally'} 700 1 ") and "this user only" in said, said
