"""What the page on leases shows is what the code takes."""

import re
from pathlib import Path

from gputally.model.interval import NS_PER_S
from gputally.plugins.leases.edges import WRONG_CLOCK_NS
from gputally.plugins.leases.lease_reading import KEYS, MOST_DEVICES, MOST_LEASES, MOST_TAGS, read_leases
from gputally.plugins.toml_file import parse_toml

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "leases.md").read_text()


def test_the_file_on_the_page_is_good() -> None:
    (text,) = (block for block in re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL) if "[[leases]]" in block)
    everything, quarter = read_leases(parse_toml(text.encode(), "leases.md"), "leases.md")
    assert (everything.devices, everything.units, everything.of) == (("*",), 1, 1)
    assert (quarter.to_ns, quarter.units, quarter.of) == (None, 1, 4)


def test_every_key_stands_on_the_page() -> None:
    table = PAGE[PAGE.index("| key |") :].split("\n\n")[0].splitlines()[2:]
    assert {key for row in table for key in re.findall(r"`(\w+)`", row.split("|")[1])} == set(KEYS)


def test_the_limits_on_the_page_are_the_limits() -> None:
    for said in (
        f"At most {MOST_DEVICES} ",
        f"More than {MOST_LEASES:,} leases",
        f"at most {MOST_TAGS} texts",
        f"more than {WRONG_CLOCK_NS // NS_PER_S:,} s",
    ):
        assert said in PAGE
