"""A rule set that is decided at the collector: in force on a host within a window, and to the nanosecond."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gputally.simulator.stack import ask

from .field import DOCKER, Field, a_field

WINDOW_S = 10
BODY = '[[rules]]\nmatch = {{ path = "/tenants.slice/tenant-*" }}\ntenant = "{}"\n'
FROM_COLLECTOR = {"rules_from_collector": True}


def post(field: Field, path: str, **body: Any) -> tuple[int, dict[str, Any]]:
    request = urllib.request.Request(
        field.api + path, json.dumps({"why": "a test", **body}).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refusal:
        return refusal.code, json.load(refusal)


def decide(field: Field, version: str, tenant: str) -> None:
    status, told = post(field, "/v1/rules", version=version, body=BODY.format(tenant))
    assert status == 201, told


def version(field: Field) -> str | None:
    told: str | None = field.status()["attribution"]["rules_from_collector"]["version"]
    return told


def wait_for(what: Callable[[], bool], within_s: float = 60.0) -> None:
    deadline_s = time.monotonic() + within_s
    while not what():
        assert time.monotonic() < deadline_s, "waited in vain"
        time.sleep(0.1)


def seen(field: Field) -> list[tuple[str, str, str]]:
    """(tenant, version, device) of each record, in the order of time."""
    records = sorted(field.records(), key=lambda record: int(record["segment_boot_start_ns"]))
    return [(record["org"], record["rules_version"].partition("/")[0], record["device"]) for record in records]


def test_rules_that_change_at_the_collector_decide_on_the_host_with_no_nanosecond_lost(tmp_path: Path) -> None:
    with a_field(tmp_path, gpus=2, attribution=FROM_COLLECTOR) as field:
        field.start_collector()
        field.start_daemon()
        assert version(field) is None
        field.rig.start("a", DOCKER.format("a"), 0)
        field.rig.start("b", DOCKER.format("b"), 0, 1)
        time.sleep(2)
        decide(field, "v1", "one-{1}")
        wait_for(lambda: version(field) == "v1")
        time.sleep(2)
        decide(field, "v2", "two-{1}")
        wait_for(lambda: version(field) == "v2")
        time.sleep(2)
        field.end_jobs()
        field.stop_daemon()
        field.assert_lawful()
        told = seen(field)
        local = next(name for tenant, name, _ in told if tenant == "a")
        order = [local, "v1", "v2"]
        by_version = {name: {tenant for tenant, which, _ in told if which == name} for name in order}
        assert by_version == {local: {"a", "b"}, "v1": {"one-a", "one-b"}, "v2": {"two-a", "two-b"}}
        for device in {device for *_, device in told}:
            names = [name for _, name, where in told if where == device]
            assert names == sorted(names, key=order.index), "a former version after a later one"


def test_an_idle_host_hears_of_new_rules_with_its_next_window(tmp_path: Path) -> None:
    with a_field(tmp_path, gpus=1, attribution=FROM_COLLECTOR, uplink={"linger_s": 0.0}) as field:
        field.start_collector()
        field.start_daemon()
        decide(field, "quiet", "{1}")
        frames = field.status()["log"]["last_seq"]
        wait_for(lambda: version(field) == "quiet")
        # However busy the machine is: not before a window has closed, and with the first that did.
        assert field.status()["log"]["last_seq"] - frames <= 2


def test_a_restart_goes_on_by_the_collectors_rules_before_any_stream(tmp_path: Path) -> None:
    with a_field(tmp_path, gpus=1, attribution=FROM_COLLECTOR) as field:
        field.start_collector()
        field.start_daemon()
        field.rig.start("a", DOCKER.format("a"), 0)
        decide(field, "v1", "one-{1}")
        wait_for(lambda: version(field) == "v1")
        field.kill_collector()
        field.kill_daemon()
        field.start_daemon()
        assert version(field) == "v1"
        rules_version = field.status()["attribution"]["rules_version"]
        assert rules_version.startswith("v1/")
        field.start_collector()
        time.sleep(1)
        field.end_jobs()
        field.stop_daemon()
        field.assert_lawful()
        assert {(tenant, name) for tenant, name, _ in seen(field)} >= {("one-a", "v1")}


def test_a_damaged_file_leaves_the_local_rules_in_force_until_the_collector_speaks(tmp_path: Path) -> None:
    with a_field(tmp_path, gpus=1, attribution=FROM_COLLECTOR) as field:
        field.start_collector()
        field.start_daemon()
        decide(field, "v1", "one-{1}")
        wait_for(lambda: version(field) == "v1")
        field.stop_daemon()
        stored = tmp_path / "log" / "collector-rules.json"
        stored.write_text(stored.read_text().replace("one-", "two-"))
        field.kill_collector()
        field.start_daemon()
        assert version(field) is None
        assert field.daemon is not None
        assert "is damaged" in field.daemon.logged()
        field.start_collector()
        wait_for(lambda: version(field) == "v1")


def test_a_host_that_was_not_told_to_keeps_its_own_rules(tmp_path: Path) -> None:
    with a_field(tmp_path, gpus=1) as field:
        field.start_collector()
        decide(field, "v1", "one-{1}")
        field.start_daemon()
        field.rig.start("a", DOCKER.format("a"), 0)
        time.sleep(2)
        field.end_jobs()
        field.stop_daemon()
        assert {tenant for tenant, _, _ in seen(field)} == {"a"}
        assert not (tmp_path / "log" / "collector-rules.json").exists()


@pytest.mark.parametrize("twice", [False, True])
def test_rules_reach_a_stream_that_is_held_open(tmp_path: Path, twice: bool) -> None:
    """Long before the next window: it is five minutes."""
    settings = {"uplink": {"linger_s": 1e6}, "metering": {"window_s": 300}}
    with a_field(tmp_path, gpus=1, attribution=FROM_COLLECTOR, **settings) as field:
        field.start_collector()
        field.start_daemon()
        field.wait_for_frames()
        if twice:
            decide(field, "v0", "zero-{1}")
            wait_for(lambda: version(field) == "v0")
        decide(field, "v1", "one-{1}")
        wait_for(lambda: version(field) == "v1")
        assert ask(field.api, "/v1/rules")["items"][0]["version"] == "v1"
