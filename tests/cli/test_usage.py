"""`gputally usage` as an operator calls it, against a real collector."""

import csv
import io
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gputally.model.interval import Interval
from gputally.simulator.stream import SimulatedHost

from ..collector.running import HOUR_NS, JUNE_NS, RunningCollector, run_command, write_config

RANGE = ("--from", "2025-06-01T00:00:00Z", "--to", "2025-07-01T00:00:00Z")


@pytest.fixture(scope="module")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCollector]:
    with RunningCollector(write_config(tmp_path_factory.mktemp("collector"))) as running:
        host = SimulatedHost("gpu-01")
        for number, org in enumerate(("acme", "zeta")):
            end_ns = JUNE_NS + (30 + number) * HOUR_NS
            host.hold(f"nvidia:GPU-{number}", "NVIDIA L40", org, Interval(JUNE_NS, end_ns), HOUR_NS)
            host.hold(f"nvidia:GPU-{number}", "NVIDIA L40", None, Interval(end_ns, JUNE_NS + 720 * HOUR_NS), HOUR_NS)
        running.deliver(host)
        running.wait_until_folded()
        yield running


def test_a_table_ends_with_the_total_and_how_complete_it_is(collector: RunningCollector) -> None:
    done = run_command("usage", "--collector", collector.url, *RANGE)
    assert done.returncode == 0
    assert done.stdout.splitlines() == [
        "SKU    GPU_MODEL   ORG   USAGE",
        "Small  NVIDIA L40  acme  30.00",
        "Small  NVIDIA L40  zeta  31.00",
        "TOTAL                    61.00",
        "",
        "GPU-Hours allocated, 2025-06-01T00:00:00Z to 2025-07-01T00:00:00Z: final, "
        "1 of 1 hosts complete, all through 2025-07-01T00:00:00Z",
    ]


def test_json_is_the_answer_of_the_api(collector: RunningCollector) -> None:
    done = run_command("usage", "--collector", collector.url, *RANGE, "--json")
    told = json.loads(done.stdout)
    assert told["grand_total"] == {"usage": "61.00", "ns": str(61 * HOUR_NS)}
    assert told["items"][0]["orgs"][0]["org"] == "acme"


def test_csv_is_the_same_bytes_twice(collector: RunningCollector) -> None:
    asked = ("usage", "--collector", collector.url, *RANGE, "--csv", "--group-by", "org", "--window", "day")
    first, second = run_command(*asked).stdout, run_command(*asked).stdout
    assert first == second
    rows = list(csv.DictReader(io.StringIO(first)))
    assert rows[0] == {
        "org": "acme", "window_start": "2025-06-01T00:00:00Z", "usage": "24.00", "ns": str(24 * HOUR_NS),
    }  # fmt: skip
    assert sum(int(row["ns"]) for row in rows) == 61 * HOUR_NS


def test_all_pages_are_asked_for(collector: RunningCollector) -> None:
    asked = ("usage", "--collector", collector.url, *RANGE, "--json", "--group-by", "device,org", "--window", "hour")
    told = json.loads(run_command(*asked).stdout)
    assert len(told["items"]) == told["count"] == told["total_count"] == 61
    assert told["next"] is None


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("--from", "2025-06-01", "--to", "2025-07-01T00:00:00Z"), 65, "range_from is"),
        ((*RANGE, "--group-by", "colour"), 65, "group_by is"),
        (
            ("--from", "2025-06-01T00:00:00Z", "--to", "2025-08-01T00:00:00Z", "--strict"),
            65,
            "409 Conflict: not complete",
        ),
        (("--from", "2025-06-01T00:00:00Z"), 2, "--to"),
    ],
)
def test_what_is_refused_is_said_in_one_line(
    collector: RunningCollector, arguments: tuple[str, ...], code: int, says: str
) -> None:
    done = run_command("usage", "--collector", collector.url, *arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert says in done.stderr.splitlines()[-1] and "Traceback" not in done.stderr


def test_a_collector_that_is_not_there_is_said_in_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        url = f"http://127.0.0.1:{reserved.getsockname()[1]}"
    done = run_command("usage", "--collector", url, *RANGE)
    assert done.returncode == 69 and done.stderr.count("\n") == 1
    assert url in done.stderr and "is a collector there?" in done.stderr
    done = run_command("usage", "--collector", "collector:8080", *RANGE)
    assert done.returncode == 2 and "must be a URL" in done.stderr
    done = run_command("usage", "--token-file", tmp_path / "none", *RANGE)
    assert done.returncode == 66 and str(tmp_path / "none") in done.stderr


@pytest.mark.parametrize("end", [b"", b"rest of it"])
def test_a_port_that_speaks_no_http_is_told_without_its_bytes(end: bytes) -> None:
    settings = b"\x00\x00\x1e\x04\x00\x00\x00\x00\x00\x1b[31m\x07" + end  # as HTTP/2 greets, which gRPC is
    with answering(settings) as url:
        done = run_command("usage", "--collector", url, *RANGE)
    assert (done.returncode, done.stdout) == (69, "")
    assert done.stderr == f"{url} answers, but not in HTTP: --collector wants the address of api.listen\n"


@pytest.mark.parametrize("said", [b"[]", b'{"status": "ok"}', b"nonsense"])
def test_another_service_is_told_apart_from_a_collector(said: bytes) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(said)
    with answering(head + said) as url:
        done = run_command("usage", "--collector", url, *RANGE)
    assert (done.returncode, done.stderr) == (69, f"{url} answers, but not as a collector does\n")


def test_the_address_of_the_intake_is_told_apart_from_the_api(collector: RunningCollector) -> None:
    done = run_command("usage", "--collector", f"http://{collector.intake}", *RANGE)
    assert done.returncode == 69 and done.stderr.count("\n") == 1
    assert done.stderr.strip().isprintable(), done.stderr


def test_what_a_stranger_says_is_fit_for_a_terminal() -> None:
    with answering(b"HTTP/1.1 500 \x1b[31mred\x07\r\nContent-Length: 0\r\n\r\n") as url:
        done = run_command("usage", "--collector", url, *RANGE)
    assert done.returncode == 65 and r"500 \x1b[31mred\x07" in done.stderr


@pytest.mark.parametrize("url", ["http://[", "http://a:99999", "http://a:b", "http://", "http://a b"])
def test_what_is_no_url_is_refused_as_a_wrong_option(url: str) -> None:
    done = run_command("usage", "--collector", url, *RANGE)
    assert done.returncode == 2 and "must be a URL" in done.stderr


@contextmanager
def answering(said: bytes) -> Iterator[str]:
    """The URL of somebody who says this to whoever asks first, and hangs up."""

    def answer() -> None:
        asked, _ = server.accept()
        with asked:
            asked.recv(65_536)
            asked.sendall(said)

    with socket.create_server(("127.0.0.1", 0)) as server:
        answerer = threading.Thread(target=answer)
        answerer.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        answerer.join(10)


@pytest.mark.parametrize(
    ("asked", "header"),
    [
        ((), "sku,gpu_model,org,usage,ns"),
        (("--group-by", "org, sku,gpu_model"), "sku,gpu_model,org,usage,ns"),
        (("--group-by", "sku,gpu_model,tenant"), "sku,gpu_model,org,usage,ns"),
        (("--group-by", "device,tenant"), "device,tenant,usage,ns"),
        (("--window", "day"), "sku,gpu_model,org,window_start,usage,ns"),
        (("--group-by", "host", "--window", "none"), "host,usage,ns"),
    ],
)
def test_csv_has_the_same_header_with_and_without_rows(
    collector: RunningCollector, asked: tuple[str, ...], header: str
) -> None:
    empty = ("--from", "2024-06-01T00:00:00Z", "--to", "2024-07-01T00:00:00Z")
    command = ("usage", "--collector", collector.url, "--csv", *asked)
    assert run_command(*command, *empty).stdout == header + "\n"
    first, second, *_ = run_command(*command, *RANGE).stdout.splitlines()
    assert first == header and second.count(",") == header.count(",")


def test_a_table_without_rows_still_has_its_columns_and_a_total(collector: RunningCollector) -> None:
    done = run_command(
        "usage", "--collector", collector.url, "--from", "2024-06-01T00:00:00Z", "--to", "2024-07-01T00:00:00Z"
    )
    assert [line.split() for line in done.stdout.splitlines()[:2]] == [
        ["SKU", "GPU_MODEL", "ORG", "USAGE"],
        ["TOTAL", "0.00"],
    ]
