"""What an operator reads of a daemon: with alarms and a driver that was let go of in front of the devices."""

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from gputally.cli.main import main
from gputally.model.exits import Exit

TOLD: dict[str, Any] = {
    "host_id": "gpu-01", "version": "0.1.0", "uptime_s": 12.5, "ready": True,
    "devices": [
        {"uuid": "GPU-1", "model": "NVIDIA H100 80GB HBM3", "state": "observed", "gap_reason": None,
         "tenants": [{"tenant": "acme", "project": "vision", "workload": "docker:4f2a", "processes": 2}]},
        {"uuid": "GPU-2", "model": "NVIDIA H100 80GB HBM3", "state": "gap", "gap_reason": "gpu_lost", "tenants": []},
    ],
    "log": {"epoch": "00", "first_seq": 1, "last_seq": 2, "acked_seq": 2, "unacked_frames": 0, "unacked_records": 0,
            "bytes": 1 << 20, "cap_bytes": 512 << 20},
    "uplink": {"state": "quiet", "endpoint": "collector:7443", "last_ack_age_s": 0.4},
    "attribution": {"processes": 2, "unattributed": 0, "rules_version": "r"},
    "cpu": {"nvml_child_pid": 4242}, "restarts": {"sampler": 0},
    "sampling": {"ticks": 12, "missed": 0, "cpu_ms_per_tick": 1.6, "nvml_calls_per_tick": 50},
}  # fmt: skip
NEWS: dict[str, Any] = {
    "alarms": [{"kind": "gpu_missing", "devices": ["GPU-2"], "since": "2026-11-23T10:00:00Z"}],
    "driver": {"state": "releasing", "since": "2026-11-23T11:00:00Z"},
    "clock": {"state": "unsynced", "suspended_s": 7.5},
}


@contextmanager
def a_daemon(path: Path, answer: bytes) -> Generator[list[bytes]]:
    """Answers every client the same, on a real socket; gives what they sent."""
    heard: list[bytes] = []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def serve() -> None:
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                with client:
                    heard.append(client.recv(4096))
                    client.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        yield heard
        listener.shutdown(socket.SHUT_RDWR)


def status(path: Path, told: dict[str, Any], *arguments: str) -> Result:
    with a_daemon(path, json.dumps(told).encode() + b"\n"):
        return CliRunner().invoke(main, ["status", "--socket", str(path), *arguments])


def test_a_healthy_host_is_a_few_lines(tmp_path: Path) -> None:
    done = status(tmp_path / "sock", TOLD | {"alarms": [], "driver": {"state": "held", "since": None}})
    assert done.exit_code == 0
    assert "ALARM" not in done.output and "driver" not in done.output
    assert "acme/vision" in done.output and "gap: gpu_lost" in done.output


def test_what_needs_a_person_stands_before_the_devices(tmp_path: Path) -> None:
    told = status(tmp_path / "sock", TOLD | NEWS).output
    assert "ALARM   gpu_missing since 2026-11-23T10:00:00Z:\n        GPU-2\n" in told
    assert "driver  releasing since 2026-11-23T11:00:00Z: gputally daemon resume" in told
    assert "clock   unsynced, suspended for 7.5 s" in told
    assert told.index("ALARM") < told.index("GPU-1")


def test_rules_of_the_collector_are_named_and_so_are_refused_ones(tmp_path: Path) -> None:
    refused = {"version": "v2", "at": "2026-11-23T10:00:00Z", "why": "body: is not TOML\x1b[2J"}
    rules = {"version": "v1", "refused": refused}
    told = status(tmp_path / "sock", TOLD | {"attribution": {**TOLD["attribution"], "rules_from_collector": rules}})
    assert "rules   v1 of the collector\n        REFUSED v2 (2026-11-23T10:00:00Z): body: is not TOML\\x1b[2J\n" in (
        told.output
    )
    none = {**TOLD["attribution"], "rules_from_collector": {"version": None, "refused": None}}
    assert "the collector has sent none" in status(tmp_path / "sock2", TOLD | {"attribution": none}).output


def test_an_alarm_of_the_uplink_says_why_and_cannot_steer_the_terminal(tmp_path: Path) -> None:
    alarm = {"kind": "uplink_refused", "devices": [], "since": "2026-11-23T10:00:00Z", "why": "HostIdInUse\x1b[2J"}
    told = status(tmp_path / "sock", TOLD | {"alarms": [alarm]}).output
    assert "ALARM   uplink_refused since 2026-11-23T10:00:00Z:\n        HostIdInUse\\x1b[2J\n" in told


def test_a_daemon_of_the_version_before_is_shown_as_it_is(tmp_path: Path) -> None:
    done = status(tmp_path / "sock", TOLD)
    assert done.exit_code == 0 and "GPU-1" in done.output and "clock" not in done.output


def test_all_of_it_as_json(tmp_path: Path) -> None:
    assert json.loads(status(tmp_path / "sock", TOLD | NEWS, "--json").output) == TOLD | NEWS


@pytest.mark.parametrize("answer", [b"", b"nonsense\n", b"\xff\n"])
def test_somebody_else_on_the_socket_is_one_line(tmp_path: Path, answer: bytes) -> None:
    with a_daemon(tmp_path / "sock", answer):
        done = CliRunner().invoke(main, ["status", "--socket", str(tmp_path / "sock")])
    assert done.exit_code == Exit.UNAVAILABLE and len(done.stderr.splitlines()) == 1
    assert str(tmp_path / "sock") in done.stderr


@pytest.mark.parametrize(
    ("outcome", "code"),
    [("done", 0), ("not_yet", 75), ("unknown", 66), ("refused", 65), ("forbidden", 77), ("bad", 70), ("news", 70)],
)
def test_each_outcome_of_a_request_has_its_exit_code(tmp_path: Path, outcome: str, code: int) -> None:
    told = {"request": "retire", "outcome": outcome, "words": "so it went"}
    with a_daemon(tmp_path / "sock", json.dumps(told).encode() + b"\n") as heard:
        done = CliRunner().invoke(main, ["daemon", "retire", "GPU-9", "--socket", str(tmp_path / "sock")])
    assert done.exit_code == code
    assert (done.stdout if code == 0 else done.stderr).endswith("so it went\n")
    assert json.loads(heard[0]) == {"request": "retire", "device": "GPU-9"}


def test_how_long_to_wait_is_told_to_the_daemon_and_bounded(tmp_path: Path) -> None:
    told = {"request": "release", "outcome": "done", "words": "free"}
    command = ["daemon", "release", "--socket", str(tmp_path / "sock"), "--within"]
    with a_daemon(tmp_path / "sock", json.dumps(told).encode() + b"\n") as heard:
        assert CliRunner().invoke(main, [*command, "2.5"]).exit_code == 0
    assert json.loads(heard[0]) == {"request": "release", "within_s": 2.5}
    assert CliRunner().invoke(main, [*command, "301"]).exit_code == 2


def test_the_daemon_still_starts_without_a_command_of_its_own(tmp_path: Path) -> None:
    """In a process of its own, whose signals it may take over."""
    for words, code in ((["--config", str(tmp_path / "none.toml")], Exit.CONFIG), (["dance"], 2)):
        done = subprocess.run([sys.executable, "-m", "gputally.cli", "daemon", *words], capture_output=True, text=True)
        assert done.returncode == code and "Traceback" not in done.stderr


def test_to_ask_a_daemon_does_not_load_one() -> None:
    """trio, gRPC and LMDB would make a question take a second on a busy host."""

    code = (
        "import sys; from gputally.cli.main import main; main(['daemon', 'resume', '--socket', '/none'], "
        "standalone_mode=False)"
    )
    done = subprocess.run([sys.executable, "-X", "importtime", "-c", code], capture_output=True, text=True)
    assert done.returncode == 69
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert "gputally.cli.socket_asking" in loaded
    assert not {"trio", "grpc", "lmdb", "gputally.daemon.wiring"} & loaded


def test_why_there_is_no_stream_and_what_runs_out_stands_below_the_uplink(tmp_path: Path) -> None:
    files = [
        {"key": "ca", "file": "/tls/ca.pem", "state": "valid", "not_before": "a", "not_after": "b"},
        {
            "key": "certificate",
            "file": "/tls/host.pem",
            "state": "expires_soon",
            "not_before": "a",
            "not_after": "2027",
        },
    ]
    uplink = {
        **TOLD["uplink"],
        "last_error": "collector:7443: it hung up\x1b[31m",
        "credentials": {"trouble": "uplink.key: /tls/host.key is not the private key of /tls/host.pem", "files": files},
    }
    with a_daemon(tmp_path / "sock", json.dumps({**TOLD, "uplink": uplink}).encode() + b"\n"):
        done = CliRunner().invoke(main, ["status", "--socket", str(tmp_path / "sock")])
    assert done.exit_code == 0
    assert "        collector:7443: it hung up\\x1b[31m\n" in done.stdout
    assert "TLS     CHANGED FILES ARE NOT USED: uplink.key: /tls/host.key" in done.stdout
    assert "TLS     /tls/host.pem expires on 2027\n" in done.stdout and "/tls/ca.pem" not in done.stdout


def test_a_fork_a_recovery_and_what_waits_for_the_disk_are_told(tmp_path: Path) -> None:
    log = TOLD["log"] | {"waiting": 3, "trouble": None, "recovery": "epoch 00 ended at frame 7, 5 acknowledged"}
    log["undeclared_ns"] = 12_300_000_000
    fork = {"at_wall_ns": 1, "why": "frame 5 is another", "epoch": "00", "next_epoch": "11"}
    told = TOLD | {"log": log, "uplink": TOLD["uplink"] | {"forks": 2, "last_fork": fork}}
    words = status(tmp_path / "sock", told).output
    assert "3 batches wait in memory for the disk" in words
    assert "AT ITS CAP: 12.3 s of GPU time was given up" in words
    assert "RECOVERED from damage: epoch 00 ended at frame 7" in words
    assert "FORKED 2 times since the daemon started, last: frame 5 is another; goes on in epoch 11" in words


def test_a_log_that_cannot_be_read_is_told_without_figures(tmp_path: Path) -> None:
    log = dict.fromkeys(TOLD["log"]) | {"waiting": 1, "trouble": "the disk fails", "recovery": None}
    words = status(tmp_path / "sock", TOLD | {"log": log}).output
    assert "CANNOT BE READ: the disk fails" in words
    assert "None" not in words
