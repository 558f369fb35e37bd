"""Which share of a storm of short GPU jobs reaches the right tenant: with every source, and without each of them.

    bench/bench_storm.py [SECONDS]

Real processes that live 0.2 s, 200 a second, of five tenants on eight simulated GPUs, and the real
daemon, at its default cadence of a second. The truth is what the jobs themselves say; what was metered
is read from the frames of the daemon's log. Sources of evidence:

- the driver's buffer of utilization samples, without which only what a list happens to show is seen;
- the process connector (needs root), which knows who began and ended when;
- the memory of processes that have ended, without which nobody can be named for what is found late.

Bound believed in before measuring: at least 99 % with all of them.
"""

import os
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

from gputally.model.interval import NS_PER_S
from gputally.plugins.attribution.connector import ConnectorUnusable, ProcessConnector
from gputally.proto.convert import decode_batch
from gputally.simulator.rig import Rig
from gputally.simulator.scenario import Fault, Scenario
from gputally.simulator.stack import daemon_config, running
from gputally.simulator.storm import PaperGroups, RealGroups, Storm, StormTenant
from gputally.storage.frame import read_frame
from gputally.storage.wal import Log

TENANTS = tuple(f"t{number}" for number in range(5))
CAP_MIB = 16
GPUS = 8
JOB_PERCENT = 8
"""What each job keeps its device busy: a dozen at once, when starts bunch up, are still less than all of it."""
MEAN_PERCENT = 200 * JOB_PERCENT // (5 * GPUS)
"""What 200 jobs a second of 0.2 s each keep a device busy on average: where a driver gives no samples of
processes, its utilization is all there is."""
GROUPS = Path("/sys/fs/cgroup/unified" if Path("/sys/fs/cgroup/unified/cgroup.procs").exists() else "/sys/fs/cgroup")


@dataclass(frozen=True)
class Variant:
    name: str
    samples: bool = True
    connector: bool = True
    memory: bool = True


VARIANTS = (
    Variant("all sources"),
    Variant("no utilization buffer", samples=False),
    Variant("no process connector", connector=False),
    Variant("no memory of the ended", memory=False),
    Variant("lists only", samples=False, connector=False, memory=False),
)


@dataclass(frozen=True)
class Outcome:
    """Shares of the jobs' busy time, in percent."""

    jobs: int
    right: float
    wrong: float
    nobodys: float


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 20.0
    connector = _why_no_connector()
    print(f"{'':26}{'right tenant':>14}{'wrong tenant':>14}{'unattributed':>14}{'jobs':>8}")
    for variant in VARIANTS:
        if variant.connector and connector:
            print(f"{variant.name:26}not measured: {connector}")
            continue
        told = measure(variant, seconds)
        print(f"{variant.name:26}{told.right:12.2f} %{told.wrong:12.2f} %{told.nobodys:12.2f} %{told.jobs:8}")


def _why_no_connector() -> str:
    try:
        with closing(ProcessConnector()):
            return ""
    except ConnectorUnusable as error:
        return str(error)


def measure(variant: Variant, seconds: float) -> Outcome:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir="/dev/shm")))
        scenario = Scenario.host(GPUS)
        for gpu in range(GPUS):
            scenario = scenario.with_utilization(gpu, MEAN_PERCENT)
        if not variant.samples:
            scenario = scenario.with_fault(Fault("nvmlDeviceGetProcessUtilization", error="NOT_SUPPORTED"))
        rig = stack.enter_context(Rig.opened(folder / "rig", scenario))
        places: PaperGroups | RealGroups = PaperGroups(rig.proc)
        if os.geteuid() == 0:
            places = RealGroups(GROUPS)
            stack.callback(places.remove)
        config = _config(folder, variant, rig if isinstance(places, PaperGroups) else None)
        storm = Storm(rig.folder / "scenario", scenario, _tenants(), places, sm_percent=JOB_PERCENT)
        with running(["daemon", "--config", str(config)], folder / "daemon.log", rig.environment) as daemon:
            time.sleep(2.5)
            storm.run(seconds)
            time.sleep(2.5)
            assert daemon.stop() == 0, daemon.logged()
        return _outcome(storm, _metered_ns(folder / "log"))


def _tenants() -> tuple[StormTenant, ...]:
    mark = os.getpid()
    return tuple(StormTenant(name, f"/docker/{mark:08x}{number:056x}") for number, name in enumerate(TENANTS))


def _config(folder: Path, variant: Variant, paper: Rig | None) -> Path:
    rules = [{"match": {"path": tenant.cgroup}, "tenant": tenant.name} for tenant in _tenants()]
    attribution: dict[str, object] = {
        "process_connector": variant.connector,
        "remember_s": 60 if variant.memory else 0,
    }
    if paper is None:
        attribution["proc"] = "/proc"
    return daemon_config(folder, paper.proc if paper else Path("/proc"), None, rules, attribution=attribution)


def _metered_ns(folder: Path) -> dict[str, int]:
    """Busy time by tenant, from the frames."""
    found: dict[str, int] = {}
    with closing(Log.open(folder, "sim-01", CAP_MIB << 20)) as log:
        seq = 1
        while raws := log.read(seq, 100, 1 << 24):
            for raw in raws:
                for record in decode_batch(read_frame(raw).payload()).records:
                    found[record.owner.tenant] = found.get(record.owner.tenant, 0) + record.busy_ns
            seq += len(raws)
    return found


def _outcome(storm: Storm, metered_ns: Mapping[str, int]) -> Outcome:
    truth_ns = storm.busy_ns()
    whole_ns = sum(truth_ns.values())
    right_ns = sum(min(metered_ns.get(name, 0), ns) for name, ns in truth_ns.items())
    wrong_ns = sum(max(metered_ns.get(name, 0) - ns, 0) for name, ns in truth_ns.items())
    nobodys_ns = sum(ns for name, ns in metered_ns.items() if name not in truth_ns)
    jobs = len(storm.jobs)
    assert whole_ns > jobs * NS_PER_S // 100
    return Outcome(jobs, 100 * right_ns / whole_ns, 100 * wrong_ns / whole_ns, 100 * nobodys_ns / whole_ns)


if __name__ == "__main__":
    main()
