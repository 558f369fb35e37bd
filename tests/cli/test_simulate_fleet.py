"""``gputally simulate --hosts N``: small fleets against real collectors, one that lies, and an end before the end."""

import json
import os
import signal
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from gputally.cli.main import main
from gputally.model.exits import Exit

from ..collector.running import COMMAND, SKUS, RunningCollector, run_command, write_config

SMALL = ("simulate", "--hosts", "5", "--hours", "1", "--processes", "2")


@pytest.fixture(scope="module")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCollector]:
    with RunningCollector(write_config(tmp_path_factory.mktemp("fleet"))) as running:
        yield running


def plainly(collector: RunningCollector, *more: str, api: str | None = None) -> tuple[str, ...]:
    return ("--collector", collector.intake, "--api", api or collector.url, "--insecure-plaintext", *more)


@contextmanager
def between(url: str, change: Any) -> Iterator[str]:
    """An API that passes a collector's answers on, changed."""

    class Between(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            with urllib.request.urlopen(url + self.path) as response:
                answer = json.load(response)
            body = json.dumps(change(self.path, answer)).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Between)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_fleet_finds_every_nanosecond_in_the_answers(collector: RunningCollector) -> None:
    done = run_command(*SMALL, *plainly(collector))
    assert done.returncode == Exit.OK, done.stdout + done.stderr
    assert "sent:         300 frames" in done.stdout and "acknowledged: 300 frames" in done.stdout
    assert "5 of 5 said all" in done.stdout and "equal: " in done.stdout


def test_two_fleets_in_one_ledger_do_not_disturb_each_other(collector: RunningCollector) -> None:
    for seed in ("1", "2"):
        done = run_command(*SMALL, "--seed", seed, "--tenants", "3", *plainly(collector))
        assert done.returncode == Exit.OK, done.stdout + done.stderr


def test_a_prefix_that_was_used_before_is_refused_before_anything_is_sent(collector: RunningCollector) -> None:
    run_command(*SMALL, "--hosts-prefix", "twice", *plainly(collector))
    again = run_command(*SMALL, "--hosts-prefix", "twice", *plainly(collector))
    assert again.returncode == Exit.REFUSED
    assert "choose another --hosts-prefix" in again.stderr and "sent:" not in again.stdout


def test_an_answer_that_is_off_by_a_nanosecond_is_found_and_its_place_told(collector: RunningCollector) -> None:
    def lie(path: str, answer: Any) -> Any:
        for item in answer.get("items", []):
            if item.get("org") == "lied-tenant-000" and "meter=allocated" in path:
                item["ns"] = str(int(item["ns"]) + 1)
        return answer

    with between(collector.url, lie) as url:
        done = run_command(*SMALL, "--hosts-prefix", "lied", *plainly(collector, api=url))
    assert done.returncode == Exit.BROKEN
    assert "NOT EQUAL" in done.stdout and "allocated lied-tenant-000" in done.stdout and "(+1)" in done.stdout
    assert "hosts whose allocated time is not the truth: lied-0000" in done.stdout


def test_a_live_fleet_says_how_late_the_acknowledgements_are(collector: RunningCollector) -> None:
    live = ("simulate", "--hosts", "3", "--window", "10", "--hours", "0.005", "--live", "--linger", "0")
    done = run_command(*live, *plainly(collector))
    assert done.returncode == Exit.OK, done.stdout + done.stderr
    assert "window's end to acknowledgement: p50 " in done.stdout and "acknowledged: 3 frames" in done.stdout


def test_ctrl_c_ends_a_fleet_with_what_was_acknowledged_compared(collector: RunningCollector) -> None:
    command = [*COMMAND, "simulate", "--hosts", "20", "--hours", "2000", *plainly(collector)]
    fleet = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )  # fmt: skip
    assert fleet.stderr is not None
    while "records acknowledged" not in (line := fleet.stderr.readline()) or " 0 records" in line:
        assert line, "it ended by itself"
    os.killpg(fleet.pid, signal.SIGINT)  # as a terminal does: all processes of the group
    out, err = fleet.communicate(timeout=120)
    assert fleet.returncode == 130, out + err
    assert "stopped:      interrupted" in out and "equal: " in out
    assert "Traceback" not in err


def test_a_fleet_over_mutual_tls_needs_no_more_than_the_folder_of_the_authority(tmp_path: Path) -> None:
    pki = make_pki(tmp_path)
    with RunningCollector(tls_config(tmp_path, pki)) as collector:
        told = ("--collector", local(collector.intake), "--api", collector.url, "--certificates", str(pki))
        done = run_command(*SMALL, *told)
        assert done.returncode == Exit.OK, done.stdout + done.stderr
        assert sorted(path.name for path in pki.iterdir()) == ["ca.key", "ca.pem", "localhost.key", "localhost.pem"]


def test_hosts_with_somebody_elses_certificates_are_refused_and_the_fleet_says_so(tmp_path: Path) -> None:
    pki = make_pki(tmp_path)
    invoke("pki", "issue", pki, "somebody", "--kind", "host")
    for ending in ("pem", "key"):
        (pki / f"mine-00000.{ending}").write_bytes((pki / f"somebody.{ending}").read_bytes())
    with RunningCollector(tls_config(tmp_path, pki)) as collector:
        told = ("--collector", local(collector.intake), "--certificates", str(pki), "--hosts-prefix", "mine")
        done = run_command("simulate", "--hosts", "2", *told)
    assert done.returncode == Exit.UNAVAILABLE
    assert "1 of 2 said all" in done.stdout
    assert "REFUSED: 1 x permission_denied: the certificate names somebody, not mine-00000" in done.stdout


def test_without_certificates_or_the_authoritys_key_it_says_what_to_make(tmp_path: Path) -> None:
    pki = make_pki(tmp_path)
    (pki / "ca.key").unlink()
    done = run_command("simulate", "--hosts", "2", "--collector", "localhost:1", "--certificates", pki)
    assert done.returncode == Exit.NO_INPUT
    assert "gputally pki issue" in done.stderr and "Traceback" not in done.stderr


def test_a_collector_that_is_not_there_is_given_up_after_a_while() -> None:
    told = ("--collector", "127.0.0.1:1", "--insecure-plaintext", "--patience", "1")
    done = run_command("simulate", "--hosts", "2", *told)
    assert done.returncode == Exit.UNAVAILABLE
    assert "nothing was acknowledged for 1 s" in done.stdout and "no collector listens there" in done.stdout


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ((), "give a command, or --hosts"),
        (("--hosts", "2"), "--collector HOST:PORT is missing"),
        (("--hosts", "2", "--collector", "here"), "must be host:port"),
        (("--hosts", "2", "--collector", "a:1"), "give --certificates DIR"),
        (("--hosts", "2", "--collector", "a:1", "--insecure-plaintext"), "loopback only"),
        (("--hosts", "2", "--collector", "a:1", "--hosts-prefix", "a/b"), "--hosts-prefix must be"),
        (("--hosts", "2", "seeds"), "--hosts is of a fleet"),
        (("--hosts", "2", "--collector", "[::1]:1", "--insecure-plaintext", "--api", "x"), "must be a URL"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_words(told: tuple[str, ...], why: str) -> None:
    done = CliRunner().invoke(main, ["simulate", *told])
    assert done.exit_code == 2
    assert why in " ".join(done.output.replace("│", " ").split())


def make_pki(folder: Path) -> Path:
    pki = folder / "pki"
    invoke("pki", "init", pki)
    invoke("pki", "issue", pki, "localhost", "--kind", "collector", "--dns", "127.0.0.1")
    return pki


def invoke(*arguments: object) -> None:
    done = CliRunner().invoke(main, list(map(str, arguments)))
    assert done.exit_code == 0, done.output


def tls_config(folder: Path, pki: Path) -> Path:
    lines = f'ca = "{pki}/ca.pem"\ncertificate = "{pki}/localhost.pem"\nkey = "{pki}/localhost.key"'
    return write_config(folder, SKUS, lines)


def local(intake: str) -> str:
    return intake.replace("127.0.0.1", "localhost")
