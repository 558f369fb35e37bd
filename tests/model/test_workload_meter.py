"""What workloads take of the host: a row for each and every window, and nothing known where nobody could read."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from gputally.model.consumption import Consumed, Increment
from gputally.model.interval import Interval
from gputally.model.usage import WorkloadWindow
from gputally.model.workload import Holder, Owner, ProcessId, Workload
from gputally.model.workload_meter import WorkloadMeter, halves

from .host import PaperHost, Run, S

LENGTH = 60 * S


def holder(name: str, pid: int = 1, owner: str = "") -> Holder:
    workload = Workload("docker", name)
    return Holder(ProcessId(pid, 1), workload, Owner(owner or name, rule="1"), f"/docker/{name}", 100 + pid, 0)


class Host:
    """Counters grow by 1 ms of CPU, 10 bytes read and 3 received a second; memory stands at 1,000 bytes."""

    def __init__(self) -> None:
        self.meter = WorkloadMeter(LENGTH)
        self.reads = 0

    def tick(self, at_s: int, *held: Holder, readable: bool = True, offset_ns: int = 0) -> None:
        due = self.meter.due(held, at_s * S, offset_ns)
        self.reads += len(due)
        counters = Consumed(at_s * S, 1000 * at_s, 1_000, 10 * at_s, 0, 3 * at_s, None, group_inode=7, network_id="n")
        self.meter.fold(held, at_s * S, offset_ns, dict.fromkeys(due, counters) if readable else {})

    @property
    def rows(self) -> list[WorkloadWindow]:
        return self.meter.closed


def test_a_workload_has_one_row_a_window_that_ends_where_the_window_does() -> None:
    host = Host()
    for at_s in range(0, 150, 7):
        host.tick(at_s, holder("a"))
    first, second = host.rows
    assert (first.boot, second.boot) == (Interval(0, 60 * S), Interval(60 * S, 120 * S))
    assert (first.cpu_us, first.io_read_bytes, first.net_rx_bytes, first.net_tx_bytes) == (60_000, 600, 180, None)
    assert first.memory_byte_ms == 60_000 * 1_000
    assert (first.replica_ns, first.replica_max) == (60 * S, 1)
    assert host.reads == 3


def test_who_leaves_in_the_middle_of_a_window_has_a_row_until_then() -> None:
    host = Host()
    for at_s in range(0, 60, 10):
        host.tick(at_s, *([holder("a")] if at_s < 30 else []))
    (row,) = host.rows
    assert (row.boot, row.cpu_us) == (Interval(0, 30 * S), 30_000)


def test_what_could_not_be_read_when_it_left_is_unknown_and_not_zero() -> None:
    host = Host()
    host.tick(0, holder("a"))
    host.tick(10, readable=False)
    (row,) = host.rows
    assert (row.cpu_us, row.memory_byte_ms, row.io_read_bytes) == (None, None, None)
    assert row.replica_ns == 10 * S


def test_a_new_owner_gets_a_row_of_its_own() -> None:
    host = Host()
    host.tick(0, holder("a", owner="x"))
    host.tick(70, holder("a", owner="x"))
    host.tick(80, holder("a", owner="y"))
    host.tick(130, holder("a", owner="y"))
    assert [(row.owner.tenant, row.boot) for row in host.rows] == [
        ("x", Interval(0, 60 * S)),
        ("x", Interval(60 * S, 80 * S)),
        ("y", Interval(80 * S, 120 * S)),
    ]


def test_a_thousand_ticks_with_nothing_new_read_nothing() -> None:
    host = Host()
    held = holder("a")
    for at_s in range(59):
        host.tick(at_s, held)
    assert host.reads == 1


amounts = st.one_of(st.none(), st.integers(0, 10**15))


@given(
    st.builds(Increment, st.just(Interval(5, 100)), amounts, amounts, amounts, amounts, amounts, amounts),
    st.integers(6, 99),
)
def test_nothing_is_made_or_lost_where_an_increment_is_cut(whole: Increment, at_ns: int) -> None:
    first, second = halves(whole, at_ns)
    assert (first.boot, second.boot) == (Interval(5, at_ns), Interval(at_ns, 100))
    for name in ("cpu_us", "memory_byte_ns", "io_read_bytes", "net_tx_bytes"):
        parts = getattr(first, name), getattr(second, name)
        assert parts == (None, None) if getattr(whole, name) is None else sum(parts) == getattr(whole, name)


def test_a_device_that_cannot_be_read_does_not_make_its_workloads_leave() -> None:
    run = Run(1, "a", 0, 900 * S)
    host = PaperHost([run])
    host.tick(0)
    reading = host.reading(S)
    attribution = host.attribution(S)
    assert host.meter.due(reading, attribution).keys() == {run.holder.workload}
    host.meter.observe(reading, attribution, (), {})
    hung = replace(host.reading(2 * S), readings=())
    assert host.meter.due(hung, replace(attribution, holders={})) == {}


def test_a_reading_just_on_the_edge_closes_the_window() -> None:
    host = Host()
    for at_s in range(181):
        host.tick(at_s, holder("a"))
    assert [(row.boot.start_ns // S, row.boot.end_ns // S) for row in host.rows] == [(0, 60), (60, 120), (120, 180)]


def test_a_unit_that_is_started_anew_is_one_replica_before_and_one_after() -> None:
    host = Host()
    for at_s in range(181):
        host.tick(at_s, holder("a", pid=1 if at_s < 90 else 2))
    assert [((row.replica_ns or 0) // S, row.replica_max) for row in host.rows] == [(60, 1), (60, 1), (60, 1)]
