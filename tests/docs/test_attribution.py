"""What the attribution cookbook shows is what the code does."""

import re
import tomllib
from pathlib import Path

from gputally.model.workload import Unattributed
from gputally.plugins.attribution.place import KINDS, MOST_COMPONENTS, locate
from gputally.plugins.attribution.rule_reading import METADATA_KEYS, PATH_KEYS, compile_rules

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "attribution.md").read_text()
LETTERS = {
    "UID": "5ba385ca-b6e6-4246-bd66-d48d429dbc12",
    "QOS": "burstable",
    "ID": "a" * 64,
    "NODE": "node1",
    "NAME": "acme",
    "ALLOC": "0b4f1a2e-3c4d-5e6f-7a8b-9c0d1e2f3a4b",
    "TASK": "train",
    "PID": "4711",
    "SLICE": "system.slice",
    "PARENT": "tenants",
    "B": "k5tvqv7ox0x5kz3v9jiul0f2m",
    "U": "1000",
    "J": "211",
    "N": "3",
}


def table(header: str) -> list[list[str]]:
    """The rows below this header; cells stripped."""
    lines = PAGE[PAGE.index(header) :].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def filled(shape: str) -> str:
    """A path that the notation of the page stands for, with all that is optional."""
    return re.sub(r"[A-Z]+", lambda word: LETTERS.get(word[0], word[0]), re.sub(r"[\[\]]", "", shape))


def test_every_path_of_the_page_is_of_the_kind_it_says() -> None:
    shown = [(kind.strip("`"), path) for kind, paths, _ in table("| kind | paths") for path in paths.split("`")[1::2]]
    absolute = [(kind, path) for kind, path in shown if path.lstrip("[").startswith("/")]
    assert len(absolute) >= 20
    for kind, path in absolute:
        place = locate(filled(path).replace("\\\\", "\\"))
        assert place is not None
        assert place.workload.kind == kind, path


def test_every_kind_stands_on_the_page() -> None:
    assert {row[0].strip("`") for row in table("| kind | paths")} == set(KINDS) - {"lease"}


def test_every_key_of_a_rule_stands_on_the_page() -> None:
    keys = {key for row in table("| key | matches") for key in row[0].split("`")[1::2]}
    assert keys == {*PATH_KEYS, *METADATA_KEYS, "label.X"}


def test_every_reason_we_give_stands_on_the_page() -> None:
    given = {row[0].strip("`") for row in table("| reason | meaning")}
    assert given == set(Unattributed) - {"mapping_pending", "owner_changed"}


def test_the_examples_are_good_rules() -> None:
    blocks = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    assert blocks
    for block in blocks:
        assert compile_rules(tomllib.loads(block)["attribution"]["rules"]).rules


def test_the_page_says_how_deep_we_look() -> None:
    assert f"Only the first {MOST_COMPONENTS} components" in PAGE
