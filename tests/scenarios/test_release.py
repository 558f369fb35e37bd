"""The driver is to be replaced under a running daemon, and a GPU is gone for good: what an operator says is done."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

import gputally.cli.daemon  # noqa: F401  # for the process that may not read it any more
from gputally.cli.main import main
from gputally.simulator.scenario import Fault

from .field import DOCKER, Field, a_field

NOBODY = 65534


def asked(field: Field, *arguments: str) -> tuple[int, str]:
    """Exit code, and all that was said, of ``gputally daemon ...``."""
    command = [
        sys.executable,
        "-m",
        "gputally.cli",
        "daemon",
        *arguments,
        "--socket",
        str(field.folder / "daemon.sock"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90)
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout + done.stderr


def as_nobody(arguments: list[str]) -> str:
    """Exit code and words of the command in a process of an unprivileged user."""
    read_fd, write_fd = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
        done = CliRunner().invoke(main, arguments)
        os.write(write_fd, f"{done.exit_code} {done.output}".encode())
        os._exit(0)
    os.close(write_fd)
    os.waitpid(pid, 0)
    with os.fdopen(read_fd) as told:
        return told.read()


def eventually(told: Callable[[], bool], within_s: float = 20) -> None:
    deadline_s = time.monotonic() + within_s
    while not told():
        assert time.monotonic() < deadline_s
        time.sleep(0.1)


def reasons(field: Field) -> set[str | None]:
    return {device["gap_reason"] for device in field.status()["devices"]}


def nvml_processes(field: Field) -> list[int]:
    """Processes that have the driver's library mapped: what keeps a driver from being unloaded."""
    assert field.daemon is not None
    pid = field.daemon.process.pid
    found = [pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]
    return [one for one in found if "libnvidia-ml" in Path(f"/proc/{one}/maps").read_text()]


def test_a_released_driver_is_open_nowhere_and_a_resumed_one_is_metered_again(tmp_path: Path) -> None:
    with a_field(tmp_path, gpus=2) as field:
        field.start_collector()
        field.start_daemon()
        field.rig.start("a", DOCKER.format("a"), 0)
        eventually(lambda: reasons(field) == {None} and len(nvml_processes(field)) == 1)
        time.sleep(2)
        code, told = asked(field, "release")
        assert code == 0 and "nothing of the daemon has a GPU open" in told
        assert nvml_processes(field) == []
        eventually(lambda: reasons(field) == {"released"})
        status = field.status()
        assert status["driver"]["state"] == "released" and status["driver"]["since"].endswith("Z")
        assert status["cpu"]["nvml_child_pid"] is None and status["alarms"] == []
        field.rig.publish(field.rig.scenario.with_driver_upgrade("580.99.01", time.clock_gettime_ns(7)))
        time.sleep(4)
        assert reasons(field) == {"released"} and asked(field, "release")[0] == 0
        assert asked(field, "resume")[0] == 0
        eventually(lambda: reasons(field) == {None})
        assert field.status()["driver"] == {"state": "held", "since": None}
        time.sleep(2)
        field.end_jobs()
        time.sleep(1)
        field.stop_daemon()
        field.assert_lawful()
        field.assert_true(unobserved_allowed=True)
        for device in field.conservation()["devices"]:
            assert set(device["unobserved"]) == {"released"} and int(device["unobserved"]["released"]) > 4 * 10**9


def test_a_leased_gpu_is_metered_while_the_driver_is_let_go_of(tmp_path: Path) -> None:
    leases = tmp_path / "leases.toml"
    leases.write_text('[[leases]]\nid = "c1"\ntenant = "acme"\ndevices = ["*"]\nfrom = 2020-01-01T00:00:00Z\n')
    leases.chmod(0o600)
    with a_field(tmp_path, gpus=1, leases={"file": str(leases)}) as field:
        field.start_collector()
        field.start_daemon()
        eventually(lambda: reasons(field) == {None})
        time.sleep(1)
        assert asked(field, "release")[0] == 0
        time.sleep(5)
        assert asked(field, "resume")[0] == 0
        eventually(lambda: reasons(field) == {None})
        time.sleep(1)
        field.stop_daemon()
        field.assert_lawful()
        (device,) = field.conservation()["devices"]
        assert device["unobserved"] == {} and device["idle_ns"] == "0"
        (uuid,) = (device.uuid for device in field.rig.scenario.devices)
        assert field.metered() == {("acme", uuid): int(device["existed_ns"])}
        blind_ns = sum(int(record["blind_ns"]) for record in field.records())
        assert 4 * 10**9 < blind_ns < int(device["existed_ns"])


def test_signals_release_and_resume(tmp_path: Path) -> None:
    with a_field(tmp_path, gpus=1) as field:
        field.start_daemon()
        assert field.daemon is not None
        child = field.status()["cpu"]["nvml_child_pid"]
        os.kill(child, signal.SIGUSR1)  # as `systemctl kill` does, which tells them all
        field.daemon.process.send_signal(signal.SIGUSR1)
        eventually(lambda: field.status()["driver"]["state"] == "released")
        assert nvml_processes(field) == []
        field.daemon.process.send_signal(signal.SIGUSR2)
        eventually(lambda: reasons(field) == {None})
        field.stop_daemon()
        assert "ended with status" not in field.daemon.logged()


def test_a_child_that_hangs_in_the_driver_makes_a_release_come_later(tmp_path: Path) -> None:
    with a_field(tmp_path, gpus=2, sampling={"every_s": 0.5, "idle_every_s": 0.5, "deadline_s": 1.0}) as field:
        field.start_daemon()
        eventually(lambda: reasons(field) == {None})
        healthy = field.rig.scenario
        field.rig.publish(healthy.with_fault(Fault("nvmlDevice*", device=1, hang=True)))
        eventually(lambda: reasons(field) == {None, "nvml_hang"})
        code, told = asked(field, "release", "--within", "1.5")
        assert code == 75 and "hangs in the driver" in told
        assert field.status()["driver"]["state"] == "releasing"
        field.rig.publish(healthy)
        eventually(lambda: asked(field, "release", "--within", "5")[0] == 0)
        field.stop_daemon()


def test_a_daemon_that_released_the_driver_stops_well(tmp_path: Path) -> None:
    with a_field(tmp_path, gpus=1) as field:
        field.start_daemon()
        assert asked(field, "release")[0] == 0
        field.stop_daemon()


def test_a_gpu_that_is_gone_for_good_is_retired_and_one_that_is_not_is_kept(tmp_path: Path) -> None:
    with a_field(tmp_path, gpus=2) as field:
        field.start_collector()
        field.start_daemon()
        eventually(lambda: reasons(field) == {None})
        time.sleep(2)
        gone, stays = (device.uuid for device in field.rig.scenario.devices)
        field.rig.publish(field.rig.scenario.with_lost(0))
        eventually(lambda: [one["kind"] for one in field.status()["alarms"]] == ["gpu_missing"])
        code, told = asked(field, "retire", stays)
        assert code == 65 and stays in told
        code, told = asked(field, "retire", "GPU-of-somebody-else")
        assert code == 66 and "GPU-of-somebody-else" in told
        code, told = asked(field, "retire", gone)
        assert code == 0 and gone in told
        status = field.status()
        assert [device["uuid"] for device in status["devices"]] == [stays]
        eventually(lambda: field.status()["alarms"] == [])
        assert field.daemon is not None
        field.daemon.kill()  # what was answered is on disk
        field.start_daemon()
        assert [device["uuid"] for device in field.status()["devices"]] == [stays]
        field.stop_daemon()
        field.assert_lawful()


@pytest.mark.root
def test_a_stranger_is_refused_and_told_who_may(tmp_path: Path) -> None:
    with a_field(tmp_path, gpus=1) as field:
        field.start_daemon()
        for folder in (tmp_path, *tmp_path.parents):
            if folder != Path("/tmp") and folder.is_relative_to(Path("/tmp")):
                folder.chmod(0o755)
        (tmp_path / "daemon.sock").chmod(0o666)
        told = as_nobody(["daemon", "release", "--socket", str(tmp_path / "daemon.sock")])
        assert told.startswith("77 ") and "only root" in told
        assert field.status()["driver"]["state"] == "held"
        field.stop_daemon()


def test_to_ask_where_no_daemon_is_names_the_socket(tmp_path: Path) -> None:
    for words in (["release"], ["resume"], ["retire", "GPU-1"]):
        command = [sys.executable, "-m", "gputally.cli", "daemon", *words, "--socket", str(tmp_path / "none.sock")]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 69 and "none.sock" in done.stderr and "Traceback" not in done.stderr
