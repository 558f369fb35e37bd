"""Who claims a device has its time, whether or not a process uses it, and whether or not anybody can look."""

from hypothesis import given
from hypothesis import strategies as st

from gputally.model.checkpoint import load, save
from gputally.model.claiming import REST, parts_of, stretches
from gputally.model.claims import Claim
from gputally.model.conservation import check_batch
from gputally.model.reading import GapReason
from gputally.model.refused import Refused
from gputally.model.usage import ClaimClass, Sharing
from gputally.model.workload import Owner, Workload

from .host import PaperHost, Run, S
from .test_meter import lawful

GPU = "nvidia:GPU-0"


def lease(
    tenant: str, start_ns: int = 0, end_ns: int | None = None, units: int = 1, of: int = 1, device: str = GPU
) -> Claim:
    return Claim(device, ClaimClass.LEASE, Workload("lease", tenant), Owner(tenant), start_ns, end_ns, units, of)


def job(tenant: str, start_ns: int = 0, end_ns: int | None = None) -> Claim:
    return Claim(GPU, ClaimClass.SCHEDULER, Workload("slurm", tenant), Owner(tenant), start_ns, end_ns)


def test_a_leased_device_without_a_process_is_allocated_all_the_time_and_neither_held_nor_busy() -> None:
    """G12, a minute of it."""
    host = PaperHost(claims=(lease("acme"),))
    for tick in range(61):
        host.tick(tick * S)
    (record,) = host.records
    assert (record.allocated_ns, record.held_ns, record.busy_ns, record.blind_ns) == (60 * S, 0, 0, 0)
    assert (record.claim, record.sharing) == (ClaimClass.LEASE, Sharing.CLAIMED)
    assert host.rows[0].idle_ns == 0
    lawful(host)


def test_a_driver_that_hangs_on_a_leased_device_leaves_it_allocated_and_blind() -> None:
    host = PaperHost(claims=(lease("acme"),))
    for tick in range(61):
        host.tick(tick * S, {GPU: GapReason.NVML_HANG} if 10 <= tick < 40 else None)
    (record,) = host.records
    assert (record.allocated_ns, record.blind_ns) == (60 * S, 31 * S)
    assert host.unobserved_ns() == {}
    assert host.rows[0].unobserved_energy_mj == 31 * 300_000
    lawful(host)


def test_who_holds_a_device_that_somebody_else_claims_has_no_share_and_says_so() -> None:
    host = PaperHost([Run(1, "thief", 0, 900 * S)], claims=(lease("acme"),))
    for tick in range(61):
        host.tick(tick * S)
    thief, acme = sorted(host.records, key=lambda r: r.workload.kind)
    assert (thief.allocated_ns, thief.held_ns, thief.outside_claim) == (0, 60 * S, True)
    assert thief.busy_ns == 30 * S
    assert (acme.allocated_ns, acme.held_ns, acme.outside_claim) == (60 * S, 0, False)
    lawful(host)


def test_the_scheduler_outranks_the_lease_and_the_segment_is_cut_where_the_job_begins_and_ends() -> None:
    host = PaperHost()
    host.claims = (lease("acme"), job("j1", 20 * S + 7, 40 * S + 9))
    for tick in range(61):
        host.tick(tick * S)
    assert host.allocated_ns("j1") == 20 * S + 2
    assert host.allocated_ns("acme") == 40 * S - 2
    assert [row.segment.boot.start_ns for row in host.rows] == [0, 20 * S + 7, 40 * S + 9]
    assert {r.outside_claim for r in host.records} == {False}
    lawful(host)


def test_a_lease_begins_and_ends_to_the_nanosecond() -> None:
    host = PaperHost(claims=(lease("acme", 10 * S + 1, 50 * S + 3),))
    for tick in range(0, 61, 5):
        host.interval_ns = 5 * S
        host.tick(tick * S)
    assert host.allocated_ns("acme") == 40 * S + 2
    assert sum(row.idle_ns for row in host.rows) == 20 * S - 2
    lawful(host)


def test_units_that_nobody_claims_are_idle_and_unobserved_while_nobody_looks() -> None:
    host = PaperHost(claims=(lease("a", units=1, of=4), lease("b", units=1, of=2)))
    for tick in range(61):
        host.tick(tick * S, {GPU: GapReason.NVML_HANG} if tick >= 30 else None)
    host.stop()
    assert (host.allocated_ns("a"), host.allocated_ns("b")) == (15 * S, 30 * S)
    assert sum(row.idle_ns for row in host.rows) == 29 * S // 4
    assert host.unobserved_ns() == {"nvml_hang": 31 * S // 4}
    lawful(host)


def test_more_claimed_than_there_is_gives_everybody_less_in_proportion() -> None:
    assert parts_of((lease("a"), lease("b", units=1, of=2))) == (
        (Workload("lease", "a"), 2),
        (Workload("lease", "b"), 1),
    )
    assert parts_of((lease("a", units=1, of=2),))[-1] == (REST, 1)


def test_a_claim_goes_on_blind_while_the_daemon_is_down() -> None:
    host = PaperHost(claims=(lease("acme"),))
    for tick in range(20):
        host.tick(tick * S)
    host.meter = load(save(host.meter, Refused()))[0]
    for tick in range(50, 61):
        host.tick(tick * S)
    (record,) = host.records
    assert (record.allocated_ns, record.blind_ns, record.inferred_ns) == (60 * S, 31 * S, 0)
    lawful(host)


def test_a_lease_that_ran_out_while_the_daemon_was_down_ended_when_it_said() -> None:
    host = PaperHost(claims=(lease("acme", 0, 30 * S),))
    for tick in range(20):
        host.tick(tick * S)
    host.meter = load(save(host.meter, Refused()))[0]
    for tick in range(50, 61):
        host.tick(tick * S)
    assert host.allocated_ns("acme") == 30 * S
    assert host.unobserved_ns() == {"daemon_down": 20 * S}
    lawful(host)


def test_a_lease_that_is_written_down_late_does_not_change_what_was_settled() -> None:
    host = PaperHost()
    for tick in range(61):
        host.claims = (lease("acme"),) if tick >= 30 else ()
        host.tick(tick * S)
    assert host.allocated_ns("acme") == 30 * S
    lawful(host)


def test_a_lease_that_is_taken_away_held_until_that_was_learned() -> None:
    host = PaperHost(claims=(lease("acme"),))
    for tick in range(61):
        host.claims = () if tick >= 30 else host.claims
        host.tick(tick * S)
    assert host.allocated_ns("acme") == 30 * S


instants = st.integers(-50, 150)
claims = st.lists(
    st.builds(
        lambda who, start, end, units, cls: Claim(
            GPU, cls, Workload("x", str(who)), Owner(str(who)), start, None if end < start else end, units, 4
        ),
        st.integers(0, 3),
        instants,
        instants,
        st.integers(1, 3),
        st.sampled_from([ClaimClass.LEASE, ClaimClass.SCHEDULER]),
    ),
    max_size=4,
).map(tuple)


@given(claims, claims)
def test_stretches_tile_and_hold_claims_of_one_class_only(old: tuple[Claim, ...], new: tuple[Claim, ...]) -> None:
    found = stretches(old, new, 0, 100)
    assert [s.start_ns for s in found] == [0, *(s.end_ns for s in found[:-1])] and found[-1].end_ns == 100
    assert all(len({claim.claim_class for claim in stretch.claims}) <= 1 for stretch in found)


@given(
    st.lists(st.tuples(claims, st.integers(200_000_000, 2_900_000_000), st.booleans()), min_size=2, max_size=30),
    st.lists(st.builds(Run, st.integers(1, 5), st.sampled_from("ab"), st.just(0), st.just(90 * S)), max_size=2),
)
def test_whatever_is_claimed_every_nanosecond_is_counted_once(
    ticks: list[tuple[tuple[Claim, ...], int, bool]], runs: list[Run]
) -> None:
    host = PaperHost(list({run.pid: run for run in runs}.values()))
    at_ns = 0
    for told, delay_ns, hangs in ticks:
        host.claims = tuple(
            Claim(c.device_id, c.claim_class, c.workload, c.owner, c.start_ns * S // 3, None, c.units, c.of)
            for c in told
        )
        host.tick(at_ns, {GPU: GapReason.NVML_HANG} if hangs else None)
        at_ns += delay_ns
    host.tick(at_ns)
    host.stop()
    lawful(host)
    assert [v for batch in host.batches for v in check_batch(batch)] == []
