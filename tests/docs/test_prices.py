"""What the pages on prices and exports show is what the code takes and gives."""

import re
from pathlib import Path

import pytest

from gputally.cli.export import FORMATS
from gputally.collector.catalogue_file import load_catalogue
from gputally.collector.exports import charges_focus, deltas_events, records_parquet
from gputally.collector.exports.spool import LARGEST_BYTES
from gputally.collector.rated_answer import PARAMETERS
from gputally.collector.turn import MOST_WAITING
from gputally.model.catalogue_read import MOST_PARAMETERS, MOST_PLACES, MOST_TIERS
from gputally.model.rating import PLACES
from gputally.model.settings import BadSettings

DOCS = Path(__file__).resolve().parents[2] / "docs"
PRICES, EXPORTS = (DOCS / "prices.md").read_text(), (DOCS / "exports.md").read_text()
(PRICE_LIST,) = re.findall(r"```toml\n(.*?)```", PRICES, re.DOTALL)


def test_the_price_list_on_the_page_is_good(tmp_path: Path) -> None:
    path = tmp_path / "prices.toml"
    path.write_text(PRICE_LIST)
    catalogue = load_catalogue(path)
    assert [(sku.name, len(sku.tiers), len(sku.parameters)) for sku in catalogue.skus] == [
        ("Large", 1, 0),
        ("Small", 2, 1),
    ]


def test_a_wrong_price_is_refused_in_the_words_on_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("prices.toml").write_text(PRICE_LIST.replace('"3.90" ', "-1"))
    with pytest.raises(BadSettings) as refused:
        load_catalogue(Path("prices.toml"))
    assert f"    {refused.value}\n" in PRICES


def test_the_limits_on_the_pages_are_the_limits() -> None:
    assert f"at most {MOST_PLACES} decimal places" in PRICES
    assert f"at most {MOST_TIERS} |" in PRICES
    assert f"at most {MOST_PARAMETERS}: the value" in PRICES
    assert PLACES == 9 and "nine decimal places" in PRICES
    assert f"at most {MOST_WAITING} wait" in EXPORTS
    assert f"more than {LARGEST_BYTES // 1024**3} GiB" in EXPORTS


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_has_its_section(format: str) -> None:
    assert re.search(rf"^## {format}\b", EXPORTS, re.MULTILINE)


def test_every_parameter_stands_on_its_page() -> None:
    both = PRICES + EXPORTS
    for modules in (charges_focus, deltas_events, records_parquet):
        for name in modules.PARAMETERS:
            assert f"`{name}" in both, name
    for name in PARAMETERS:
        assert f"`{name}`" in PRICES, name
