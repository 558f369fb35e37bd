"""What stands around the daemon: TLS, systemd's notify socket, scrapers, exporters that hang, the status socket."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import pytest

from gputally.simulator.stack import start

from ..certificates import Authority, make_authority
from .field import DOCKER, Field, a_field, free_port


def as_toml(authority: Authority, name: str) -> str:
    certificate, key = authority.issue(name)
    return f'ca = "{authority.ca}"\ncertificate = "{certificate}"\nkey = "{key}"\n'


def with_tls(field: Field, folder: Path) -> None:
    """Both ends, certificates from one authority; the collector is addressed by name."""
    authority = make_authority(folder)
    for path, name in ((field.collector_toml, "localhost"), (field.daemon_toml, "sim-01")):
        path.write_text(path.read_text().replace("insecure_plaintext = true\n", as_toml(authority, name)))
    field.daemon_toml.write_text(field.daemon_toml.read_text().replace("127.0.0.1", "localhost"))


def test_usage_walks_over_mutual_tls(tmp_path: Path) -> None:
    with a_field(tmp_path, gpus=1) as field:
        with_tls(field, tmp_path)
        field.start_collector()
        field.start_daemon()
        field.rig.start("a", DOCKER.format("a"), 0)
        time.sleep(3)
        field.end_jobs()
        time.sleep(1)
        field.stop_daemon()
        field.assert_lawful()
        field.assert_true()
        assert {tenant for tenant, _ in field.metered()} == {"a"}


def test_a_host_with_another_hosts_certificate_cannot_write_its_stream(tmp_path: Path) -> None:
    with a_field(tmp_path, gpus=1) as field:
        with_tls(field, tmp_path)
        field.daemon_toml.write_text(field.daemon_toml.read_text().replace('id = "sim-01"', 'id = "victim"'))
        field.start_collector()
        field.start_daemon()
        time.sleep(4)
        assert field.status()["uplink"]["state"] == "refused"
        assert field.status()["log"]["acked_seq"] == 0


def heard(listener: socket.socket, for_s: float) -> list[str]:
    told: list[str] = []
    listener.settimeout(0.2)
    deadline_s = time.monotonic() + for_s
    while time.monotonic() < deadline_s:
        try:
            told += listener.recv(4096).decode().splitlines()
        except TimeoutError:
            continue
    return told


def test_systemd_is_told_ready_then_fed_by_progress_then_told_of_the_stop(tmp_path: Path) -> None:
    with a_field(tmp_path, gpus=1) as field, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        told_to = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "2000000"}
        environment = {**field.rig.environment, **told_to}
        field.daemon = start(["daemon", "--config", str(field.daemon_toml)], tmp_path / "daemon.log", environment)
        told = heard(listener, 5)
        assert "READY=1" in told
        assert told.count("WATCHDOG=1") >= 4
        field.stop_daemon()
        assert "STOPPING=1" in heard(listener, 0.5)


def test_a_scrape_shows_tenants_and_devices_and_never_a_pid(tmp_path: Path) -> None:
    address = f"127.0.0.1:{free_port()}"
    with a_field(tmp_path, gpus=2, telemetry={"prometheus": address}) as field:
        field.start_daemon()
        job = field.rig.start("acme", DOCKER.format("acme"), 0)
        time.sleep(13)
        with urllib.request.urlopen(f"http://{address}/metrics") as answer:
            text = answer.read().decode()
        assert re.search(r'gputally_allocated_time_seconds_total\{[^}]*gputally_tenant="acme"[^}]*\} [1-9]', text), text
        assert f'hw_id="{field.rig.scenario.devices[0].uuid}"' in text
        assert "hw_energy_joules_total" in text
        assert not re.search(rf"\b{job.pid}\b", text)
        field.stop_daemon()


def test_an_exporter_that_hangs_costs_the_meter_nothing(tmp_path: Path) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        threading.Thread(target=lambda: [silent.accept() for _ in range(9)], daemon=True).start()
        otlp = {"otlp": f"http://127.0.0.1:{silent.getsockname()[1]}"}
        with a_field(tmp_path, gpus=1, telemetry=otlp) as field:
            field.start_collector()
            field.start_daemon()
            field.rig.start("a", DOCKER.format("a"), 0)
            time.sleep(8)
            told = field.status()
            assert told["sampling"]["ticks"] >= 12 and told["sampling"]["missed"] <= 2
            field.end_jobs()
            time.sleep(1)
            began_s = time.monotonic()
            field.stop_daemon()
            assert time.monotonic() - began_s < 8
            field.assert_lawful()
            field.assert_true()


def test_status_says_all_that_scripts_rely_on(tmp_path: Path) -> None:
    with a_field(tmp_path, gpus=1) as field:
        field.start_daemon()
        field.rig.start("acme", DOCKER.format("acme"), 0)
        time.sleep(2)
        told = field.status()
        assert told.keys() >= {"host_id", "version", "uptime_s", "ready", "devices", "log", "uplink", "attribution"}
        assert told.keys() >= {"cpu", "restarts", "sampling"}
        assert told["cpu"]["nvml_child_pid"] > 1 and told["ready"] is True and "sampler" in told["restarts"]
        assert told["devices"][0]["tenants"] == [
            {"tenant": "acme", "project": "", "workload": "cgroup:/tenants.slice/tenant-acme", "processes": 1}
        ]
        assert told["log"].keys() >= {
            "epoch", "first_seq", "last_seq", "acked_seq", "unacked_frames", "unacked_records", "bytes", "cap_bytes",
        }  # fmt: skip
        assert told["sampling"].keys() >= {"ticks", "missed", "cpu_ms_per_tick", "nvml_calls_per_tick", "rejected"}
        assert json.loads(json.dumps(told)) == told
        field.stop_daemon()


def test_to_be_told_twice_to_stop_is_to_be_told_once(tmp_path: Path) -> None:
    with a_field(tmp_path, gpus=1) as field:
        field.start_daemon()
        assert field.daemon is not None
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGTERM):
            field.daemon.process.send_signal(number)
            time.sleep(0.02)
        assert field.daemon.wait() == 0
        assert not (tmp_path / "daemon.sock").exists()


def test_a_daemon_that_is_stopped_before_it_is_ready_ends_well(tmp_path: Path) -> None:
    with a_field(tmp_path, gpus=1) as field:
        for after_s in (0.2, 0.3, 0.4, 0.5):
            with (tmp_path / "daemon.log").open("ab") as errors:
                started = subprocess.Popen(
                    [sys.executable, "-m", "gputally.cli", "daemon", "--config", str(field.daemon_toml)],
                    stdout=subprocess.DEVNULL, stderr=errors, env={**os.environ, **field.rig.environment},
                )  # fmt: skip
            time.sleep(after_s)
            started.send_signal(signal.SIGTERM)
            assert started.wait(20) in (0, -signal.SIGTERM)  # by the signal: Python itself had not begun yet
        assert "Traceback" not in (tmp_path / "daemon.log").read_text()


@pytest.mark.parametrize("service", ["daemon", "collector"])
def test_a_word_to_stop_that_comes_while_a_service_is_imported_is_not_lost(tmp_path: Path, service: str) -> None:
    """Deep in an import, where an exception out of a signal's handler would be ignored."""
    interrupted = (
        "import os, signal, weakref\n"
        "from gputally.cli import main\n"
        "class Thing: pass\n"
        "def load(name, package):\n"
        "    weakref.finalize(thing := Thing(), os.kill, os.getpid(), signal.SIGTERM)\n"
        "    del thing\n"
        "    return real(name, package)\n"
        "real, main.import_module = main.import_module, load\n"
        "main.entry()\n"
    )
    with a_field(tmp_path, gpus=1) as field:
        config = field.daemon_toml if service == "daemon" else field.collector_toml
        done = subprocess.run(
            [sys.executable, "-c", interrupted, service, "--config", str(config)],
            capture_output=True, text=True, timeout=20, env={**os.environ, **field.rig.environment}, check=False,
        )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_clients_that_connect_and_say_nothing_cost_the_daemon_nothing(tmp_path: Path) -> None:
    with a_field(tmp_path, gpus=1) as field:
        field.start_daemon()
        silent = [socket.socket(socket.AF_UNIX) for _ in range(8)]
        for client in silent:
            client.connect(str(tmp_path / "daemon.sock"))
        assert field.status()["ready"] is True
        for client in silent:
            client.close()
        assert field.status()["restarts"]["control"] == 0
        field.stop_daemon()
