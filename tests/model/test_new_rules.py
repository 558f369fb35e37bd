"""Rules that change while a device is held: a cut at one reading, for everybody, and no nanosecond lost or doubled."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from gputally.model.consumption import Consumed
from gputally.model.reading import GapReason
from gputally.model.workload import Attribution, Holder, NewRules, Owner, Workload

from .host import PaperHost, Run, S


class Ruled(PaperHost):
    """At each of ``changes`` (s) the owners of all workloads change with the next version, from that reading on."""

    changes: tuple[int, ...] = ()
    version = 1

    def attribution(self, at_ns: int) -> Attribution:
        told = super().attribution(at_ns)
        told = replace(
            told,
            rules_version=f"r{self.version}",
            holders={pid: self.own(holder) for pid, holder in told.holders.items()},
        )
        if at_ns // S not in self.changes:
            return told
        self.version += 1
        owners = {holder.workload: self.own(holder).owner for holder in self.everybody}
        return replace(told, changing=NewRules(f"r{self.version}", owners))

    @property
    def everybody(self) -> list[Holder]:
        return [run.holder for run in self.runs]

    def own(self, holder: Holder) -> Holder:
        if self.version == 1:
            return holder
        return replace(holder, owner=Owner(f"{holder.workload.id}{self.version}", rule="1"))

    def told(self) -> dict[str, dict[str, int]]:
        """ns by version and tenant."""
        found: dict[str, dict[str, int]] = {}
        for record in self.records:
            tenants = found.setdefault(record.rules_version, {})
            tenants[record.owner.tenant] = tenants.get(record.owner.tenant, 0) + record.allocated_ns
        return found


def run(runs: list[Run], changes: tuple[int, ...], until_s: int = 60) -> Ruled:
    host = Ruled(runs)
    host.changes = changes
    for tick in range(until_s + 1):
        host.tick(tick * S)
    host.stop()
    return host


def test_up_to_the_reading_the_old_rules_name_the_owner_and_from_it_on_the_new() -> None:
    host = run([Run(1, "a", 0, 900 * S)], (20, 45))
    assert host.told() == {"r1": {"a": 20 * S}, "r2": {"a2": 25 * S}, "r3": {"a3": 15 * S}}
    assert sum(row.segment.boot.length_ns for row in host.rows) == 60 * S


def test_who_begins_or_ends_within_the_tick_of_the_change_is_the_old_rules_to_the_last_nanosecond() -> None:
    begins = Run(2, "b", 19 * S + S // 4, 900 * S)
    ends = Run(3, "c", 0, 19 * S + S // 2)
    told = run([begins, ends], (20,)).told()
    assert told["r2"] == {"b2": 40 * S}
    assert set(told["r1"]) == {"b", "c"}
    assert sum(told["r1"].values()) == 20 * S


def test_a_change_while_a_device_cannot_be_read_loses_nothing_of_it() -> None:
    host = Ruled([Run(1, "a", 0, 900 * S)])
    host.changes = (20,)
    for tick in range(61):
        host.tick(tick * S, {"nvidia:GPU-0": GapReason.NVML_HANG} if 19 <= tick <= 20 else None)
    host.stop()
    told = host.told()
    assert told == {"r1": {"a": 18 * S}, "r2": {"a2": 42 * S}}


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 59), st.integers(1, 60)), min_size=1, max_size=6),
    st.sets(st.integers(0, 60), max_size=5),
)
def test_whenever_rules_change_each_version_has_exactly_its_own_time(
    spans: list[tuple[str, int, int]], changes: set[int]
) -> None:
    runs = [Run(pid, who, start * S, (start + length) * S) for pid, (who, start, length) in enumerate(spans, 1)]
    host, still = run(runs, tuple(changes)), run(runs, ())
    assert sum(row.segment.boot.length_ns for row in host.rows) == sum(row.segment.boot.length_ns for row in still.rows)
    assert sum(r.allocated_ns for r in host.records) == sum(r.allocated_ns for r in still.records)
    for record in host.records:
        version = record.rules_version.removeprefix("r")
        assert record.owner.tenant.lstrip("abc") == ("" if version == "1" else version)


def test_a_workloads_counters_are_cut_where_its_owner_changes() -> None:
    host = Ruled([Run(1, "a", 0, 900 * S)])
    host.changes = (20,)
    for tick in range(61):
        reading, attribution = host.reading(tick * S), host.attribution(tick * S)
        due = host.meter.due(reading, attribution)
        counters = Consumed(tick * S, 1000 * tick, 1_000, 10 * tick, 0, 0, None, group_inode=7, network_id="n")
        batch = host.meter.observe(reading, attribution, (), dict.fromkeys(due, counters))
        if batch is not None:
            host.batches.append(batch)
    rows = [row for batch in host.batches for row in batch.workloads if row.workload == Workload("docker", "a")]
    assert [(row.owner.tenant, row.boot.length_ns // S, row.cpu_us) for row in rows] == [
        ("a", 20, 20_000),
        ("a2", 40, 40_000),
    ]
