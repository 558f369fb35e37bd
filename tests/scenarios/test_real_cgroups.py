"""Real processes in real cgroups, v1 and v2, through the real /proc: each one's GPU time lands on its tenant."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from gputally.plugins.nvml.namespaces import check_namespaces
from gputally.simulator.scenario import SimProcess, boottime_ns

from ..plugins.attribution.real import V1, V2, RealGroups
from .field import a_field

RULES = [
    {"match": {"kind": kind, "id": "*"}, "tenant": kind + "-{1}"} for kind in ("docker", "kubernetes", "slurm", "user")
]
Shape = Callable[[RealGroups], tuple[str, str]]
SHAPES: tuple[Shape, ...] = (  # tenant, path
    lambda g: (f"docker-{g.id}", f"/system.slice/docker-{g.id}.scope"),
    lambda g: (
        f"kubernetes-{g.id[:32]}",
        f"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{g.id[:32]}.slice/cri-containerd-{g.id}.scope",
    ),
    lambda g: (f"slurm-{g.number}", f"/system.slice/slurmstepd.scope/job_{g.number}/step_0/user/task_0"),
    lambda g: (f"user-{g.number}", f"/user.slice/user-{g.number}.slice/session-3.scope"),
)
SPOOF = "/user.slice/user-{0.number}.slice/docker-{1}.scope"


@pytest.mark.root
def test_each_processes_gpu_time_lands_on_the_right_tenant(tmp_path: Path) -> None:
    if (why := check_namespaces("/proc")) is not None:
        pytest.skip(why)
    with ExitStack() as stack:
        field = stack.enter_context(a_field(tmp_path, rules=RULES, proc=Path("/proc")))
        groups = [stack.enter_context(RealGroups(mount)) for mount in (V1, V2) if mount is not None]
        field.start_collector()
        field.start_daemon()
        time.sleep(1)
        for number, made in enumerate(groups):
            for gpu, shape in enumerate(SHAPES, start=number * len(SHAPES)):
                tenant, path = shape(made)
                hold(field.rig.hold, made, tenant, path, gpu)
        spoofer, victim = groups[-1], groups[0]
        hold(field.rig.hold, spoofer, f"user-{spoofer.number}", SPOOF.format(spoofer, victim.id), 0)
        time.sleep(4)
        field.end_jobs()
        time.sleep(1)
        field.stop_daemon()
        field.assert_lawful()
        assert {tenant for tenant, _ in field.metered()} == {shape(g)[0] for g in groups for shape in SHAPES}
        field.assert_true()


def hold(hold_gpu: Callable[..., object], groups: RealGroups, tenant: str, path: str, gpu: int) -> None:
    before_ns = boottime_ns()
    process = groups.run(path)
    hold_gpu(tenant, path, process, SimProcess(process.pid, before_ns), gpu)
