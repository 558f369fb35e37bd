"""A tenant's token never sees another tenant: asked over every GET of the OpenAPI document, whatever is added to it.

Two ledgers: one of two tenants, one of the first alone. Whatever the first one's token asks, both answer the same, but
for log ids and what is told of completeness; and nothing of the other one's is in any byte of it.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import duckdb
import httpx
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from gputally.model.interval import Interval
from gputally.model.workload import Workload
from gputally.simulator.stream import SimulatedHost, Use

from ..model.price_list import GOLDEN
from .priced import publish
from .running import HOUR_NS, JUNE_NS, SKUS, RunningCollector, write_config

OTHER, NOBODY = "zeta", "qqqq"
JUNE_1, JUNE_2, JULY = "2025-06-01T00:00:00Z", "2025-06-02T00:00:00Z", "2025-07-01T00:00:00Z"
INSTANTS = (JUNE_1, JUNE_2, "2025-06-01T02:00:00Z", "2025-06-01T00:00:30Z", JULY)
TEXTS = (  # what a caller may name
    "acme",
    "acme-host",
    "docker:acme-job",
    OTHER,
    f"{OTHER}-host",
    f"docker:{OTHER}-job",
    NOBODY,
    "2025-a",
    f"{OTHER}-list",
)
GROUPINGS = ("org", "project", "workload", "host", "device", "sku,gpu_model,org", "tenant,host", f"tag:{OTHER}")
VOLATILE = {
    "as_of",
    "log_id",
    "log_ids",
    "place",
    "next",
    "completeness",
    "decided_at",
    "missing",
    "detail",
    "at",
    "stale_ns",
    "ledger",
    "heads",
    "frame",
    "proof",
}
"""What may differ between the ledgers. That nothing of the other's is in it is looked at byte by byte."""


@dataclass(frozen=True, slots=True)
class Ask:
    path: str
    parameters: tuple[tuple[str, str], ...]

    def instead(self) -> "Ask":
        """The same about somebody whom the ledger does not know."""
        renamed = tuple((name, told.replace(OTHER, NOBODY)) for name, told in self.parameters)
        return Ask(self.path.replace(OTHER, NOBODY), renamed)

    def send(self, collector: RunningCollector) -> httpx.Response:
        headers = {"Authorization": "Bearer secret-of-acme"}
        return httpx.get(collector.url + self.path, params=self.parameters, headers=headers, timeout=60)


def config_of(folder: Path) -> Path:
    tokens = {"op": 'role = "operator"', "secret-of-acme": 'role = "tenant"\ntenant = "acme"'}
    lines = [
        f'[[tokens]]\nname = "{secret}"\nsha256 = "{hashlib.sha256(secret.encode()).hexdigest()}"\n{role}\n'
        for secret, role in tokens.items()
    ]
    (folder / "tokens.toml").write_text("".join(lines))
    config = write_config(folder, SKUS)
    config.write_text(config.read_text().replace("[api]", f'[api]\ntokens = "{folder / "tokens.toml"}"'))
    return config


def hold(host: SimulatedHost, org: str, hours: float, device: str) -> None:
    span = Interval(JUNE_NS, JUNE_NS + int(hours * HOUR_NS))
    host.uses.append(
        Use(device, "NVIDIA L40", org, span, project=f"{org}-p", workload=Workload("docker", f"{org}-job"))
    )


def fill(collector: RunningCollector, *tenants: str) -> None:
    """Each has a host of its own, a device of a host of all, and one of every decision that names a tenant."""
    shared = SimulatedHost("shared")
    for tenant, hours in zip(tenants, (1.5, 1.25), strict=False):
        own = SimulatedHost(f"{tenant}-host")
        hold(own, tenant, hours, f"nvidia:GPU-{tenant}")
        collector.deliver(own)
        hold(shared, tenant, hours, f"nvidia:GPU-{tenant}-shared")
    collector.deliver(shared)
    collector.wait_until_folded()
    for number, tenant in enumerate(tenants):
        for path, body in decisions(tenant, number):
            made = httpx.post(collector.url + path, json=body, headers={"Authorization": "Bearer op"}, timeout=60)
            assert made.status_code == 201, f"{path}: {made.text}"
    assert publish(collector).status_code == 201
    if OTHER in tenants:
        theirs = GOLDEN.replace("2025-a", f"{OTHER}-list").replace("2025-01", "2099-01")
        assert publish(collector, theirs).status_code == 201


def decisions(tenant: str, number: int) -> Iterator[tuple[str, dict[str, Any]]]:
    why = {"why": f"as agreed with {OTHER}"}  # an operator's words may speak of anybody
    span = {"from": JUNE_1, "to": JULY}
    named = {"id": f"{tenant}-1", "tenant": tenant, **why}
    yield "/v1/tenants", {"tenant": tenant, "name": f"{tenant} Ltd", **why}
    yield "/v1/leases", {**named, **span, "host_id": f"{tenant}-host", "gpu_model": "NVIDIA L40", "gpus": 3 + number}
    yield "/v1/reservations", {**named, **span, "gpu_model": "NVIDIA L40", "gpus": 3 + number}
    yield "/v1/quotas", {"tenant": tenant, "meter": "allocated", "limit_ns": 77_000 + number, **why}
    yield "/v1/adjustments", {**named, "at": JUNE_1, "gpu_model": "NVIDIA L40", "ns": HOUR_NS * (3 + number)}
    yield (
        "/v1/exclusions",
        {**named, "kind": "goodwill", "from": JUNE_1, "to": "2025-06-01T00:20:00Z", "approver": "kim"},
    )
    yield "/v1/hosts", {"host_id": f"{tenant}-host", "phase": "enrolled", "from": JUNE_1, **why}
    yield "/v1/gaps", {"host_id": f"{tenant}-host", "from": JUNE_2, "to": JULY, **why}
    yield "/v1/corrections", {"do": "void", "from": JUNE_1, "to": "2025-06-01T00:10:00Z", "tenant": tenant, **why}


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCollector]:
    with RunningCollector(config_of(tmp_path_factory.mktemp("both"))) as running:
        fill(running, "acme", OTHER)
        yield running


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCollector]:
    with RunningCollector(config_of(tmp_path_factory.mktemp("alone"))) as running:
        fill(running, "acme")
        yield running


def values(name: str, schema: dict[str, Any]) -> st.SearchStrategy[str]:
    """No version of a ledger but the newest and the first: the others are numbered by what both tenants did."""
    if name in ("as_of", "since", "corrects"):
        return st.just("0")
    if name == "after":
        return st.sampled_from(("0.0.0", "0.0"))
    if name in ("group_by", "tags"):
        return st.sampled_from(GROUPINGS)
    if name in ("range_from", "range_to"):
        return st.just(JUNE_1) if name == "range_from" else st.sampled_from(INSTANTS[1:])
    if schema.get("format") == "date-time":
        return st.sampled_from(INSTANTS)
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if schema.get("type") == "boolean":
        return st.sampled_from(("true", "false"))
    if schema.get("type") == "integer":
        return st.integers(schema["minimum"], min(schema["maximum"], 20)).map(str)
    return st.sampled_from(TEXTS)


@st.composite
def asks(draw: st.DrawFn, path: str, parameters: list[dict[str, Any]]) -> Ask:
    chosen: list[tuple[str, str]] = []
    for each in parameters:
        if each["in"] == "path":
            path = path.replace(f"{{{each['name']}}}", draw(st.sampled_from(TEXTS)))
        elif each["required"] or draw(st.integers(0, 2)) == 0:
            chosen.append((each["name"], draw(values(each["name"], each["schema"]))))
    return Ask(path, tuple(chosen))


def told(answer: httpx.Response) -> str:
    """All of it as text, what a Parquet file holds as well; the header that names the ledger's version aside."""
    if answer.headers["content-type"] == "application/vnd.apache.parquet":
        return str(parquet(answer.content))
    return answer.text + str([pair for pair in answer.headers.items() if pair[0] not in ("date", "content-length")])


def parquet(content: bytes) -> list[Any]:
    with duckdb.connect() as db, NamedTemporaryFile(suffix=".parquet") as file:
        file.write(content)
        file.flush()
        return sorted(map(str, db.read_parquet(file.name).select("* EXCLUDE (log_id)").fetchall()))


def comparable(answer: httpx.Response) -> Any:
    kind = answer.headers["content-type"]
    if "json" in kind and "ndjson" not in kind:
        return without(json.loads(answer.content))
    return parquet(answer.content) if "parquet" in kind else answer.text


def without(body: Any) -> Any:
    if isinstance(body, dict):
        return {name: without(inner) for name, inner in body.items() if name not in VOLATILE}
    return [without(each) for each in body] if isinstance(body, list) else body


def check(ask: Ask, both: RunningCollector, alone: RunningCollector) -> None:
    answer = ask.send(both)
    assert answer.status_code < 500, (ask, answer.text)
    if ask.instead() != ask:  # it named the other itself: answered as if there were no such one
        assert told(answer).replace(OTHER, NOBODY) == told(ask.instead().send(both)), ask
        return
    assert OTHER not in told(answer).lower(), ask
    expected = ask.send(alone)
    assert answer.status_code == expected.status_code, (ask, answer.text, expected.text)
    assert comparable(answer) == comparable(expected), ask


def test_no_path_tells_a_tenant_of_another(
    both: RunningCollector, alone: RunningCollector, request: pytest.FixtureRequest
) -> None:
    document = both.ask("/openapi.json").json()
    assert OTHER not in json.dumps(document)
    bounded = settings(
        max_examples=200 if request.config.getoption("--long") else 8,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
        derandomize=True,
        database=None,
    )
    asked = 0
    for path, methods in document["paths"].items():
        if "get" in methods and "security" in methods["get"]:
            strategy = asks(path, methods["get"].get("parameters", []))
            bounded(given(strategy)(lambda ask: check(ask, both, alone)))()
            asked += 1
    assert asked >= 20


def test_the_search_would_find_another_tenant(both: RunningCollector) -> None:
    """The operator's answer to the same question has what a tenant's must not."""
    usage = both.ask("/v1/usage", token="op", range_from=JUNE_1, range_to=JULY)
    assert OTHER in usage.text and list(usage.json()["totals_by_org"]) == ["acme", OTHER]


def test_a_tenant_is_told_how_many_hosts_are_missing_and_not_which(both: RunningCollector) -> None:
    asked = {"range_from": JUNE_1, "range_to": JULY, "strict": "true"}
    refused = both.ask("/v1/usage", token="secret-of-acme", **asked)
    assert refused.status_code == 409
    assert refused.json()["missing"] == [{"hosts": 3, "from": "2025-06-01T01:15:00Z", "to": JULY}]
    completeness = both.ask("/v1/usage", token="secret-of-acme", range_from=JUNE_1, range_to=JULY).json()[
        "completeness"
    ]
    assert (completeness["hosts_expected"], completeness["unobserved_ns"], completeness["quarantined"]) == (
        3,
        None,
        None,
    )
