"""Settings are whole or refused, and the refusal names every wrong key and its cure."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gputally.model.settings import BadSettings, Complaints, keys_of, setting
from gputally.model.settings_read import Origin, explain_settings, read_settings, take_settings
from gputally.model.settings_value import describe


class Mood(StrEnum):
    CALM = "calm"
    WILD = "wild"


@dataclass(frozen=True, slots=True)
class Engine:
    every_s: float = setting(1.0, "cadence", at_least=0.05, at_most=60)
    linger_s: float = setting(5.0, "how long", at_least=0)
    cap_mib: int = setting(512, "size", at_least=1, at_most=1024)
    window_s: int = setting(60, "window", choices=(30, 60))
    mood: Mood = setting(Mood.CALM, "mood")
    on: bool = setting(False, "whether")
    path: str = setting("/var", "where")
    note: str | None = setting("x", "what")
    names: tuple[str, ...] = setting((), "who")
    rules: tuple[dict[str, Any], ...] = setting((), "rules")


@dataclass(frozen=True, slots=True)
class Part:
    name: str = setting("", "its name", required=True)
    weight: int = setting(1, "its weight", at_least=0)


@dataclass(frozen=True, slots=True)
class Machine:
    engine: Engine = field(default_factory=Engine)
    parts: tuple[Part, ...] = ()


def read(told: Mapping[str, Any], environment: Mapping[str, str] | None = None) -> Machine:
    return read_settings(Machine, told, environment or {}, "machine.toml")


def engine(**told: Any) -> Engine:
    return read({"engine": told}).engine


def problems(told: Mapping[str, Any], environment: Mapping[str, str] | None = None) -> list[str]:
    with pytest.raises(BadSettings) as refused:
        read(told, environment)
    return str(refused.value).splitlines()


def test_nothing_told_means_the_defaults() -> None:
    assert read({}) == Machine()


def test_every_wrong_key_is_named_at_once_with_its_file_and_its_cure() -> None:
    told = {"engine": {"every_s": "fast", "cap_mib": 0, "mood": "bad", "path": ""}, "parts": [{"weight": 1}]}
    assert problems(told) == [
        'machine.toml: engine.every_s: is "fast", must be a number from 0.05 to 60',
        "machine.toml: engine.cap_mib: is 0, must be a whole number from 1 to 1024",
        'machine.toml: engine.mood: is "bad", must be one of calm, wild',
        'machine.toml: engine.path: is "", must be text that is not empty',
        "machine.toml: [[parts]] number 1: name: is missing: it must be text that is not empty",
    ]


@pytest.mark.parametrize(
    ("told", "line"),
    [
        ({"engine": {"evry_s": 1}}, "machine.toml: engine.evry_s: unknown key; did you mean every_s?"),
        ({"engin": {}}, "machine.toml: engin: unknown key; did you mean engine?"),
        ({"window_s": 60}, "machine.toml: window_s: unknown key; did you mean engine.window_s?"),
        ({"engine": {"q": 1}}, "machine.toml: engine.q: unknown key; known are every_s, linger_s, cap_mib"),
        ({"engine": 3}, "machine.toml: engine: is 3, must be a table: write [engine] and its keys below"),
        ({"parts": {"name": "x"}}, 'machine.toml: parts: is {name = "x"}, must be a list of tables: write [['),
    ],
)
def test_a_slip_of_the_pen_is_answered_with_what_was_meant(told: dict[str, Any], line: str) -> None:
    [problem] = problems(told)
    assert problem.startswith(line)


@pytest.mark.parametrize(
    "told",
    [
        {"every_s": math.nan},
        {"every_s": math.inf},
        {"every_s": True},
        {"every_s": 0.04},
        {"linger_s": math.nan},
        {"linger_s": 10**400},
        {"linger_s": -0.1},
        {"cap_mib": 1.0},
        {"cap_mib": True},
        {"cap_mib": 1025},
        {"window_s": 61},
        {"window_s": "60"},
        {"on": 1},
        {"on": "true"},
        {"path": 1},
        {"names": "a"},
        {"names": ["a", 1]},
        {"names": [""]},
        {"rules": [1]},
        {"rules": {}},
        {"mood": []},
    ],
)
def test_a_value_of_the_wrong_kind_or_out_of_bounds_is_refused(told: dict[str, Any]) -> None:
    assert len(problems({"engine": told})) == 1


def test_a_whole_number_will_do_where_a_number_is_wanted() -> None:
    every_s = engine(every_s=2).every_s
    assert (every_s, type(every_s)) == (2.0, float)


def test_infinity_is_a_number_where_nothing_bounds_it_above() -> None:
    assert engine(linger_s=math.inf).linger_s == math.inf


def test_bounds_themselves_are_allowed() -> None:
    assert (engine(cap_mib=1).cap_mib, engine(cap_mib=1024).cap_mib) == (1, 1024)


def test_an_empty_text_takes_an_optional_key_away() -> None:
    assert engine(note="").note is None


def test_an_array_of_tables_becomes_a_tuple_and_raw_tables_stay_raw() -> None:
    machine = read({"parts": [{"name": "a"}, {"name": "b", "weight": 2}], "engine": {"rules": [{"x": 1}]}})
    assert machine.parts == (Part("a"), Part("b", 2))
    assert machine.engine.rules == ({"x": 1},)


@pytest.mark.parametrize(
    ("variable", "text", "value"),
    [
        ("EVERY_S", "0.5", 0.5),
        ("LINGER_S", "inf", math.inf),
        ("CAP_MIB", "7", 7),
        ("WINDOW_S", "30", 30),
        ("MOOD", "wild", Mood.WILD),
        ("ON", "Yes", True),
        ("ON", "0", False),
        ("PATH", "5", "5"),
        ("NOTE", "", None),
        ("NAMES", "a, b", ("a", "b")),
        ("NAMES", '["a,b"]', ("a,b",)),
        ("NAMES", "", ()),
        ("RULES", '[{match = {kind = "docker"}}]', ({"match": {"kind": "docker"}},)),
    ],
)
def test_the_environment_speaks_before_the_file(variable: str, text: str, value: object) -> None:
    told = {"engine": {"every_s": 9, "path": "/file"}}
    machine = read(told, {f"GPUTALLY_ENGINE__{variable}": text})
    assert getattr(machine.engine, variable.lower()) == value


def test_the_environment_can_give_an_array_of_tables() -> None:
    assert read({}, {"GPUTALLY_PARTS": '[{name = "a"}]'}).parts == (Part("a"),)


def test_a_bad_variable_is_blamed_on_the_environment_and_not_on_the_file() -> None:
    variables = {"GPUTALLY_ENGINE__EVERY_S": "often", "GPUTALLY_ENGINE__NAMES": "[a", "GPUTALLY_PARTS": "[{}]"}
    assert problems({"engine": {"every_s": 1}}, variables) == [
        'environment: GPUTALLY_ENGINE__EVERY_S: is "often", must be a number from 0.05 to 60',
        'environment: GPUTALLY_ENGINE__NAMES: is "[a", must be a list of texts',
        "environment: [[parts]] number 1: name: is missing: it must be text that is not empty",
    ]


def test_a_variable_that_misses_its_key_is_refused_and_a_stranger_is_left_alone() -> None:
    strangers = ("GPUTALLY_SCENARIO", "GPUTALLY_CACHE", "GPUTALLY_TOKEN", "GPUTALLY_ENGINEER", "ENGINE__EVERY_S")
    assert read({}, dict.fromkeys(strangers, "x")) == Machine()
    assert problems({}, {"GPUTALLY_ENGINE__EVRY_S": "1", "GPUTALLY_ENGIN__ON": "1"}) == [
        "environment: GPUTALLY_ENGINE__EVRY_S: names no key; did you mean GPUTALLY_ENGINE__EVERY_S?",
        "environment: GPUTALLY_ENGIN__ON: names no key; did you mean GPUTALLY_ENGINE__ON?",
    ]


@pytest.mark.parametrize(
    ("variable", "cure"),
    [
        ("GPUTALLY_FOO__BAR", "a table and two underscores come before a key, and the tables are engine"),
        ("GPUTALLY_ENGINE_EVERY_S", "did you mean GPUTALLY_ENGINE__EVERY_S?"),
        ("GPUTALLY_ENGINE_CAPMIB", "did you mean GPUTALLY_ENGINE__CAP_MIB?"),
        ("GPUTALLY_ENGINE__EVERY__S", "did you mean GPUTALLY_ENGINE__EVERY_S?"),
    ],
)
def test_a_variable_of_no_table_or_with_one_underscore_is_refused_by_its_name(variable: str, cure: str) -> None:
    assert problems({}, {variable: "1"}) == [f"environment: {variable}: names no key; {cure}"]


def test_what_kubernetes_says_of_a_service_named_like_a_table_is_no_slip() -> None:
    told = ("SERVICE_HOST", "SERVICE_PORT", "SERVICE_PORT_HTTP", "PORT", "PORT_80_TCP", "PORT_80_TCP_ADDR")
    assert read({}, {f"GPUTALLY_ENGINE_{each}": "tcp://10.0.0.1:80" for each in told}) == Machine()


def test_the_other_process_may_have_its_variables_in_the_same_environment() -> None:
    reading = Complaints("", {"GPUTALLY_BOILER__HEAT": "1", "GPUTALLY_BOILER_HEAT": "1"})
    assert take_settings(Machine, {}, reading, ["boiler"]) == Machine()
    assert reading.problems == []


def test_a_key_that_could_not_be_read_has_its_default_and_is_refused_only_once() -> None:
    reading = Complaints("machine.toml", {})
    machine = take_settings(Machine, {"engine": {"every_s": "fast"}, "parts": 3}, reading)
    assert machine == Machine()
    for key in ("engine.every_s", "parts"):
        assert reading.is_unread(key)
        reading.refuse(key, "is a bad default")
    reading.refuse("engine.cap_mib", "is too small for the rest")
    assert [problem.key for problem in reading.problems] == ["engine.every_s", "parts", "engine.cap_mib"]


def test_an_unknown_key_of_the_file_is_not_blamed_on_a_variable_of_its_name() -> None:
    lines = problems({"engine": {"evry_s": 1}}, {"GPUTALLY_ENGINE__EVRY_S": "1"})
    assert sum(line.startswith("machine.toml: engine.evry_s") for line in lines) == 1


def test_each_value_says_where_it_came_from() -> None:
    told, variables = {"engine": {"every_s": 2, "on": True}}, {"GPUTALLY_ENGINE__ON": "no"}
    shown = {each.key.name: each for each in explain_settings(read(told, variables), told, variables)}
    assert (shown["engine.every_s"].value, shown["engine.every_s"].origin) == (2.0, Origin.FILE)
    assert (shown["engine.on"].value, shown["engine.on"].origin) == (False, Origin.ENVIRONMENT)
    assert (shown["engine.path"].value, shown["engine.path"].origin) == ("/var", Origin.DEFAULT)
    assert shown["parts"].origin is Origin.DEFAULT


def test_a_key_says_what_it_may_be() -> None:
    said = {key.name.split(".")[-1]: describe(key) for key in keys_of(Machine)}
    assert said["linger_s"] == "a number, at least 0, or inf"
    assert said["window_s"] == "one of 30, 60"
    assert said["names"] == "a list of texts"
    assert said["parts"] == "a list of tables"


_TOML = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
_NAMES = st.sampled_from([key.name.split(".")[-1] for key in keys_of(Machine)]) | st.text()


@given(st.dictionaries(st.sampled_from(["engine", "parts"]) | st.text(), st.dictionaries(_NAMES, _TOML) | _TOML))
def test_whatever_the_file_says_it_is_read_or_refused_and_nothing_else(told: dict[str, Any]) -> None:
    try:
        machine = read(told)
    except BadSettings as refused:
        assert refused.problems
    else:
        assert 0.05 <= machine.engine.every_s <= 60


@given(st.sampled_from(list(keys_of(Machine))), st.text())
def test_whatever_a_variable_says_it_is_read_or_refused_and_nothing_else(key: Any, text: str) -> None:
    try:
        assert isinstance(read({}, {key.variable: text}), Machine)
    except BadSettings as refused:
        assert refused.problems
