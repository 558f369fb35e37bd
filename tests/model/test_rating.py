"""What usage costs: exact, once, and the same for everybody who multiplies it again."""

from decimal import Decimal
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from gputally.model.billable import Resolved
from gputally.model.rating import Adjustment, Mismatch, UsageSum, difference, quantity, rate, sum_of

from .price_list import GOLDEN, catalogue

HOUR_NS = 3600 * 10**9
TIERED = GOLDEN.replace(
    'price = "1.25"',
    'tiers = [{from = 0, price = "1.25"}, {from = 100, price = "1.00"}, {from = "250.5", price = "0.333"}]',
)


def used(hours: int, tenant: str = "acme", model: str = "NVIDIA L40", **tags: str) -> UsageSum:
    return UsageSum(tenant, model, "allocated", hours * HOUR_NS, tuple(sorted(tags.items())))


def test_an_hour_costs_what_the_list_says() -> None:
    rating = rate([used(30), used(100, "zeta", "NVIDIA H100 80GB")], catalogue())
    assert [(line.tenant, line.sku, line.cost) for line in rating.lines] == [
        ("acme", "Small", Decimal("37.5")),
        ("zeta", "Large", Decimal("390")),
    ]
    assert rating.total == Decimal("427.5")


def test_tiers_are_graduated_and_start_anew_for_each_tenant() -> None:
    rating = rate([used(300), used(100, "zeta")], catalogue(TIERED))
    assert [(line.tenant, line.tier, line.quantity, line.cost) for line in rating.lines] == [
        ("acme", 1, 100, 125),
        ("acme", 2, Decimal("150.5"), Decimal("150.5")),
        ("acme", 3, Decimal("49.5"), Decimal("16.4835")),
        ("zeta", 1, 100, 125),
    ]


def test_two_gpu_models_of_one_sku_climb_its_tiers_together() -> None:
    text = TIERED.replace('"NVIDIA L40"', '"NVIDIA L4*"')
    rating = rate([used(60), used(60, model="NVIDIA L4")], catalogue(text))
    assert [(line.tier, int(line.quantity)) for line in rating.lines] == [(1, 100), (2, 20)]
    assert rating.lines[0].gpu_models == ("NVIDIA L4", "NVIDIA L40")


sums = st.lists(
    st.builds(
        UsageSum,
        st.sampled_from("abc"),
        st.sampled_from(["NVIDIA L40", "NVIDIA A100", "NVIDIA Q"]),
        st.just("allocated"),
        st.integers(0, 10**20),
    ),
    max_size=8,
)


@given(sums)
def test_quantity_times_price_is_the_cost_to_the_last_digit(told: list[UsageSum]) -> None:
    rating = rate(told, catalogue(TIERED))
    for line in rating.lines:
        assert Fraction(line.quantity) * Fraction(line.unit_price) == Fraction(line.cost)
        assert line.quantity.as_tuple().exponent == -9 or line.quantity == line.quantity.quantize(Decimal("1e-9"))
    assert Fraction(rating.total) == sum((Fraction(line.cost) for line in rating.lines), Fraction(0))


@given(sums)
def test_no_time_is_charged_twice_or_lost(told: list[UsageSum]) -> None:
    """Tiers cut the quantity that was rounded once: they add up to it."""
    rating = rate(told, catalogue(TIERED))
    for tenant in "abc":
        ns = sum(each.ns for each in told if each.tenant == tenant and each.gpu_model == "NVIDIA L40")
        small = sum(line.quantity for line in rating.lines if (line.tenant, line.sku) == (tenant, "Small"))
        assert small == quantity(ns)
    assert sum(each.ns for each in rating.unpriced) == sum(e.ns for e in told if e.gpu_model == "NVIDIA Q")


@given(sums, sums)
def test_what_was_charged_and_its_correction_are_the_new_charge(before: list[UsageSum], after: list[UsageSum]) -> None:
    old, new = rate(before, catalogue(TIERED)), rate(after, catalogue(TIERED))
    changes = difference(old, new)
    assert old.total + sum_of(changes) == new.total
    for line in changes:
        assert line.quantity * line.unit_price == line.cost != 0 or line.unit_price == 0


@given(sums)
def test_the_order_of_sums_does_not_matter(told: list[UsageSum]) -> None:
    assert rate(told, catalogue()) == rate(told[::-1], catalogue())


def test_half_a_step_is_rounded_up_whatever_its_sign() -> None:
    assert quantity(1_800) == Decimal("1E-9")
    assert quantity(1_799) == 0
    assert quantity(-1_800) == Decimal("-1E-9")


def test_what_nobody_sells_is_not_free() -> None:
    rating = rate([used(3, model="NVIDIA Q")], catalogue())
    assert rating.lines == ()
    assert rating.unpriced == (used(3, model="NVIDIA Q"),)


def test_what_belongs_to_nobody_is_in_no_total() -> None:
    rating = rate([used(3, "unattributed")], catalogue())
    assert rating.total == 0
    assert [line.cost for line in rating.unattributed] == [Decimal("3.75")]


def test_hardware_that_is_not_what_it_was_sold_as_is_flagged_and_charged_as_what_it_is() -> None:
    rating = rate([used(3, sku="Large"), used(4, sku="Small"), used(5, sku="Gone")], catalogue())
    assert rating.mismatches == (
        Mismatch("acme", "Gone", "NVIDIA L40", 5 * HOUR_NS),
        Mismatch("acme", "Large", "NVIDIA L40", 3 * HOUR_NS),
    )
    assert [(line.sku, int(line.quantity)) for line in rating.lines] == [("Small", 12)]


POOLS = (
    GOLDEN
    + """
parameters = [{ name = "pool", from = ["label.pool", "annotation.pool"], value = "shared" }]
"""
)


def test_a_parameter_comes_from_the_first_source_that_has_it_and_says_which() -> None:
    def of(**tags: str) -> tuple[Resolved, ...]:
        told = {name.replace("_", "."): value for name, value in tags.items()}
        return rate([used(1, "acme", "NVIDIA H100", **told)], catalogue(POOLS)).lines[0].parameters

    assert of(label_pool="a", annotation_pool="b") == (Resolved("pool", "a", "label.pool"),)
    assert of(annotation_pool="b") == (Resolved("pool", "b", "annotation.pool"),)
    assert of() == (Resolved("pool", "shared", "catalogue"),)


def test_a_parameter_can_choose_the_sku() -> None:
    reserved = '[[skus]]\nname = "Reserved"\ngpu_model = "*"\nprice = 1\nparameters = ['
    reserved += '{ name = "pool", from = ["label.pool"], wanted = "reserved" }]\n'
    text = GOLDEN.replace("[[skus]]", reserved + "[[skus]]", 1)
    rating = rate([used(1, **{"label.pool": "reserved"}), used(2)], catalogue(text))
    assert [(line.sku, int(line.quantity)) for line in rating.lines] == [("Reserved", 1), ("Small", 2)]


def test_an_sku_that_counts_held_time_is_charged_by_it_alone() -> None:
    text = GOLDEN.replace('price = "1.25"', 'price = "1.25"\nmeter = "held"')
    held = UsageSum("acme", "NVIDIA L40", "held", HOUR_NS)
    rating = rate([used(3), held, used(2, model="NVIDIA A100")], catalogue(text))
    assert [(line.sku, int(line.quantity), line.meter) for line in rating.lines] == [
        ("Medium", 2, "allocated"),
        ("Small", 1, "held"),
    ]


def test_an_adjustment_is_charged_beside_the_usage_and_climbs_no_tier() -> None:
    booked = [Adjustment("c-2", "acme", "NVIDIA L40", -HOUR_NS), Adjustment("c-1", "zeta", "NVIDIA Q", HOUR_NS)]
    rating = rate([used(300)], catalogue(TIERED), booked)
    assert rating.lines == rate([used(300)], catalogue(TIERED)).lines
    assert [(line.adjustment, line.cost) for line in rating.adjustments] == [("c-2", Decimal("-1.25"))]
    assert rating.total == sum_of(rating.lines) - Decimal("1.25")
    assert [(each.gpu_model, each.ns) for each in rating.unpriced] == [("NVIDIA Q", HOUR_NS)]


def test_what_came_late_and_belongs_to_nobody_is_in_no_total() -> None:
    late = Adjustment("late:1", "unattributed", "NVIDIA L40", 3 * HOUR_NS)
    rating = rate([], catalogue(), [late, Adjustment("late:2", "acme", "NVIDIA L40", HOUR_NS)])
    assert rating.total == Decimal("1.25")
    assert [(line.adjustment, line.cost) for line in rating.unattributed] == [("late:1", Decimal("3.75"))]


def test_allocated_time_that_came_late_is_not_charged_as_busy_hours() -> None:
    busy = catalogue(GOLDEN.replace('price = "1.25"', 'price = "1.25"\nmeter = "busy"'))
    late, credit = (Adjustment(name, "acme", "NVIDIA L40", -HOUR_NS) for name in ("late:1", "credit"))
    rating = rate([], busy, [late, credit])
    assert [line.adjustment for line in rating.charged] == ["credit"], "a person means hours of the SKU"
    assert [(each.ns, each.why) for each in rating.unpriced] == [
        (-HOUR_NS, "late:1 is allocated time, Small is charged by busy")
    ]
