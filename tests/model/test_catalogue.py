"""What a price list may say, and what it cannot say any more once it is in force."""

import json
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gputally.collector.instants import parse_instant
from gputally.model.catalogue import Catalogue, Parameter, Sku, Tier, canonical_body, plain
from gputally.model.catalogue_order import NotAddable, changes_within, check_addition, in_force
from gputally.model.catalogue_read import read_catalogue
from gputally.model.settings import BadSettings

from .price_list import GOLDEN, catalogue

names = st.text("abc XYZ-", min_size=1, max_size=8)
prices = st.decimals(0, 10**6, places=6)
tiers = st.lists(st.decimals(1, 10**6, places=9), max_size=3, unique=True).flatmap(
    lambda starts: st.tuples(*(st.builds(Tier, st.just(start), prices) for start in [Decimal(0), *sorted(starts)]))
)
parameters = st.builds(
    Parameter, names, st.lists(names, min_size=1, max_size=3).map(tuple), st.none() | names, st.none() | names
)
skus = st.builds(
    Sku, names, names, tiers, st.sampled_from(["allocated", "held"]),
    parameters=st.lists(parameters, max_size=2).map(tuple)
)  # fmt: skip
catalogues = st.builds(
    Catalogue, names, st.just("EUR"), st.integers(0, 10**18),
    st.lists(skus, min_size=1, max_size=3, unique_by=lambda sku: sku.name).map(tuple), provider=st.just("") | names,
)  # fmt: skip


@given(catalogues)
def test_what_the_ledger_keeps_of_a_catalogue_says_the_same_catalogue(told: Catalogue) -> None:
    body = canonical_body(told)
    again = read_catalogue(json.loads(body), "ledger", parse_instant)
    assert again == told
    assert canonical_body(again) == body


def test_a_price_is_the_same_bytes_however_it_was_written() -> None:
    assert canonical_body(catalogue()) == canonical_body(catalogue(GOLDEN.replace("2.10", '"2.1"')))
    assert b'"price":"2.1"' in canonical_body(catalogue())


@pytest.mark.parametrize(
    ("found", "written", "message"),
    [
        ('version = "2025-a"', "", "version: is missing"),
        ('currency = "USD"', 'currency = "Dollar"', "currency: is 'Dollar'"),
        ('price = "1.25"', "price = -1", "skus[0].price: is -1"),
        ('price = "1.25"', "price = true", "skus[0].price: is true"),
        ('price = "1.25"', "price = nan", "skus[0].price: is"),
        ('price = "1.25"', "", "skus[0].price: must be given"),
        ('price = "1.25"', 'prize = "1.25"\nprice = "1"', "skus[0].prize: is unknown here"),
        ('price = "1.25"', 'tiers = [{from = 5, price = 1}]', "skus[0].tiers: must start with from = 0"),
        ('price = "1.25"', 'tiers = [{from = 0, price = 1}, {from = 0, price = 2}]', "skus[0].tiers: must start"),
        ('price = "1.25"', 'tiers = [{from = 0}]', "skus[0].tiers[0].price: is missing"),
        ('price = "1.25"', 'price = "0.0000000000001"', "skus[0].price: is"),
        ('name = "Medium"', 'name = "Small"', "more than once"),
        ('"2025-01-01T00:00:00Z"', '"2025-01-01"', "effective_from: is"),
        ('"2025-01-01T00:00:00Z"', "17", "effective_from: is 17"),
        ('price = 2.10', 'price = 2.10\nmeter = "energy"', "skus[1].meter: is"),
        ('price = 2.10', 'price = 2.10\nparameters = [{name = "pool"}]', "skus[1].parameters[0].from: must name tags"),
        ('currency = "USD"', 'currency = "USD"\neffective_to = "2024-01-01T00:00:00Z"', "effective_to: must be later"),
    ],
)  # fmt: skip
def test_a_wrong_price_list_names_the_key(found: str, written: str, message: str) -> None:
    assert found in GOLDEN
    with pytest.raises(BadSettings) as refused:
        catalogue(GOLDEN.replace(found, written, 1))
    assert message.replace("'", '"') in str(refused.value).replace("'", '"')
    assert str(refused.value).startswith("prices.toml: ")


def test_all_wrong_keys_are_named_at_once() -> None:
    with pytest.raises(BadSettings) as refused:
        catalogue('version = "a"\ncurrency = 3\n[[skus]]\nname = ""\n')
    keys = {problem.key for problem in refused.value.problems}
    assert keys >= {"currency", "effective_from", "skus[0].name", "skus[0].gpu_model", "skus[0].price"}


def test_a_time_of_toml_is_as_good_as_a_text() -> None:
    assert catalogue(GOLDEN.replace('"2025-01-01T00:00:00Z"', "2025-01-01T00:00:00Z")) == catalogue()


NOW = 100
old = replace(catalogue(), version="old", effective_from_ns=10)


def test_the_latest_to_start_is_in_force_until_it_ends() -> None:
    new = replace(old, version="new", effective_from_ns=50, effective_to_ns=70)
    assert in_force([old, new], 9) is None
    assert in_force([old, new], 49) == old
    assert in_force([old, new], 50) == new
    assert in_force([old, new], 70) is None, "an ended version does not bring an older one back"
    assert changes_within([old, new], 20, 60) == [new]
    assert changes_within([old, new], 50, 70) == []


def test_a_version_that_has_started_can_only_be_ended() -> None:
    check_addition([old], old, NOW)
    check_addition([old], replace(old, effective_to_ns=NOW), NOW)
    for changed in (
        replace(old, currency="EUR"),
        replace(old, skus=old.skus[:1]),
        replace(old, effective_from_ns=11),
        replace(old, effective_to_ns=NOW - 1),
    ):
        with pytest.raises(NotAddable):
            check_addition([old], changed, NOW)
    with pytest.raises(NotAddable, match="has ended"):
        check_addition([replace(old, effective_to_ns=90)], old, NOW)


def test_a_version_that_has_not_started_may_be_replaced() -> None:
    later = replace(old, effective_from_ns=NOW + 1)
    check_addition([later], replace(later, currency="EUR"), NOW)


def test_a_new_version_does_not_price_the_past_again() -> None:
    check_addition([], replace(old, version="first"), NOW)
    check_addition([old], replace(old, version="next", effective_from_ns=NOW), NOW)
    with pytest.raises(NotAddable, match="version old has priced"):
        check_addition([old], replace(old, version="back", effective_from_ns=50), NOW)
    check_addition([replace(old, effective_to_ns=40)], replace(old, version="gap", effective_from_ns=50), NOW)


@pytest.mark.parametrize(
    ("amount", "places", "shown"), [("1E+3", 0, "1000"), ("1.50", 2, "1.50"), ("-0.00", 0, "0"), ("7", 2, "7.00")]
)
def test_a_decimal_is_shown_without_an_exponent(amount: str, places: int, shown: str) -> None:
    assert plain(Decimal(amount), places) == shown
