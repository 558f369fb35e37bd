"""A lease file is whole or refused, and the refusal names the lease, the key and the cure."""

import string
from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gputally.model.settings import BadSettings
from gputally.plugins.leases.lease import Lease
from gputally.plugins.leases.lease_reading import KEYS, MOST_LEASES, MOST_TOLD, read_leases
from gputally.plugins.toml_file import parse_toml

from .paper import BOOT_WALL_NS, HOUR, S, lease


def read(text: str) -> tuple[Lease, ...]:
    return read_leases(parse_toml(text.encode(), "leases.toml"), "leases.toml")


def refusal(text: str) -> str:
    with pytest.raises(BadSettings) as refused:
        read(text)
    return str(refused.value)


def test_a_whole_lease_is_read() -> None:
    text = lease(
        "contract-4711",
        project='"bare-metal"',
        devices='["GPU-0", "nvidia:MIG-a"]',
        to="2026-12-01T02:00:00+02:00",
        units="1",
        of="4",
        tags='{ contract = "4711", "b c" = "" }',
    )
    (found,) = read(text)
    assert (found.id, found.workload.subject_id) == ("contract-4711", "lease:contract-4711")
    assert (found.owner.tenant, found.owner.project) == ("acme", "bare-metal")
    assert found.owner.tags == (("b c", ""), ("contract", "4711"))
    assert found.devices == ("nvidia:GPU-0", "nvidia:MIG-a")
    assert (found.from_ns, found.to_ns) == (BOOT_WALL_NS, BOOT_WALL_NS + 30 * 24 * HOUR)
    assert (found.units, found.of) == (1, 4)
    assert found.evidence == "lease file: contract-4711"


def test_without_an_end_a_lease_is_open_and_of_the_whole_device() -> None:
    (found,) = read(lease(devices='["*"]'))
    assert (found.to_ns, found.units, found.of, found.devices) == (None, 1, 1, ("*",))


def test_a_file_without_leases_is_good() -> None:
    assert read("") == read("# nobody yet") == ()


def test_fractions_of_seconds_are_exact() -> None:
    (found,) = read(lease(from_="2026-11-01T00:00:00.123456Z"))
    assert found.from_ns == BOOT_WALL_NS + 123_456_000


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"id": ""}, "[[leases]] number 1: id: must be 1 to 128 printable ASCII characters without spaces"),
        ({"id": '"a b"'}, "number 1: id: must be"),
        ({"id": "7"}, "number 1: id: must be"),
        ({"id": '"' + "x" * 129 + '"'}, "number 1: id: must be"),
        ({"tenant": ""}, "[[leases]] l1: tenant: is missing: a lease must say who answers for it"),
        ({"tenant": '""'}, "l1: tenant: is missing"),
        ({"tenant": '"unattributed"'}, 'l1: tenant: "unattributed" is reserved'),
        ({"tenant": "1"}, "l1: tenant: is 1, must be text"),
        ({"tenant": '"a\\nb"'}, "l1: tenant: is "),
        ({"project": '"' + "p" * 256 + '"'}, "l1: project: is "),
        ({"devices": ""}, "l1: devices: must be a list of 1 to 256 UUIDs"),
        ({"devices": "[]"}, "l1: devices: must be a list"),
        ({"devices": '"GPU-0"'}, "l1: devices: must be a list"),
        ({"devices": '["0"]'}, 'l1: devices: has "0", which is no UUID: see nvidia-smi -L'),
        ({"devices": "[0]"}, "l1: devices: has 0, which is no UUID"),
        ({"devices": '["amd:GPU-0"]'}, 'has "amd:GPU-0", which is no UUID'),
        ({"devices": '["*", "GPU-0"]'}, 'l1: devices: has "*", which is all of this host, and others'),
        ({"devices": '["GPU-0", "nvidia:GPU-0"]'}, "l1: devices: has nvidia:GPU-0 2 times"),
        ({"from_": ""}, "l1: from: is missing: write from = 2026-11-01T00:00:00Z"),
        ({"from_": "2026-11-01T00:00:00"}, "l1: from: is 2026-11-01T00:00:00 and does not say where: write from ="),
        ({"from_": "2026-11-01"}, "l1: from: is 2026-11-01 and does not say where"),
        ({"to": "07:00:00"}, "l1: to: is 07:00:00 and does not say where"),
        ({"to": '"2026-12-01T00:00:00Z"'}, 'l1: to: is "2026-12-01T00:00:00Z", must be a date and time'),
        ({"to": "2026-11-01T00:00:00Z"}, "l1: to: is not after from"),
        ({"to": "2026-10-01T00:00:00Z"}, "l1: to: is not after from"),
        ({"to": "9999-12-31T23:59:59Z"}, "l1: to: is 9999-12-31T23:59:59+00:00, must be from 1970 to 2262"),
        ({"from_": "0001-01-01T00:00:00+23:59"}, "l1: from: is 0001-01-01T00:00:00+23:59, must be from 1970"),
        ({"units": "0"}, "l1: units: is 0, must be a whole number from 1 to 10000"),
        ({"units": "1.0"}, "l1: units: is 1.0, must be a whole number"),
        ({"units": "true"}, "l1: units: is true, must be a whole number"),
        ({"of": "10001"}, "l1: of: is 10001, must be"),
        ({"units": "2"}, "l1: units: is 2, more than of = 1"),
        ({"tags": '"x"'}, "l1: tags: must be a table of at most 8 texts"),
        ({"tags": "{ " + ", ".join(f'k{n} = ""' for n in range(9)) + " }"}, "l1: tags: must be a table of at most 8"),
        ({"tags": "{ a = 1 }"}, "l1: tags.a: is 1, must be text"),
        ({"tags": '{ "" = "x" }'}, "l1: tags: "),
        ({"tennant": '"x"'}, "l1: tennant: unknown key; known are id, tenant, project, devices"),
    ],
)  # fmt: skip
def test_a_wrong_lease_is_refused_by_its_key(keys: dict[str, str], said: str) -> None:
    assert said in refusal(lease(**keys))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("lease = 1", "lease: unknown key; there is only leases: write [[leases]] for each lease"),
        ("leases = 1", "leases: is 1, must be an array of tables"),
        ("leases = [1]", "leases: is [1], must be an array of tables"),
        ("[leases]", "leases: is {}, must be an array of tables"),
        ("[[leases]]\n" * (MOST_LEASES + 1), f"leases: are {MOST_LEASES + 1}, at most {MOST_LEASES}"),
        ("x = " + "9" * 10_000, "is not TOML that can be read"),
        ("x = " + "[" * 100_000, "is not TOML that can be read"),
        ("[[leases]]\nfrom = 2026-02-30T00:00:00Z", "is not TOML"),
    ],
)
def test_what_is_no_list_of_leases_is_refused(text: str, said: str) -> None:
    assert said in refusal(text)


def test_every_problem_is_named_at_once() -> None:
    said = refusal(lease("a", tenant="") + lease("a", from_="", units="0") + lease("c", devices="[]"))
    assert len(said.splitlines()) == 5
    assert "a: id: is there 2 times: each lease needs an id of its own" in said


def test_a_thousand_problems_are_counted_rather_than_told() -> None:
    lines = refusal("[[leases]]\n" * 200).splitlines()
    assert len(lines) == MOST_TOLD + 1
    assert lines[-1] == f"leases.toml: and {600 + 200 - MOST_TOLD} more problems"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({}, {}),
        ({"devices": '["*"]'}, {}),
        ({}, {"devices": '["*"]'}),
        ({"devices": '["*"]'}, {"devices": '["*"]'}),
        ({"to": "2026-12-01T00:00:00Z"}, {"from_": "2026-11-30T23:59:59Z"}),
        ({"units": "3", "of": "4"}, {"units": "2", "of": "4"}),
        ({"devices": '["GPU-1", "GPU-0"]'}, {"devices": '["GPU-0", "GPU-2"]'}),
    ],
)
def test_what_is_leased_already_is_refused(one: dict[str, str], other: dict[str, str]) -> None:
    said = refusal(lease("a", **one) + lease("b", **other))
    assert said.startswith("leases.toml: [[leases]] b: devices: ")
    assert "is also leased by a" in said


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"to": "2026-12-01T00:00:00Z"}, {"from_": "2026-12-01T00:00:00Z"}),
        ({"to": "2026-12-01T00:00:00Z"}, {"from_": "2026-12-01T01:00:00+01:00", "devices": '["*"]'}),
        ({"units": "3", "of": "4"}, {"units": "1", "of": "4"}),
        ({"units": "1", "of": "2", "devices": '["*"]'}, {"units": "1", "of": "2"}),
        ({}, {"devices": '["GPU-1", "MIG-a"]'}),
    ],
)
def test_what_follows_or_fits_beside_is_good(one: dict[str, str], other: dict[str, str]) -> None:
    assert len(read(lease("a", **one) + lease("b", **other))) == 2


def test_leases_that_divide_a_device_differently_are_refused() -> None:
    said = refusal(lease("a", units="1", of="4") + lease("b", units="1", of="2"))
    assert "is also leased by a, which divide it otherwise: write the same of in each" in said


def test_a_crowd_of_leases_is_named_briefly() -> None:
    text = "".join(lease(f"l{number}", of="8") for number in range(9))
    assert "is also leased by l0, l1, l2, l3, l4 and 3 more: 9 units of 8 in all" in refusal(text)


SHORT = st.tuples(st.integers(0, 20), st.integers(1, 10), st.integers(1, 4), st.sampled_from(["GPU-0", "GPU-1", "*"]))


@given(st.lists(SHORT, max_size=6))
def test_leases_are_refused_exactly_where_at_some_second_too_much_is_leased(
    leases: list[tuple[int, int, int, str]],
) -> None:
    text = "".join(
        lease(
            f"l{number}",
            devices=f'["{device}"]',
            from_=f"2026-11-01T00:00:{start:02}Z",
            to=f"2026-11-01T00:00:{start + length:02}Z",
            units=str(units),
            of="4",
        )
        for number, (start, length, units, device) in enumerate(leases)
    )
    most = max(
        (
            sum(
                units
                for start, length, units, where in leases
                if where in (device, "*") and start <= at < start + length
            )
            for at in range(31)
            for device in ("GPU-0", "GPU-1", "*")
        ),
        default=0,
    )
    try:
        assert len(read(text)) == len(leases)
        refused = False
    except BadSettings:
        refused = True
    assert refused == (most > 4)


WORDS = st.text(max_size=5)
VALUES = (
    st.none() | st.integers() | WORDS | st.lists(WORDS | st.integers(), max_size=3)
    | st.datetimes() | st.dates() | st.times() | st.dictionaries(WORDS, WORDS | st.integers())
)  # fmt: skip
NEARLY = st.dictionaries(st.sampled_from([*KEYS, "x"]), VALUES)


@given(st.dictionaries(st.sampled_from(["leases", "x"]), st.lists(NEARLY, max_size=4) | st.integers() | NEARLY))
def test_nothing_that_toml_can_say_is_more_than_refused(told: dict[str, object]) -> None:
    try:
        read_leases(told, "leases.toml")
    except BadSettings as bad:
        assert all(problem.source == "leases.toml" and problem.what for problem in bad.problems)


@given(st.text(alphabet=string.printable, max_size=200))
def test_no_text_makes_reading_it_raise_anything_else(text: str) -> None:
    with suppress(BadSettings):
        read(text)


def test_the_helpers_of_these_tests_count_seconds() -> None:
    starts = [read(lease(from_=f"2026-11-01T00:00:{second:02}Z"))[0].from_ns for second in range(3)]
    assert [later - earlier for earlier, later in pairwise(starts)] == [S, S]
