"""Rule sets at the collector: refused before any host could be, told to those who want them, and no tenant unknown."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from gputally.model.interval import Interval
from gputally.model.rule_text import RuleText
from gputally.proto.v1 import uplink_pb2 as wire
from gputally.simulator.stream import SimulatedHost
from gputally.simulator.uplink import Conversation
from gputally.storage.frame import FORMAT

from .running import HOUR_NS, JUNE_NS, RunningCollector, write_config
from .test_decisions import post

JUNE = {"range_from": "2025-06-01T00:00:00Z", "range_to": "2025-07-01T00:00:00Z"}
GOOD = '[[rules]]\nmatch = {{ kind = "docker" }}\ntenant = "{}"\n'
CAPTURED = '[[rules]]\nmatch = { path = "/t.slice/*" }\ntenant = "{1}"\n'


def decide(collector: RunningCollector, version: str, body: str) -> Any:
    return post(collector, "/v1/rules", version=version, body=body, why="test")


def say_hello(talk: Conversation, digest: bytes = b"", capabilities: tuple[str, ...] = ("rules",)) -> wire.Welcome:
    hello = wire.Hello(
        host_id="gpu-01", epoch=bytes(16), frame_format=FORMAT, capabilities=capabilities, rules_digest=digest
    )
    talk.say(wire.HostMessage(hello=hello))
    return talk.hear().welcome


# ---- what is refused


@pytest.mark.parametrize(
    ("version", "body", "parameter", "said"),
    [
        ("v1", "nonsense", "body", "is not TOML"),
        ("v1", "", "body", "has no [[rules]]"),
        ("v1", GOOD.format("a").replace("docker", "dcoker"), "body", "rule 1: match.kind"),
        ("v1", GOOD.format("a") + GOOD.format("{1}"), "body", "rule 2: tenant: {1} is not clear"),
        ("v1", GOOD.format("unattributed"), "body", "reserved"),
        ("v1", "#" * 140_000, "body", "more than 131072 bytes"),
        ("v/1", GOOD.format("a"), "version", "must be 1 to 64"),
        ("", GOOD.format("a"), "version", "must be a name"),
    ],
)
def test_rules_that_no_host_would_take_are_refused_with_the_rule_named(
    shared_collector: RunningCollector, version: str, body: str, parameter: str, said: str
) -> None:
    refused = decide(shared_collector, version, body)
    assert refused.status_code == 400, refused.text
    assert refused.json()["parameter"] == parameter
    assert said in refused.json()["detail"]
    assert shared_collector.ask("/v1/rules").json()["total_count"] == 0


def test_a_body_that_is_no_text_at_all_is_refused(shared_collector: RunningCollector) -> None:
    raw = b'{"version": "v1", "body": "# \\ud800", "why": "test"}'
    refused = httpx.post(shared_collector.url + "/v1/rules", content=raw, timeout=30)
    assert (refused.status_code, refused.json()["type"]) == (400, "urn:gputally:problem:bad-body"), refused.text


def test_a_version_is_used_once_for_ever(tmp_path: Path) -> None:
    with RunningCollector(write_config(tmp_path)) as collector:
        assert decide(collector, "v1", GOOD.format("a")).status_code == 201
        assert decide(collector, "v2", GOOD.format("b")).status_code == 201
        again = decide(collector, "v1", GOOD.format("c"))
        assert (again.status_code, again.json()["type"]) == (409, "urn:gputally:problem:version-used")
        (item,) = collector.ask("/v1/rules").json()["items"]
        assert (item["version"], item["body"]) == ("v2", GOOD.format("b"))


def test_a_rule_for_a_tenant_that_is_closed_or_unknown_is_refused_with_his_name(tmp_path: Path) -> None:
    with RunningCollector(write_config(tmp_path)) as collector:
        assert decide(collector, "v0", GOOD.format("anybody")).status_code == 201  # the registry is empty
        post(collector, "/v1/tenants", tenant="acme", name="Acme", why="contract")
        assert decide(collector, "v1", GOOD.format("acme")).status_code == 201
        unknown = decide(collector, "v2", GOOD.format("acme") + GOOD.format("amce"))
        assert (unknown.status_code, unknown.json()["type"]) == (409, "urn:gputally:problem:tenant-unknown")
        assert 'tenant "amce" of rule 2' in unknown.json()["detail"]
        post(collector, "/v1/tenants", tenant="acme", name="Acme", state="closed", why="gone")
        closed = decide(collector, "v2", GOOD.format("acme"))
        assert (closed.status_code, closed.json()["type"]) == (409, "urn:gputally:problem:tenant-closed")
        assert 'tenant "acme" of rule 1' in closed.json()["detail"]
        assert decide(collector, "v2", CAPTURED).status_code == 201  # whom it names is known when he comes


def test_tenants_in_usage_that_the_registry_does_not_know_are_listed(tmp_path: Path) -> None:
    host = SimulatedHost("gpu-01")
    for number, tenant in enumerate(("acme", "zeta", "amce", None)):
        host.hold(f"nvidia:GPU-{number}", "NVIDIA L40", tenant, Interval(JUNE_NS, JUNE_NS + 2 * HOUR_NS), HOUR_NS)
    with RunningCollector(write_config(tmp_path)) as collector:
        collector.deliver(host)
        collector.wait_until_folded()
        post(collector, "/v1/tenants", tenant="acme", why="contract")
        told = collector.ask("/v1/tenants/unknown", **JUNE).json()
        assert [(each["tenant"], each["allocated_ns"], each["hosts"]) for each in told["items"]] == [
            ("amce", str(2 * HOUR_NS), 1),
            ("zeta", str(2 * HOUR_NS), 1),
        ]
        page = collector.ask("/v1/tenants/unknown", **JUNE, offset=1, limit=1).json()
        assert (page["total_count"], [each["tenant"] for each in page["items"]]) == (2, ["zeta"])
        post(collector, "/v1/tenants", tenant="zeta", why="contract")
        assert collector.ask("/v1/tenants/unknown", **JUNE).json()["total_count"] == 1


# ---- what hosts are told


def test_a_host_hears_rules_behind_its_welcome_and_not_those_it_has_heard(tmp_path: Path) -> None:
    text = RuleText("v1", GOOD.format("a"))
    with RunningCollector(write_config(tmp_path)) as collector:
        with Conversation(collector.intake) as talk:
            assert say_hello(talk).rules_version == ""
        decide(collector, text.version, text.body)
        with Conversation(collector.intake) as talk:
            assert say_hello(talk).rules_version == "v1"
            told = talk.hear().rules
            assert (told.version, told.body) == ("v1", text.body)
        with Conversation(collector.intake) as talk:
            assert say_hello(talk, digest=text.digest).rules_version == "v1"
            decide(collector, "v2", GOOD.format("b"))
            assert talk.hear().rules.version == "v2"  # and v1 was not said again


def test_a_host_that_takes_no_rules_is_sent_none(tmp_path: Path) -> None:
    host = SimulatedHost("gpu-01")
    host.hold("nvidia:GPU-1", "NVIDIA L40", "A", Interval(JUNE_NS, JUNE_NS + HOUR_NS), HOUR_NS)
    with RunningCollector(write_config(tmp_path)) as collector:
        decide(collector, "v1", GOOD.format("a"))
        with Conversation(collector.intake) as talk:
            welcome = talk.hello(host.host_id, host.epoch)
            decide(collector, "v2", GOOD.format("b"))
            frames = list(host.frames())
            for frame in frames:
                talk.send(frame.to_bytes())
            heard = talk.hear_ack(frames[-1].seq)
        assert welcome.rules_version == "v1"
        assert [message.WhichOneof("kind") for message in heard if message.HasField("rules")] == []


def test_rules_are_told_again_after_a_crash_of_the_collector_and_its_projection(tmp_path: Path) -> None:
    with RunningCollector(write_config(tmp_path)) as collector:
        decide(collector, "v1", GOOD.format("a"))
        decide(collector, "v2", GOOD.format("b"))
        collector.kill()
        (tmp_path / "ledger" / "projection.duckdb").unlink()
        collector.start()
        with Conversation(collector.intake) as talk:
            say_hello(talk)
            # Never v1, not even while the log is being folded again.
            assert talk.hear().rules.version == "v2"
