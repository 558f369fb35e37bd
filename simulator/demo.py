"""The main job on a desk: eight simulated GPUs, real processes of several tenants, a daemon and a collector.

Nothing here is counted by the demo: it starts programs and workloads, asks the
collector's API, and holds the answer against what it did itself.
"""

import random
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

from .rig import Rig
from .scenario import Scenario
from .stack import addresses, ask, collector_config, daemon_config, running
from .truth import slack_ns, true_shares

RUN_S = 24
SEEN_AFTER_S = 2.5
"""A process that lives for less than a tick may be seen by none: here each one lives longer."""
MODELS = ("NVIDIA H100 80GB HBM3",) * 5 + ("NVIDIA L40S",) * 3
SKUS = {"Large": "NVIDIA H100*", "Small": "NVIDIA L40*"}
RULES: Sequence[Mapping[str, Any]] = (
    {"match": {"path": "/tenants.slice/tenant-*"}, "tenant": "{1}"},
    {"match": {"kind": "slurm", "id": "2*"}, "tenant": "initech", "project": "slurm"},
    {"match": {"kind": "kubernetes"}, "tenant": "globex", "project": "cluster"},
    {"match": {"kind": "user", "uid": "1000"}, "tenant": "umbrella"},
)
_ID = "aaefb9d8feed2d453b543f6d928cede7a4dbefa6a0ae7c9b990dd234c56e93b9"
TENANTS = {
    "acme": f"/tenants.slice/tenant-acme/docker-{_ID}.scope",
    "globex": f"/kubepods.slice/kubepods-pod5ba385ca_b6e6_4246_bd66_d48d429dbc12.slice/cri-containerd-{_ID}.scope",
    "initech": "/system.slice/slurmstepd.scope/job_211/step_0/user/task_0",
    "umbrella": "/user.slice/user-1000.slice/session-3.scope",
    "unattributed": "/batch/nobody-knows/run-1",
}
"""Whose cgroup is which; the last one no rule names."""

Progress = Callable[[float, str], None]
"""Told how far the demo is (0 to 1) and what it does."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the collector answered, and how it stands against the truth."""

    usage: dict[str, Any]
    conservation: dict[str, Any]
    truth: dict[tuple[str, str], Fraction]
    """Nanoseconds by (tenant, GPU model)."""
    metered: dict[tuple[str, str], int]
    allowed_ns: dict[tuple[str, str], int]
    """How far the metered figure may be off: the uncertainty of the edges, as the records state it."""

    @property
    def exact(self) -> bool:
        """Every device's time adds up to the nanosecond."""
        return bool(self.conservation["summary"]["exact"])

    @property
    def truthful(self) -> bool:
        """Every tenant's share is what it should be, within what its edges allow."""
        return self.metered.keys() == self.truth.keys() and all(
            abs(self.metered[key] - self.truth[key]) <= self.allowed_ns[key] for key in self.truth
        )


def run(folder: Path, progress: Progress, run_s: float = RUN_S, seed: int = 7) -> Outcome:
    """Runs the whole demo in ``folder``. Raises DriverBuildError or NotReady if something cannot start."""
    progress(0.0, "building the fake driver")
    with ExitStack() as stack:
        rig = stack.enter_context(Rig.opened(folder / "host", _host()))
        environment = rig.environment
        progress(0.05, "starting the collector")
        config = collector_config(folder, SKUS)
        collector = stack.enter_context(running(["collector", "--config", str(config)], folder / "collector.log"))
        intake, api = addresses(collector)
        progress(0.1, "starting the daemon")
        config = daemon_config(
            folder, rig.proc, intake, RULES, sampling={"idle_every_s": 1.0}, metering={"window_s": 10}
        )
        daemon = stack.enter_context(running(["daemon", "--config", str(config)], folder / "daemon.log", environment))
        began_s = time.time()
        _run_workloads(rig, random.Random(seed), run_s, progress)
        progress(0.92, "stopping the daemon: it cuts, commits and sends")
        daemon.stop()
        outcome = _ask_for_outcome(rig, api, began_s)
        collector.stop()
    progress(1.0, "done")
    return outcome


def _host() -> Scenario:
    host = Scenario.host(len(MODELS))
    models = {model: Scenario.host(1, model).devices[0] for model in MODELS}
    devices = (
        replace(models[model], uuid=device.uuid, minor=device.minor, pci_bus_id=device.pci_bus_id, power_mw=300_000)
        for model, device in zip(MODELS, host.devices, strict=True)
    )
    return replace(host, devices=tuple(devices))


def _run_workloads(rig: Rig, chance: random.Random, run_s: float, progress: Progress) -> None:
    """Workloads come and go; some share a GPU, some take several."""
    began_s = time.monotonic()
    while (passed_s := time.monotonic() - began_s) < run_s:
        progress(0.12 + 0.8 * passed_s / run_s, f"{len(rig.jobs)} workloads run on {len(MODELS)} GPUs")
        settled = rig.jobs_older_than(SEEN_AFTER_S)
        if settled and (len(rig.jobs) > 7 or chance.random() < 0.3):
            rig.end(chance.choice(settled))
        else:
            tenant = chance.choice(list(TENANTS))
            devices = chance.sample(range(len(MODELS)), chance.choice((1, 1, 2, 4)))
            rig.start(tenant, TENANTS[tenant], *devices)
        time.sleep(chance.uniform(0.2, 1.2))
    time.sleep(SEEN_AFTER_S)
    for job in list(rig.jobs):
        rig.end(job)


def _ask_for_outcome(rig: Rig, api: str, began_s: float) -> Outcome:
    span = _span(began_s)
    usage = ask(api, "/v1/usage", **span, scale="5", limit="100")
    conservation = ask(api, "/v1/conservation", **span)
    by_model = ask(api, "/v1/usage", **span, group_by="tenant,gpu_model", limit="100")
    metered = {(item["tenant"], item["gpu_model"]): int(item["ns"]) for item in by_model["items"]}
    truth = dict.fromkeys(metered, Fraction(0))
    allowed_ns = dict.fromkeys(metered, 0)
    for device in rig.scenario.devices:
        spread_ns = slack_ns(rig.stays, device.uuid) + stated_uncertainty_ns(api, span, device.uuid)
        for tenant, share in true_shares(rig.stays, device.uuid).items():
            key = tenant, device.name
            truth[key] = truth.get(key, Fraction(0)) + share
            allowed_ns[key] = allowed_ns.get(key, 0) + spread_ns
    return Outcome(usage, conservation, truth, metered, allowed_ns)


def stated_uncertainty_ns(api: str, span: Mapping[str, str], uuid: str) -> int:
    """The sum over a device's segments of what the records say their edges may be off by."""
    worst: dict[str, int] = {}
    for record in each_record(api, span):
        if record["device"].endswith(uuid):
            segment = str(record["segment_boot_start_ns"])
            worst[segment] = max(worst.get(segment, 0), int(record["edge_uncertainty_ns"]))
    return sum(worst.values())


def each_record(api: str, span: Mapping[str, str]) -> list[dict[str, Any]]:
    """All effective records of a range, page by page."""
    records: list[dict[str, Any]] = []
    more: dict[str, str] = {}
    while True:
        page = ask(api, "/v1/records", **span, **more)
        records += page["items"]
        if page["next"] is None:
            return records
        more = {"after": page["next"]}


def _span(began_s: float) -> dict[str, str]:
    """Whole minutes around what ran."""
    first = began_s // 60 * 60 - 60
    last = time.time() // 60 * 60 + 60
    stamp = (datetime.fromtimestamp(s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") for s in (first, last))
    return dict(zip(("range_from", "range_to"), stamp, strict=True))
