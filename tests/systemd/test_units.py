"""The units are understood by systemd, expose little, and leave open what the daemon needs.

`systemd-analyze verify` wants the program of ExecStart to exist, so each unit is copied to a folder
of the test with that path, and only that path, replaced.
"""

import os
import re
import shutil
import subprocess
from configparser import ConfigParser
from pathlib import Path

import pytest

SYSTEMD = Path(__file__).resolve().parents[2] / "systemd"
UNITS = ("gputallyd.service", "gputally-collector.service")
MOST_EXPOSURE = 1.6
"""Of 10, as `systemd-analyze security` counts; a unit without hardening stands at 9.6."""


def tool(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"needs {name} (systemd)")
    return path


def run(*command: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)


@pytest.fixture(params=UNITS)
def unit(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    text = (SYSTEMD / request.param).read_text()
    assert text.count("/usr/bin/gputally ") == 1
    copy = tmp_path / str(request.param)
    copy.write_text(text.replace("/usr/bin/gputally ", "/bin/true "))
    return copy


def settings(name: str) -> dict[str, list[str]]:
    """Every setting of [Service] with all its values, in order."""
    found: dict[str, list[str]] = {}
    for key, value in re.findall(r"^(\w+)=(.*)$", (SYSTEMD / name).read_text(), re.MULTILINE):
        found.setdefault(key, []).append(value)
    return found


def exposure(unit: Path) -> float:
    done = run(tool("systemd-analyze"), "security", "--offline=true", "--no-pager", unit)
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", done.stdout)
    assert found, done.stdout + done.stderr
    return float(found[1])


def test_systemd_understands_every_line(unit: Path) -> None:
    done = run(tool("systemd-analyze"), "verify", "--man=no", "--recursive-errors=no", unit)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_line_that_systemd_does_not_understand_is_found(unit: Path) -> None:
    unit.write_text(unit.read_text().replace("LockPersonality=yes", "LockPersonality=perhaps\nLokPersonality=yes"))
    assert "LokPersonality" in run(tool("systemd-analyze"), "verify", "--man=no", unit).stderr


def test_the_unit_exposes_little(unit: Path) -> None:
    assert exposure(unit) <= MOST_EXPOSURE


def test_the_drop_in_that_lets_the_clock_be_read_allows_nothing_to_be_set(tmp_path: Path) -> None:
    text = (SYSTEMD / "gputallyd.service").read_text().replace("/usr/bin/gputally ", "/bin/true ")
    drop_in = (SYSTEMD / "gputallyd.service.d" / "clock.conf").read_text()
    opened = tmp_path / "gputallyd.service"
    opened.write_text(text.replace("[Install]", drop_in.replace("[Service]", "") + "\n[Install]"))
    done = run(tool("systemd-analyze"), "verify", "--man=no", "--recursive-errors=no", opened)
    assert (done.returncode, done.stderr) == (0, "")
    assert exposure(opened) <= 2.0
    told = run(tool("systemd-analyze"), "security", "--offline=true", "--no-pager", opened).stdout
    assert re.search(r"✓ CapabilityBoundingSet=~CAP_SYS_TIME", told), told


def test_a_unit_that_is_opened_is_found(unit: Path) -> None:
    unit.write_text(unit.read_text().replace("CapabilityBoundingSet=\n", ""))
    assert exposure(unit) > MOST_EXPOSURE


def test_the_daemon_keeps_what_it_needs_to_see() -> None:
    told = settings("gputallyd.service")
    blinding = {"ProtectProc", "ProcSubset", "PrivateUsers", "PrivateDevices", "PrivateNetwork", "RootDirectory"}
    assert not blinding & told.keys()
    assert "char-nvidia* rw" in told["DeviceAllow"]
    assert {"AF_UNIX", "AF_INET", "AF_INET6"} <= set(told["RestrictAddressFamilies"][0].split())


@pytest.mark.parametrize("name", UNITS)
def test_a_wrong_configuration_is_not_started_again_and_everything_else_is(name: str) -> None:
    told = settings(name)
    assert (told["Type"], told["Restart"], told["RestartPreventExitStatus"]) == (["notify"], ["always"], ["78"])
    assert told["StartLimitIntervalSec"] == ["0"]
    assert int(told["WatchdogSec"][0]) > 0


def test_a_stop_tells_only_the_daemon_and_leaves_room_for_the_drivers_shutdown() -> None:
    told = settings("gputallyd.service")
    assert told["KillMode"] == ["mixed"]
    # 15 s for the drain of the daemon, and nvmlShutdown has been seen to take tens of seconds.
    assert int(told["TimeoutStopSec"][0]) >= 45


def test_the_lock_of_the_host_outlives_a_start_that_is_refused() -> None:
    """systemd would remove the folder, and with it the file that the daemon in its way has locked."""
    told = settings("gputallyd.service")
    assert (told["RuntimeDirectory"], told["RuntimeDirectoryPreserve"]) == (["gputally"], ["yes"])
    assert int(told["RuntimeDirectoryMode"][0], 8) & 0o022 == 0


def test_the_folders_of_the_units_are_those_of_the_configuration() -> None:
    assert settings("gputallyd.service")["StateDirectory"] == ["gputally/log"]
    assert settings("gputally-collector.service")["StateDirectory"] == ["gputally/ledger"]
    users = {settings(name)["User"][0] for name in UNITS}
    made = re.findall(r"^u (\S+)", (SYSTEMD / "sysusers.d" / "gputally.conf").read_text(), re.MULTILINE)
    assert users == set(made)


def test_the_users_can_be_made(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    done = run(tool("systemd-sysusers"), f"--root={tmp_path}", SYSTEMD / "sysusers.d" / "gputally.conf")
    assert done.returncode == 0, done.stderr
    made = (tmp_path / "etc" / "passwd").read_text().splitlines()
    assert [line.split(":")[0] for line in made] == ["gputally", "gputally-collector"]
    assert all(line.endswith("/nologin") for line in made)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: systemd-tmpfiles gives folders to other users")
def test_the_folders_can_be_made(tmp_path: Path) -> None:
    done = run(tool("systemd-tmpfiles"), "--create", f"--root={tmp_path}", SYSTEMD / "tmpfiles.d" / "gputally.conf")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "etc" / "gputally" / "tls").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "var" / "lib" / "gputally").is_dir()


def test_the_reader_of_units_sees_every_value() -> None:
    """ConfigParser keeps one value of each key: enough to see that ours finds the same keys."""
    parser = ConfigParser(strict=False, interpolation=None, comment_prefixes=("#",))
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read(SYSTEMD / UNITS[0])
    keys = {key for section in parser.sections() for key in parser[section]}
    assert keys == settings(UNITS[0]).keys()
