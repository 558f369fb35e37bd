"""Energy: what was counted is booked once, and what no board could have spent is not."""

from hypothesis import given
from hypothesis import strategies as st

from gputally.model.energy import MOST_POWER_MW, Growth, PowerIntegral, judge
from gputally.model.reading import DeviceGap, DeviceReading, GapReason, ProcessOnDevice
from gputally.model.usage import EnergySource

from .host import PaperHost, Run, S
from .test_meter import lawful

GPU = "nvidia:GPU-0"


def look(at_ns: int, energy_mj: int | None = None, power_mw: int | None = None, epoch: int = 0) -> DeviceReading:
    return DeviceReading(
        GPU, at_ns, (ProcessOnDevice(1, 1 << 30),), 50, None, energy_mj, power_mw=power_mw, epoch=epoch
    )


def spent(host: PaperHost) -> list[tuple[int | None, int | None]]:
    return [(row.energy_start_mj, row.energy_end_mj) for row in host.rows]


def test_a_board_without_a_counter_has_its_power_integrated_and_the_row_says_so() -> None:
    host = PaperHost([Run(1, "a", 0, 900 * S)])
    for tick in range(61):
        host.observe(tick * S, (look(tick * S, power_mw=250_333),))
    (record,), (row,) = host.records, host.rows
    assert record.energy_mj == 250_333 * 60
    assert row.energy_source is EnergySource.POWER
    lawful(host)


def test_power_is_not_integrated_over_a_gap() -> None:
    host = PaperHost([Run(1, "a", 0, 900 * S)])
    for tick in range(61):
        part = look(tick * S, power_mw=100_000)
        host.observe(tick * S, (DeviceGap(GPU, tick * S, GapReason.NVML_HANG),) if 20 <= tick < 40 else (part,))
    assert sum(r.energy_mj or 0 for r in host.records) == 100_000 * (60 - 21)
    lawful(host)


def test_a_counter_that_regrew_unseen_is_known_by_its_epoch_and_nothing_is_guessed() -> None:
    host = PaperHost([Run(1, "a", 0, 900 * S)])
    host.observe(0, (look(0, 1_000),))
    host.observe(S, (look(S, 301_000),))
    host.observe(2 * S, (look(2 * S, 900_000, epoch=1),))
    host.observe(3 * S, (look(3 * S, 1_200_000, epoch=1),))
    host.stop()
    assert spent(host) == [(1_000, 301_000), (900_000, 1_200_000)]
    lawful(host)


def test_energy_since_a_reload_is_told_as_what_was_spent_while_nobody_looked() -> None:
    host = PaperHost([Run(1, "a", 0, 900 * S)])
    host.observe(0, (look(0, 5_000_000),))
    host.observe(S, (look(S, 5_300_000),))
    for at_s in range(2, 10):
        host.observe(at_s * S, (DeviceGap(GPU, at_s * S, GapReason.DRIVER_RELOAD),))
    host.observe(10 * S, (look(10 * S, 900_000, epoch=1),))
    host.stop()
    assert sum(row.unobserved_energy_mj for row in host.rows) == 900_000
    lawful(host)


def test_a_moment_of_nonsense_is_never_billed() -> None:
    """A counter that reads low for a moment and then as before would bill all that was ever spent."""
    host = PaperHost([Run(1, "a", 0, 900 * S)])
    counters = [10**12, 10**12 + 300_000, 7, 10**12 + 900_000, 10**12 + 1_200_000]
    for at_s, energy_mj in enumerate(counters):
        host.observe(at_s * S, (look(at_s * S, energy_mj),))
    host.stop()
    assert sum(r.energy_mj or 0 for r in host.records) == 300_000 + 7 + 300_000
    lawful(host)


def test_the_energy_of_a_gap_is_unobserved_and_not_idle() -> None:
    host = PaperHost([])
    for tick in range(61):
        host.tick(tick * S, {GPU: GapReason.NVML_HANG} if 10 <= tick < 30 else None)
    (row,) = host.rows
    assert (row.unobserved_energy_mj, row.idle_energy_mj) == (21 * 300_000, 39 * 300_000)


@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(1, 10**10)), max_size=50))
def test_integrated_power_loses_less_than_a_millijoule_however_often_it_is_read(steps: list[tuple[int, int]]) -> None:
    integral = PowerIntegral()
    for power_mw, length_ns in steps:
        integral.add(power_mw, length_ns)
    assert integral.total_mj == sum(power_mw * length_ns for power_mw, length_ns in steps) // S


@given(st.integers(0, 10**13), st.integers(0, 10**13), st.integers(0, 10**12), st.booleans())
def test_no_growth_is_more_than_a_board_can_spend(before: int, now: int, elapsed_ns: int, same: bool) -> None:
    growth = judge(before, now, elapsed_ns, same)
    booked = {Growth.ON: now - before, Growth.FROM_ZERO: now, Growth.ANEW: 0}[growth]
    assert 0 <= booked <= MOST_POWER_MW * (elapsed_ns // S + 2)
