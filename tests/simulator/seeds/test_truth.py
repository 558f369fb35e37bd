"""The oracle on scripts so small that its answers can be worked out by hand."""

from dataclasses import replace
from fractions import Fraction
from typing import Any

from gputally.simulator.seeds.clocks import Clocks, LifeTime
from gputally.simulator.seeds.energy import Counter
from gputally.simulator.seeds.reach import Reach, within
from gputally.simulator.seeds.script import (
    WALL_AT_START_NS,
    Blind,
    Boot,
    Ending,
    Glitch,
    Gpu,
    Instance,
    Job,
    Lease,
    Life,
    Power,
    Process,
    Restart,
    Rules,
    S,
    Script,
    Step,
    Stretch,
    Use,
)
from gputally.simulator.seeds.truth import Truth

GPU = "nvidia:GPU-0"
ONE, OTHER, HOST = Job("docker", "a", "/a"), Job("slurm", "1", "/b"), Job("host", "/", "/init.scope")


def run(job: Job, start_s: int, end_s: int, device_id: str = GPU, pid: int = 7) -> Process:
    return Process(pid, job, start_s * S, end_s * S, (Use(device_id, start_s * S, end_s * S, S),))


def lease(start_s: int, end_s: int, units: int = 1, of: int = 1, scheduled: bool = False, name: str = "l") -> Lease:
    job = Job("lease", name, "")
    return Lease(GPU, job, f"tenant-{name}", scheduled, start_s * S, end_s * S, units, of)


def script(*processes: Process, **more: Any) -> Script:
    """Ten minutes of a host with one GPU, on which nothing else happens."""
    plain = Script(
        seed=1,
        length_ns=600 * S,
        every_s=2.0,
        idle_every_s=5.0,
        fine_s=1.0,
        window_s=60,
        gpus=(Gpu(GPU, "H100", 80 << 30, (Power(0, 1_000_000),), 50),),
        processes=processes,
        boots=(Boot("b", -10 * S, 700 * S),),
        rules=(Rules(-S, {ONE: "one", OTHER: "other"}),),
        lives=(Life(0, 600 * S, Ending.STOPPED, 700 * S),),
        faults=(),
    )
    return replace(plain, **more)


def seconds(shares: dict[Job, Fraction]) -> dict[str, Fraction]:
    return {job.id: share / S for job, share in shares.items()}


def test_alone_for_half_and_shared_for_half_is_three_quarters_and_one() -> None:
    shares = Truth(script(run(ONE, 0, 60), run(OTHER, 30, 60, pid=8))).shares(GPU, 0, 60 * S)
    assert seconds(shares.jobs) == {"a": 45, "1": 15}
    assert shares.idle_ns == 0 and shares.sets == 1


def test_two_processes_of_one_workload_share_nothing_with_each_other() -> None:
    truth = Truth(script(run(ONE, 0, 60), run(ONE, 10, 40, pid=8), run(OTHER, 0, 60, pid=9)))
    assert seconds(truth.shares(GPU, 0, 60 * S).jobs) == {"a": 30, "1": 30}


def test_the_host_has_a_share_only_where_nobody_else_is() -> None:
    truth = Truth(script(run(HOST, 0, 60), run(ONE, 20, 30, pid=8)))
    assert seconds(truth.shares(GPU, 0, 60 * S).jobs) == {"/": 50, "a": 10}
    assert truth.held(GPU, 0, 60 * S) == {HOST: 60 * S, ONE: 10 * S}


def test_who_is_leased_it_has_it_and_who_holds_it_has_nothing() -> None:
    shares = Truth(script(run(ONE, 0, 60), leases=(lease(10, 30),))).shares(GPU, 0, 60 * S)
    assert seconds(shares.jobs) == {"a": 40, "l": 20}


def test_units_that_nobody_has_are_idle_and_more_than_there_are_is_less_for_each() -> None:
    quarter = Truth(script(run(ONE, 0, 60), leases=(lease(0, 60, units=1, of=4),))).shares(GPU, 0, 60 * S)
    assert seconds(quarter.jobs) == {"l": 15} and quarter.idle_ns == 45 * S
    crowded = (lease(0, 60, units=2, of=4, name="x"), lease(0, 60, name="y"))
    assert seconds(Truth(script(leases=crowded)).shares(GPU, 0, 60 * S).jobs) == {"x": 20, "y": 40}


def test_a_scheduler_is_stronger_than_a_lease() -> None:
    both = (lease(0, 60, name="x"), lease(20, 30, name="y", scheduled=True))
    assert seconds(Truth(script(leases=both)).shares(GPU, 0, 60 * S).jobs) == {"x": 50, "y": 10}


def test_a_lease_of_a_gpu_in_mig_mode_is_one_of_each_instance() -> None:
    instance = Instance("nvidia:MIG-1", GPU, 1, 1, -S, 700 * S)
    truth = Truth(script(run(ONE, 0, 60, "nvidia:MIG-1"), leases=(lease(0, 30),), instances=(instance,)))
    assert seconds(truth.shares("nvidia:MIG-1", 0, 60 * S).jobs) == {"l": 30, "a": 30}


def test_tenants_follow_the_rules_of_the_moment_and_leases_their_own_word() -> None:
    rules = (Rules(-S, {ONE: "one"}), Rules(20 * S, {ONE: "two"}), Rules(50 * S, {}))
    truth = Truth(script(run(ONE, 0, 60), rules=rules, leases=(lease(30, 40),)))
    told = {tenant: share / S for tenant, share in truth.tenants(GPU, 0, 60 * S).items()}
    assert told == {"one": 20, "two": 20, "tenant-l": 10, "unattributed": 10}


def test_a_counter_begins_anew_and_tells_nonsense_and_the_truth_is_another() -> None:
    more: dict[str, Any] = {
        "restarts": (Restart(GPU, 30 * S, evident=True),),
        "glitches": (Glitch(GPU, 40 * S, 41 * S, 5),),
    }
    counter = Counter(script().gpus[0], script(**more))
    assert [counter.read_mj(at * S) for at in (29, 30, 31, 40, 41)] == [29_000_000, 0, 1_000_000, 5, 11_000_000]
    assert [counter.epoch(at * S) for at in (29, 30)] == [0, 1]
    assert counter.spent_mj(29 * S, 31 * S) == 2_000_000


def test_clocks_of_a_host_that_is_suspended_stepped_and_booted_again() -> None:
    more: dict[str, Any] = {
        "suspends": (Stretch(100 * S, 150 * S),),
        "steps": (Step(200 * S, -3 * S),),
        "boots": (Boot("b", -10 * S, 250 * S), Boot("c", 300 * S, 700 * S)),
    }
    clocks, life = Clocks(script(**more)), LifeTime(script(**more), 50 * S)
    assert [clocks.boot_ns(at * S) // S for at in (0, 160, 310)] == [10, 170, 10]
    assert [(clocks.wall_ns(at * S) - WALL_AT_START_NS) // S for at in (199, 200)] == [199, 197]
    assert [clocks.suspended_ns(at * S) // S for at in (99, 150, 310)] == [0, 50, 0]
    life.clock.now_s = 49.0
    assert life.now_ns() == 99 * S
    life.clock.now_s = 51.0
    assert life.now_ns() == 151 * S
    assert life.at_s(151 * S) == 51.0


def test_nothing_may_be_unobserved_where_nothing_reaches() -> None:
    hung = script(blinds=(Blind(GPU, 100 * S, 110 * S, "nvml_hang"),))
    reach = Reach(hung)
    assert within(reach.blind[GPU], 0, 50 * S) == 0
    assert within(reach.blind[GPU], 100 * S, 110 * S) == 10 * S
    assert within(reach.blind[GPU], 200 * S, 600 * S) == 0
    assert reach.down[GPU] == []
