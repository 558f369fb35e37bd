"""Each mistake an operator can make is one clear message, the right exit code, and no traceback."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gputally.simulator.stack import collector_config, daemon_config, running

from ..certificates import Authority, make_authority
from .field import DOCKER, a_field


def gputally(*arguments: str, environment: dict[str, str] | None = None, within_s: float = 30) -> tuple[int, str]:
    """Exit code, and what was written to standard error."""
    done = subprocess.run(
        [sys.executable, "-m", "gputally.cli", *arguments],
        capture_output=True,
        text=True,
        timeout=within_s,
        env={**os.environ, **(environment or {})},
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stderr


def a_daemon_toml(folder: Path, text: str = "") -> Path:
    path = daemon_config(folder, Path("/proc"), None, [])
    path.write_text(path.read_text() + text)
    return path


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[sampling]\nevery = 1\n", "sampling.every"),
        ("[metering]\nwindow_s = 7\n", "metering.window_s"),
        ("[[attribution.rules]]\nmatch = { knd = 'docker' }\ntenant = 'a'\n", "knd"),
        ("[attribution]\n", "daemon.toml"),
        ("[telemetry]\nprometheus = 'nonsense'\n", "telemetry.prometheus"),
    ],
)
def test_a_wrong_key_is_named_with_its_file_and_nothing_is_touched(tmp_path: Path, text: str, said: str) -> None:
    path = a_daemon_toml(tmp_path, text)
    code, told = gputally("daemon", "--config", str(path))
    assert code == 78
    assert said in told and "daemon.toml" in told
    assert not (tmp_path / "log").exists()


def test_a_configuration_that_is_not_there_is_named(tmp_path: Path) -> None:
    code, told = gputally("daemon", "--config", str(tmp_path / "none.toml"))
    assert code == 78 and "none.toml" in told


def test_an_unwritable_log_folder_is_named_with_its_cure(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    path = daemon_config(tmp_path, Path("/proc"), None, [], log={"path": str(tmp_path / "file" / "log")})
    code, told = gputally("daemon", "--config", str(path))
    assert code == 78 and str(tmp_path / "file") in told


@pytest.mark.root
def test_a_full_disk_is_named_with_what_it_needs(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(small)], capture_output=True)
    if mounted.returncode:
        pytest.skip("cannot mount a small tmpfs here")
    try:
        path = daemon_config(tmp_path, Path("/proc"), None, [], log={"path": str(small / "log"), "cap_mib": 16})
        code, told = gputally("daemon", "--config", str(path))
    finally:
        subprocess.run(["umount", str(small)], check=True)
    assert code == 74 and "log.path" in told


def test_a_second_daemon_of_the_same_host_is_refused_before_it_touches_anything(tmp_path: Path) -> None:
    with a_field(tmp_path, gpus=1) as field:
        field.start_daemon()
        assert field.daemon is not None
        elsewhere = {"LOG__PATH": str(tmp_path / "log2"), "CONTROL__SOCKET": str(tmp_path / "daemon2.sock")}
        other = {**field.rig.environment, **{f"GPUTALLY_{key}": path for key, path in elsewhere.items()}}
        code, told = gputally("daemon", "--config", str(field.daemon_toml), environment=other)
        assert code == 69 and len(told.splitlines()) == 1
        assert str(tmp_path / "lock") in told and f"process {field.daemon.process.pid}," in told
        assert not any(Path(path).exists() for path in elsewhere.values())
        assert field.status()["ready"] is True


def test_a_second_daemon_on_the_same_log_is_refused(tmp_path: Path) -> None:
    with a_field(tmp_path, gpus=1) as field:
        field.start_daemon()
        elsewhere = {"HOST__LOCK_FOLDER": str(tmp_path / "lock2"), "CONTROL__SOCKET": str(tmp_path / "other.sock")}
        other = {**field.rig.environment, **{f"GPUTALLY_{key}": path for key, path in elsewhere.items()}}
        code, told = gputally("daemon", "--config", str(field.daemon_toml), environment=other)
        # Not 78, after which systemd would not try again: the other may be about to stop.
        assert code == 69 and str(tmp_path / "log") in told


def test_another_host_id_over_an_existing_log_is_refused(tmp_path: Path) -> None:
    with a_field(tmp_path, gpus=1) as field:
        field.start_daemon()
        field.stop_daemon()
        other = {**field.rig.environment, "GPUTALLY_HOST__ID": "somebody-else"}
        code, told = gputally("daemon", "--config", str(field.daemon_toml), environment=other)
        assert code == 78 and "sim-01" in told and "somebody-else" in told


def test_a_port_in_use_is_named_with_its_key(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        path = collector_config(tmp_path, {}, address)
        code, told = gputally("collector", "--config", str(path))
    assert code == 69 and address in told and "intake.listen" in told


def test_a_certificate_that_is_none_is_named_with_its_key(tmp_path: Path) -> None:
    for name in ("ca", "certificate", "key"):
        (tmp_path / name).write_text("nonsense")
    tls = {name: str(tmp_path / name) for name in ("ca", "certificate", "key")}
    uplink = {"endpoints": ["127.0.0.1:1"], "insecure_plaintext": False, **tls}
    path = daemon_config(tmp_path, Path("/proc"), None, [], uplink=uplink)
    code, told = gputally("daemon", "--config", str(path))
    assert code == 78 and "uplink.c" in told and str(tmp_path) in told


def test_a_daemon_whose_certificate_is_not_trusted_meters_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "ours").mkdir()
    (tmp_path / "theirs").mkdir()
    collector_tls = as_toml(make_authority(tmp_path / "theirs"), "localhost")
    host_tls = as_toml(make_authority(tmp_path / "ours"), "sim-01")
    with a_field(tmp_path, gpus=1) as field:
        text = field.collector_toml.read_text().replace("insecure_plaintext = true\n", collector_tls)
        field.collector_toml.write_text(text)
        field.start_collector()
        text = field.daemon_toml.read_text().replace("insecure_plaintext = true\n", host_tls)
        field.daemon_toml.write_text(text.replace("127.0.0.1", "localhost"))
        field.start_daemon()
        field.rig.start("a", DOCKER.format("a"), 0)
        time.sleep(13)
        assert field.daemon is not None
        assert field.intake.replace("127.0.0.1", "localhost") in field.daemon.logged()
        told = field.status()
        assert told["log"]["unacked_frames"] >= 1 and told["devices"][0]["state"] == "observed"
        field.stop_daemon()
        assert "Traceback" not in field.daemon.logged()


def as_toml(authority: Authority, name: str) -> str:
    certificate, key = authority.issue(name)
    return f'ca = "{authority.ca}"\ncertificate = "{certificate}"\nkey = "{key}"\n'


def test_a_host_without_a_driver_library_stays_up_and_says_why(tmp_path: Path) -> None:
    path = daemon_config(tmp_path, Path("/proc"), None, [])
    with running(["daemon", "--config", str(path)], tmp_path / "daemon.log") as daemon:
        assert "no GPU can be read (driver_missing)" in daemon.ready
        assert daemon.stop() == 0
        assert "Traceback" not in daemon.logged()


def test_status_without_a_daemon_names_the_socket(tmp_path: Path) -> None:
    code, told = gputally("status", "--socket", str(tmp_path / "none.sock"))
    assert code == 69 and "none.sock" in told


def test_usage_without_a_collector_names_the_address() -> None:
    span = ("--from", "2026-11-01T00:00:00Z", "--to", "2026-12-01T00:00:00Z")
    code, told = gputally("usage", "--collector", "http://127.0.0.1:1", *span)
    assert code == 69 and "127.0.0.1:1" in told
