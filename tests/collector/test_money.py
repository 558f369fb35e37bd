"""What usage costs, asked of a real collector, and what other systems are given of it."""

import json
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest
from focus_data_toolkit.model.validator import lint_focus_1_4_structure

from ..model.price_list import GOLDEN
from .priced import HOURS, JUNE, ORGS, golden_host, guarded_config, publish, rows_of
from .running import HOUR_NS, RunningCollector, run_command

G16: dict[str, Any] = next(
    case["expect"]
    for case in json.loads((Path(__file__).parent.parent / "data" / "golden_usage.json").read_text())["cases"]
    if case["id"] == "G16"
)
CONDITIONS = ("SupportsMultiplePricingCategories", "SupportsUnitPricing")
DEARER = GOLDEN.replace("2025-a", "2025-b").replace("3.90", "4.00").replace("2025-01-01", "2030-01-01")


@pytest.fixture(scope="module")
def priced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCollector]:
    with RunningCollector(guarded_config(tmp_path_factory.mktemp("priced"))) as running:
        running.deliver(golden_host())
        running.wait_until_folded()
        for text in (GOLDEN, DEARER):
            published = publish(running, text)
            assert published.status_code == 201, published.text
        yield running


def exported(collector: RunningCollector, format: str, token: str = "aud", **more: str) -> Any:
    response = collector.ask(f"/v1/export/{format}", token, **{**JUNE, **more})
    assert response.status_code == 200, response.text
    return response


def lint(rows: list[dict[str, str]]) -> list[str]:
    return lint_focus_1_4_structure("Cost and Usage", rows, supported_conditions=CONDITIONS).messages()


def test_g16_focus_rows_of_june_are_billed_to_the_last_digit(priced: RunningCollector) -> None:
    rows = rows_of(exported(priced, "focus").text)
    assert len(rows) == G16["rows"]
    billed = {
        model: sum((Decimal(row["BilledCost"]) for row in rows if row["SkuId"] == sku), Decimal(0))
        for model, sku in {"L40": "Small", "A100": "Medium", "H100": "Large"}.items()
    }
    assert billed == {model: Decimal(amount) for model, amount in G16["billed"].items()}
    assert sum(billed.values()) == Decimal(G16["total"])
    assert lint(rows) == []
    assert {(row["PricingUnit"], row["BillingCurrency"]) for row in rows} == {("GPU-Hours", "USD")}
    assert {(row["ChargePeriodStart"], row["ChargePeriodEnd"]) for row in rows} == {tuple(JUNE.values())}
    assert {row["InvoiceIssuerName"] for row in rows} == {"Example GPU Cloud"}
    assert len({row["x_ChargeKey"] for row in rows}) == 9


def test_the_focus_linter_can_fail(priced: RunningCollector) -> None:
    rows = rows_of(exported(priced, "focus").text)
    rows[0]["ContractedCost"] = "1"
    assert "cost_not_unit_price_times_quantity" in "".join(lint(rows))


def test_a_range_over_two_months_is_charged_month_by_month(priced: RunningCollector) -> None:
    rows = rows_of(exported(priced, "focus", range_from="2025-05-15T00:00:00Z", range_to="2025-06-01T00:00:00Z").text)
    assert rows == []
    rows = rows_of(exported(priced, "focus", range_from="2025-05-15T00:00:00Z", range_to="2025-07-02T00:00:00Z").text)
    assert {(r["BillingPeriodStart"], r["BillingPeriodEnd"]) for r in rows} == {tuple(JUNE.values())}
    assert sum(Decimal(row["BilledCost"]) for row in rows) == Decimal(G16["total"])


def rated(collector: RunningCollector, token: str = "aud", **more: str) -> Any:
    response = collector.ask("/v1/rated", token, **{**JUNE, **more})
    assert response.status_code == 200, response.text
    return response.json()


def test_a_rating_says_what_each_organisation_owes(priced: RunningCollector) -> None:
    answer = rated(priced)
    assert answer["rating"]["total"] == G16["total"]
    assert answer["catalogue"]["version"] == "2025-a"
    assert answer["completeness"]["state"] == "final"
    assert answer["rating"]["totals_by_org"] == {"Org-A": "448.50", "Org-B": "273.00", "Org-C": "204.20"}
    large = next(item for item in answer["rating"]["items"] if (item["org"], item["sku"]) == ("Org-C", "Large"))
    assert (large["quantity"], large["unit_price"], large["cost"]) == ("33.000000000", "3.90", "128.70")


def test_a_dry_run_shows_what_would_change(priced: RunningCollector) -> None:
    beside = rated(priced, beside="2025-b")["beside"]
    assert beside["difference"] == "17.30"
    assert beside["difference_by_org"] == {"Org-A": "10.00", "Org-B": "4.00", "Org-C": "3.30"}


@pytest.mark.parametrize("by", [("--catalogue", "2025-a"), ("--catalogue", "FILE"), ()])
def test_the_command_rates_by_a_file_as_the_collector_does_by_its_ledger(
    priced: RunningCollector, tmp_path: Path, by: tuple[str, ...]
) -> None:
    path = tmp_path / "prices.toml"
    path.write_text(GOLDEN)
    chosen = [str(path) if each == "FILE" else each for each in by]
    told = ["rate", "--collector", priced.url, "--period", "2025-06", "--json", *chosen]
    done = run_command(*told, environ={"GPUTALLY_TOKEN": "aud"})
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == rated(priced)


def test_the_command_shows_a_dry_run_of_a_file_nobody_published(priced: RunningCollector, tmp_path: Path) -> None:
    path = tmp_path / "next.toml"
    path.write_text(GOLDEN.replace("2025-a", "2026").replace("1.25", "1.00"))
    told = ["rate", "--collector", priced.url, "--period", "2025-06", "--catalogue", "2025-a", "--beside", path]
    done = run_command(*told, environ={"GPUTALLY_TOKEN": "op"})
    assert done.returncode == 0, done.stderr
    assert "beside 2026: total 900.70 USD (-25.00)" in done.stdout
    assert "  Org-B: -15.00" in done.stdout


def test_a_csv_export_is_the_same_bytes_twice_and_what_usage_says(priced: RunningCollector) -> None:
    first, second = (exported(priced, "csv", group_by="sku,org").content for _ in range(2))
    assert first == second
    assert first.startswith(b"range_from,range_to,sku,org,meter,usage,ns\n")
    assert b"2025-06-01T00:00:00Z,2025-07-01T00:00:00Z,Large,Org-C,allocated,33.00,118800000000000\n" in first
    by_day = rows_of(exported(priced, "csv", group_by="org", window="day").text)
    assert sum(int(row["ns"]) for row in by_day) == 333 * HOUR_NS


def test_events_add_up_to_the_usage(priced: RunningCollector) -> None:
    response = exported(priced, "ndjson")
    events = [json.loads(line) for line in response.text.splitlines()]
    sums: Counter[str] = Counter()
    for event in events:
        sums[event["data"]["gpu_model"]] += int(event["data"]["allocated_ns"])
    assert sums == {model: sum(of_each) * HOUR_NS for model, of_each in HOURS.items()}
    assert len({(event["source"], event["id"]) for event in events}) == len(events) == 333 * 60
    assert exported(priced, "ndjson", since=response.headers["Gputally-As-Of"]).content == b""
    assert exported(priced, "ndjson", final="true").content == response.content


def test_events_are_refused_rather_than_shifted(priced: RunningCollector) -> None:
    refused = priced.ask("/v1/export/ndjson", "aud", **JUNE, oldest="2025-06-01T00:01:00Z")
    assert refused.status_code == 409
    assert "older than oldest" in refused.json()["detail"]
    assert exported(priced, "ndjson", oldest="2025-06-01T00:00:00Z").content


def test_only_what_is_final_is_exported_as_final(priced: RunningCollector) -> None:
    later = {"range_from": "2025-06-01T00:00:00Z", "range_to": "2025-08-01T00:00:00Z"}
    for path in ("/v1/export/ndjson?final=true", "/v1/export/focus?strict=true", "/v1/export/parquet?strict=true"):
        path, _, flag = path.partition("?")
        assert priced.ask(path, "aud", **later, **dict([flag.split("=")])).status_code == 409, path


def test_parquet_has_every_record(priced: RunningCollector, tmp_path: Path) -> None:
    path = tmp_path / "june.parquet"
    told = ["export", "parquet", "--collector", priced.url, "--from", JUNE["range_from"], "--to", JUNE["range_to"]]
    done = run_command(*told, "--out", path, environ={"GPUTALLY_TOKEN": "aud"})
    assert done.returncode == 0, done.stderr
    found = duckdb.execute(
        "SELECT tenant, count(*), sum(allocated_ns)::HUGEINT FROM read_parquet(?) GROUP BY ALL ORDER BY ALL",
        [str(path)],
    ).fetchall()
    hours = [sum(of_each[n] for of_each in HOURS.values()) for n in range(3)]
    assert found == [(org, each * 60, each * HOUR_NS) for org, each in zip(ORGS, hours, strict=True)]
    assert [each.name for each in tmp_path.iterdir()] == ["june.parquet"]


def test_a_tenant_sees_only_its_own_rows_in_every_export(priced: RunningCollector, tmp_path: Path) -> None:
    for format in ("csv", "ndjson", "focus"):
        mine, everybody = exported(priced, format, "a").content, exported(priced, format).content
        assert b"Org-A" in mine, format
        assert b"Org-B" not in mine and b"Org-C" not in mine, format
        assert b"Org-B" in everybody, f"the control: the site's own {format} has them"
    (tmp_path / "mine").write_bytes(exported(priced, "parquet", "a").content)
    tenants = duckdb.execute("SELECT DISTINCT tenant FROM read_parquet(?)", [str(tmp_path / "mine")]).fetchall()
    assert tenants == [("Org-A",)]
    for path in ("/v1/rated", "/v1/rated/sums"):
        text = priced.ask(path, "a", **JUNE).text
        assert "Org-A" in text and "Org-B" not in text, path
    assert rated(priced, "a")["rating"]["total"] == "448.50"


@pytest.mark.parametrize("path", ["/v1/rated", "/v1/rated/sums", *(f"/v1/export/{f}" for f in ("csv", "focus"))])
def test_nobody_without_a_token_sees_money(priced: RunningCollector, path: str) -> None:
    assert priced.ask(path, **JUNE).status_code == 401
    assert priced.ask(path, "wrong", **JUNE).status_code == 401


@pytest.mark.parametrize(
    ("path", "more", "parameter"),
    [
        ("/v1/rated", {"catalogue": "1999"}, "catalogue"),
        ("/v1/rated", {"beside": "1999"}, "beside"),
        ("/v1/rated", {"catalog": "2025-a"}, "catalog"),
        ("/v1/rated", {"as_of": "99999999"}, "as_of"),
        ("/v1/rated", {"range_to": "2025-06-01T00:00:30Z"}, "range_to"),
        ("/v1/rated/sums", {"meters": "energy"}, "meters"),
        ("/v1/export/focus", {"billing_period": "2025-13"}, "billing_period"),
        ("/v1/export/focus", {"corrects": "x"}, "corrects"),
        ("/v1/export/ndjson", {"oldest": "yesterday"}, "oldest"),
        ("/v1/export/ndjson", {"final": "true", "since": "1"}, "since"),
        ("/v1/export/csv", {"limit": "5"}, "limit"),
        ("/v1/export/parquet", {"group_by": "sku"}, "group_by"),
    ],
)
def test_a_wrong_parameter_is_named(priced: RunningCollector, path: str, more: dict[str, str], parameter: str) -> None:
    refused = priced.ask(path, "aud", **{**JUNE, **more})
    assert (refused.status_code, refused.json().get("parameter")) == (400, parameter), refused.text


def test_time_before_the_first_price_list_needs_one_named(priced: RunningCollector) -> None:
    before = {"range_from": "2024-06-01T00:00:00Z", "range_to": "2024-07-01T00:00:00Z"}
    assert priced.ask("/v1/rated", "aud", **before).status_code == 404
    assert priced.ask("/v1/rated", "aud", **before, catalogue="2025-a").json()["rating"]["total"] == "0.00"


def test_only_operators_publish_and_what_holds_stays(priced: RunningCollector) -> None:
    assert publish(priced, token="aud").status_code == 403
    assert publish(priced, token="a").status_code == 403
    changed = publish(priced, GOLDEN.replace("1.25", "1.26"))
    assert (changed.status_code, changed.json()["type"]) == (409, "urn:gputally:problem:catalogue-in-force")
    past = publish(priced, GOLDEN.replace("2025-a", "2025-c").replace("2025-01-01", "2025-02-01"))
    assert past.status_code == 409, past.text
    assert rated(priced)["rating"]["total"] == G16["total"]


@pytest.mark.parametrize("instead", [{"body": "{}"}, {"body": "[1]"}, {"body": "nonsense"}, {"version": "other"}])
def test_a_body_that_is_no_price_list_is_refused(priced: RunningCollector, instead: dict[str, str]) -> None:
    refused = publish(priced, **instead)
    assert refused.status_code == 400, refused.text


def test_the_command_publishes_a_file_and_shows_what_is_wrong_with_another(
    priced: RunningCollector, tmp_path: Path
) -> None:
    path = tmp_path / "prices.toml"
    path.write_text(GOLDEN.replace("2025-a", "2031").replace("2025-01-01", "2031-01-01"))
    told = ["catalogue", "publish", path, "--collector", priced.url, "--why", "new year"]
    done = run_command(*told, environ={"GPUTALLY_TOKEN": "op"})
    assert done.returncode == 0, done.stderr
    assert "version 2031 is in the ledger" in done.stdout
    path.write_text(GOLDEN.replace('price = "1.25"', "price = -1"))
    done = run_command("catalogue", "check", path)
    assert done.returncode == 66
    assert "skus[0].price: is -1" in done.stderr
