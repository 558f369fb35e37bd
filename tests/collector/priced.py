"""A collector with the golden usage of June 2025 and its price list, and tokens of everybody who may ask."""

import csv
import hashlib
import io
import json
from pathlib import Path
from typing import Any

import httpx

from gputally.cli.catalogue import body_of
from gputally.model.interval import Interval
from gputally.simulator.stream import SimulatedHost

from ..model.price_list import GOLDEN, catalogue
from .running import HOUR_NS, JUNE_NS, SKUS, RunningCollector, write_config

JUNE = {"range_from": "2025-06-01T00:00:00Z", "range_to": "2025-07-01T00:00:00Z"}
HOURS = {"NVIDIA L40": (30, 60, 10), "NVIDIA A100": (10, 20, 30), "NVIDIA H100": (100, 40, 33)}
ORGS = ("Org-A", "Org-B", "Org-C")
TOKENS = {"op": ("operator", None), "aud": ("auditor", None), "a": ("tenant", "Org-A")}


def guarded_config(folder: Path) -> Path:
    lines: list[str] = []
    for secret, (role, tenant) in TOKENS.items():
        digest = hashlib.sha256(secret.encode()).hexdigest()
        lines += ["[[tokens]]", f'name = "{secret}"', f'sha256 = "{digest}"', f'role = "{role}"']
        lines += [f'tenant = "{tenant}"'] if tenant else []
    (folder / "tokens.toml").write_text("\n".join(lines))
    config = write_config(folder, SKUS)
    config.write_text(config.read_text().replace("[api]", f'[api]\ntokens = "{folder / "tokens.toml"}"'))
    return config


def golden_host() -> SimulatedHost:
    """G1: who held what in June; each GPU is idle for the rest of the month."""
    host = SimulatedHost("gpu-01")
    for model, of_each in HOURS.items():
        for org, each in zip(ORGS, of_each, strict=True):
            device = f"nvidia:GPU-{model}-{org}"
            host.hold(device, model, org, Interval(JUNE_NS, JUNE_NS + each * HOUR_NS))
            host.hold(device, model, None, Interval(JUNE_NS + each * HOUR_NS, JUNE_NS + 720 * HOUR_NS), HOUR_NS)
    return host


def publish(collector: RunningCollector, text: str = GOLDEN, token: str = "op", **instead: Any) -> httpx.Response:
    body = {**json.loads(body_of(catalogue(text), "the price list")), **instead}
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.post(f"{collector.url}/v1/catalogues", json=body, headers=headers, timeout=60)


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))
