"""Charges of a ledger that changes: what was billed stays, and the correction makes up the difference."""

import csv
import io
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from focus_data_toolkit.model.validator import lint_focus_1_4_structure
from focus_data_toolkit.validate.corrections import check_no_duplicate_charge_keys

from gputally.collector.catalogues import skus_at
from gputally.collector.exports.charges_focus import charges_focus
from gputally.collector.problems import BadParameter
from gputally.collector.rated_answer import answer_rated, answer_sums
from gputally.collector.rated_lines import describe_rating
from gputally.collector.rated_local import rate_answer, sums_parameters
from gputally.model.catalogue import canonical_body
from gputally.model.decisions import Adjusted, CatalogueSet, OverlayKind
from gputally.model.identity import records_digest
from gputally.model.usage import Slices
from gputally.model.workload import UNATTRIBUTED, Owner
from gputally.storage.projection_reader import snapshot

from ..model.price_list import GOLDEN, catalogue
from .folded import JUNE, Folded
from .story import Story
from .test_folding import MINUTE, batch, group, segment

TIERED = GOLDEN.replace('price = "1.25"', 'tiers = [{from = 0, price = "1.25"}, {from = "0.01", price = "0.7"}]')


@pytest.fixture
def story(tmp_path: Path) -> Iterator[Story]:
    with Folded(tmp_path) as folded:
        yield Story(folded)


def price(story: Story, text: str = GOLDEN) -> None:
    priced = catalogue(text)
    story.decide(CatalogueSet(priced.version, priced.effective_from_ns, canonical_body(priced).decode()))


def focus(story: Story, **more: str) -> list[dict[str, str]]:
    with snapshot(story.folded.projection) as seen:
        text = b"".join(charges_focus({**JUNE, **more}, seen, None)).decode()
    rows = list(csv.DictReader(io.StringIO(text)))
    if rows:
        report = lint_focus_1_4_structure("Cost and Usage", rows, supported_conditions=["SupportsUnitPricing"])
        assert report.ok, report.messages()
    assert check_no_duplicate_charge_keys(rows) == []
    return rows


def billed(rows: list[dict[str, str]]) -> Decimal:
    return sum((Decimal(row["BilledCost"]) for row in rows), Decimal(0))


def test_a_correction_is_charged_beside_what_was_billed(story: Story) -> None:
    price(story, TIERED)
    story.revise(0, {"A": MINUTE})
    first = focus(story)
    was = str(story.log_ids[-1])
    story.revise(0, {"A": MINUTE // 2, "B": MINUTE // 4})
    corrections = focus(story, corrects=was, billing_period="2025-08")
    assert billed(first) + billed(corrections) == billed(focus(story))
    assert {row["ChargeClass"] for row in corrections} == {"Correction"}
    assert {row["ChargePeriodStart"] for row in corrections} == {"2025-06-01T00:00:00Z"}
    assert {row["BillingPeriodStart"] for row in corrections} == {"2025-08-01T00:00:00Z"}
    assert billed(focus(story, as_of=was)) == billed(first), "what was billed can be made again"
    known = {row["x_ChargeKey"] for row in first}
    for row in corrections:
        assert (row["x_CorrectionOf"] in known) == (row["BillingAccountId"] == "A")
        assert row["x_ChargeKey"] not in known


def test_nothing_that_changed_is_nothing_to_correct(story: Story) -> None:
    price(story)
    story.revise(0, {"A": MINUTE})
    assert focus(story, corrects=str(story.log_ids[-1])) == []


def test_a_void_and_a_reassignment_change_the_bill(story: Story) -> None:
    price(story)
    story.revise(0, {"A": MINUTE})
    was = str(story.log_ids[-1])
    story.correct(OverlayKind.REASSIGN, 0, "A", "C")
    told = {row["BillingAccountId"]: row["PricingQuantity"] for row in focus(story, corrects=was)}
    assert told == {"A": "-0.016666667", "C": "0.016666667"}
    story.correct(OverlayKind.VOID, 0, "A")
    assert focus(story) == []


def test_time_of_nobody_is_on_nobodys_bill(story: Story) -> None:
    price(story)
    records, row = group(segment(0), {"A": MINUTE})
    lost = [replace(each, owner=Owner(UNATTRIBUTED, reason="no_rule")) for each in records]
    story.folded.take("gpu-01", [batch((lost, replace(row, records_digest=records_digest(lost))))])
    assert focus(story) == []
    with snapshot(story.folded.projection) as seen:
        rating = answer_rated(JUNE, seen, None)["rating"]
    assert rating["total"] == "0.00"
    assert [line["quantity"] for line in rating["unattributed"]] == ["0.016666667"]


def test_hardware_that_is_not_what_a_lease_says_it_is_is_flagged(story: Story) -> None:
    price(story)
    records, row = group(segment(0), {"A": MINUTE // 2, "B": MINUTE // 2})
    sold = [replace(each, owner=replace(each.owner, tags=(("pool", "x"), ("sku", "Large")))) for each in records[:1]]
    told = [*sold, records[1]]
    story.folded.take("gpu-01", [batch((told, replace(row, records_digest=records_digest(told))))])
    with snapshot(story.folded.projection) as seen:
        rating = answer_rated(JUNE, seen, None)["rating"]
        sums = answer_sums({**JUNE, "tags": "pool"}, seen, None)["items"]
        assert answer_rated(JUNE, seen, "B")["rating"]["mismatches"] == [], "not B's to see"
    wrong = {"org": "A", "sold_as": "Large", "gpu_model": "NVIDIA L40", "ns": str(MINUTE // 2)}
    assert rating["mismatches"] == [wrong]
    assert [(line["org"], line["sku"]) for line in rating["items"]] == [("A", "Small"), ("B", "Small")]
    assert [item["tags"] for item in sums] == [{"pool": "x"}, {}]


def test_two_price_lists_in_one_range_are_not_mixed(story: Story) -> None:
    price(story)
    price(story, GOLDEN.replace("2025-a", "2025-b").replace("2025-01-01", "2025-06-15"))
    story.revise(0, {"A": MINUTE})
    with pytest.raises(BadParameter, match="beyond a change of prices"):
        focus(story)
    assert len(focus(story, range_to="2025-06-15T00:00:00Z")) == 1
    assert len(focus(story, catalogue="2025-b")) == 1


def test_usage_names_skus_by_the_catalogue_where_there_is_one(story: Story) -> None:
    story.revise(0, {"A": MINUTE})
    assert story.folded.usage()["items"][0]["sku"] == "unassigned"
    price(story)
    with snapshot(story.folded.projection) as seen:
        start_ns = catalogue().effective_from_ns
        assert [sku.name for sku in skus_at(seen, start_ns, None, ())] == ["Small", "Medium", "Large"]
        assert skus_at(seen, start_ns - 1, None, ()) == ()
        assert skus_at(seen, start_ns, story.log_ids[0], ()) == (), "as of then there was none"


def test_an_instance_of_a_gpu_is_charged_by_its_slices(story: Story) -> None:
    price(story, GOLDEN.replace('"NVIDIA L40"', '"NVIDIA L40*"'))
    where = replace(segment(0), slices=Slices("nvidia:GPU-1", 1, 7, 1, 8))
    story.folded.take("gpu-01", [batch(group(where, {"A": MINUTE}))])
    assert [row["PricingQuantity"] for row in focus(story)] == ["0.002380952"]


def test_an_adjustment_is_a_correction_in_the_month_it_is_booked_in(story: Story) -> None:
    price(story)
    story.revise(0, {"A": MINUTE})
    was = str(story.log_ids[-1])
    story.decide(Adjusted("credit-1", segment(9).window_start_ns, "A", "NVIDIA L40", -MINUTE // 2))
    usage, credit = focus(story)
    assert (usage["ChargeClass"], credit["ChargeClass"]) == ("", "Correction")
    assert (usage["PricingQuantity"], credit["PricingQuantity"]) == ("0.016666667", "-0.008333333")
    assert [row["x_ChargeKey"] != credit["x_ChargeKey"] for row in focus(story, corrects=was)] == [True]
    assert billed(focus(story, corrects=was)) == Decimal(credit["BilledCost"])
    july = focus(story, range_from="2025-07-01T00:00:00Z", range_to="2025-08-01T00:00:00Z")
    assert july == []
    with snapshot(story.folded.projection) as seen:
        assert answer_rated(JUNE, seen, "B")["rating"]["adjustments"] == [], "not B's to see"
        answer = answer_rated(JUNE, seen, None)
        sums = answer_sums({**JUNE, **sums_parameters(catalogue())}, seen, None)
    assert Decimal(answer["rating"]["total"]) == billed(focus(story))
    assert describe_rating(rate_answer(sums, catalogue())) == answer["rating"]
