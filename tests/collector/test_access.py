"""Every access leaves a row before its answer, of whoever it was; limits hold for each caller by itself."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from .priced import JUNE, golden_host, guarded_config
from .running import RunningCollector

EVER = {"range_from": "2020-01-01T00:00:00Z", "range_to": "2100-01-01T00:00:00Z"}
QUOTA = {"tenant": "Org-A", "meter": "allocated", "limit_ns": "5", "why": "plan"}


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[RunningCollector]:
    with RunningCollector(guarded_config(tmp_path)) as running:
        yield running


def rows(collector: RunningCollector, token: str = "op", **more: Any) -> list[dict[str, Any]]:
    answer = collector.ask("/v1/access", token=token, **EVER, **more)
    assert answer.status_code == 200, answer.text
    return list(answer.json()["items"])


def seen(collector: RunningCollector) -> list[tuple[Any, ...]]:
    return [(row["who"], row["method"], row["path"], row["status"]) for row in rows(collector, limit=1_000)]


def test_answers_refusals_and_decisions_are_rows(guarded: RunningCollector) -> None:
    usage = guarded.ask("/v1/usage", token="a", **JUNE)
    guarded.ask("/v1/hosts", token="a")
    guarded.ask("/v1/usage", token="nobody", **JUNE)
    guarded.ask("/v1/usage", token="aud", range_from="yesterday")
    guarded.ask("/v1/export/csv", token="aud", **JUNE)
    guarded.ask("/nowhere", token="aud")
    made = httpx.post(f"{guarded.url}/v1/quotas", json=QUOTA, headers={"Authorization": "Bearer op"}, timeout=60)
    httpx.post(f"{guarded.url}/v1/quotas", json=QUOTA, headers={"Authorization": "Bearer aud"}, timeout=60)
    assert seen(guarded) == [
        ("a", "GET", "/v1/usage", 200),
        ("a", "GET", "/v1/hosts", 403),
        (None, "GET", "/v1/usage", 401),
        ("aud", "GET", "/v1/usage", 400),
        ("aud", "GET", "/v1/export/csv", 200),
        ("aud", "GET", "/nowhere", 404),
        ("op", "POST", "/v1/quotas", 201),
        ("aud", "POST", "/v1/quotas", 403),
    ]
    first, *_, decided, _ = rows(guarded, limit=8)
    assert (first["as_of"], first["address"]) == (usage.json()["as_of"], "127.0.0.1")
    assert first["query"] == "range_from=2025-06-01T00%3A00%3A00Z&range_to=2025-07-01T00%3A00%3A00Z"
    assert decided["as_of"] == made.json()["log_id"]
    assert {row["who"] for row in rows(guarded, who="aud")} == {"aud"}


def test_rows_outlive_a_crash_and_come_in_pages(guarded: RunningCollector) -> None:
    for _ in range(5):
        guarded.ask("/v1/usage", token="a", **JUNE)
    guarded.kill()
    guarded.start()
    paths, after = list[str](), dict[str, str]()
    while True:
        page = guarded.ask("/v1/access", token="aud", **EVER, limit=2, **after).json()
        paths += [row["path"] for row in page["items"] if row["who"] == "a"]
        if page["next"] is None or len(paths) > 5:
            break
        after = {"after": page["next"]}
    assert paths == ["/v1/usage"] * 5


def test_no_token_is_ever_written(guarded: RunningCollector, tmp_path: Path) -> None:
    secret = "s3cret-of-kim-0123456789"
    guarded.ask("/v1/usage", token=secret, **JUNE)
    guarded.ask("/v1/usage", token="aud", access_token=secret, **JUNE)
    guarded.ask("/v1/usage", token="aud", host="aud", **JUNE)  # a token of ours under another name
    assert "host=..." in rows(guarded, limit=1_000)[-1]["query"]
    guarded.stop()
    written = guarded.log.read_bytes() + b"".join(
        file.read_bytes() for file in (tmp_path / "ledger").glob("access.sqlite*")
    )
    assert secret.encode() not in written


def test_the_access_log_is_for_operators_and_auditors(guarded: RunningCollector) -> None:
    assert guarded.ask("/v1/access", token="a", **EVER).status_code == 403
    assert guarded.ask("/v1/access", **EVER).status_code == 401
    assert guarded.ask("/v1/access", token="aud", **EVER).status_code == 200
    assert guarded.ask("/v1/access", token="aud", **EVER, after="9999999999999999999.1").status_code == 400


def test_a_path_says_which_methods_it_knows_and_an_unknown_one_which_paths_there_are(guarded: RunningCollector) -> None:
    wrong = httpx.delete(f"{guarded.url}/v1/hosts", headers={"Authorization": "Bearer op"}, timeout=60)
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "GET, POST")
    lost = guarded.ask("/v1/usage/", token="op")
    assert lost.status_code == 404 and "/v1/access" in lost.json()["detail"] and "/v1/rated" in lost.json()["detail"]


def test_health_and_the_document_leave_no_row(guarded: RunningCollector) -> None:
    for path in ("/healthz", "/readyz", "/openapi.json"):
        assert guarded.ask(path).status_code == 200
    assert seen(guarded) == []


def test_a_caller_that_asks_too_often_is_told_to_wait_and_others_are_not(tmp_path: Path) -> None:
    config = guarded_config(tmp_path)
    config.write_text(config.read_text().replace("requests_per_minute = 1000000", "requests_per_minute = 3"))
    with RunningCollector(config) as collector:
        answers = [collector.ask("/v1/usage", token="a", **JUNE) for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
        assert answers[-1].headers["content-type"] == "application/problem+json"
        assert 1 <= int(answers[-1].headers["retry-after"]) <= 20
        strangers = [collector.ask("/v1/usage", token="x", **JUNE).status_code for _ in range(4)]
        assert strangers == [401, 401, 401, 429]
        assert collector.ask("/v1/usage", token="aud", **JUNE).status_code == 200
        told = [(row["who"], row["status"]) for row in rows(collector, limit=100)]
        assert ("a", 429) in told and (None, 429) in told


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", folder], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"cannot mount a small file system here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


@pytest.mark.root
def test_on_a_full_disk_nobody_reads_usage_unseen(small_disk: Path, tmp_path: Path) -> None:
    config = guarded_config(tmp_path)
    config.write_text(config.read_text().replace(str(tmp_path / "ledger"), str(small_disk / "ledger")))
    with RunningCollector(config) as collector:
        collector.deliver(golden_host())
        collector.wait_until_folded()
        assert collector.ask("/v1/usage", token="a", **JUNE).status_code == 200
        with (small_disk / "filler").open("wb", buffering=0) as filler, pytest.raises(OSError):
            while True:
                filler.write(bytes(4096))
        answered = 0
        while (answer := collector.ask("/v1/usage", token="a", **JUNE)).status_code == 200:
            answered += 1
            assert answered < 500, "the disk is full and still all is answered"
        problem = answer.json()
        assert (problem["status"], problem["type"]) == (503, "urn:gputally:problem:access-log")
        assert "no space left" in problem["detail"] and "items" not in problem
        ready = collector.ask("/readyz")
        assert ready.status_code == 503 and "access.sqlite" in ready.json()["trouble"]
        (small_disk / "filler").unlink()
        collector.wait_until_ready()
        assert collector.ask("/v1/usage", token="a", **JUNE).status_code == 200
        written = [row for row in rows(collector, who="a", limit=1_000) if row["status"] == 200]
        assert len(written) == 2 + answered
