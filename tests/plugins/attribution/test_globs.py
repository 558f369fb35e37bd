"""Patterns mean what they say and cost what they look like."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gputally.plugins.attribution.globs import BadGlob, compile_glob


@pytest.mark.parametrize(
    ("pattern", "text", "captures"),
    [
        ("acme", "acme", ()),
        ("acme", "acme2", None),
        ("tenant-*", "tenant-acme", ("acme",)),
        ("tenant-*", "tenant-", ("",)),
        ("*-*", "a-b-c", ("a", "b-c")),
        ("*.slice", "acme.slice", ("acme",)),
        ("a*a", "a", None),
        ("job_?", "job_7", ()),
        ("job_?", "job_77", None),
        ("nvcr.io/nvidia/*", "nvcr.io/nvidia/pytorch:25.01", ("pytorch:25.01",)),
        ("nvcr.io/*", "nvcr.io/nvidia/pytorch", None),
        (r"machine-qemu\x2d*", r"machine-qemu\x2d1", ("1",)),
        ("a.c", "abc", None),
    ],
)
def test_a_pattern_matches_whole_texts(pattern: str, text: str, captures: tuple[str, ...] | None) -> None:
    assert compile_glob(pattern).match(text) == captures


@pytest.mark.parametrize(
    ("pattern", "text", "captures"),
    [
        ("/tenants.slice/tenant-*", "/tenants.slice/tenant-acme/docker-x.scope", ("acme",)),
        ("/tenants.slice/tenant-*", "/tenants.slice/tenant-acme", ("acme",)),
        ("/tenants.slice/tenant-*", "/tenants.slice", None),
        ("/tenants.slice/tenant", "/tenants.slice/tenant-acme", None),
        ("/*/*", "/a/b/c", ("a", "b")),
    ],
)
def test_a_path_matches_whole_components_from_the_start(
    pattern: str, text: str, captures: tuple[str, ...] | None
) -> None:
    assert compile_glob(pattern, prefix=True).match(text) == captures


@pytest.mark.parametrize("pattern", ["**", "/a/**/b", "[ab]", "a]"])
def test_a_pattern_that_other_tools_read_otherwise_is_refused(pattern: str) -> None:
    with pytest.raises(BadGlob):
        compile_glob(pattern)


pieces = st.text("ab*?/", max_size=12).filter(lambda text: "**" not in text)


@given(pieces, st.text("ab/", max_size=14))
def test_it_agrees_with_a_backtracking_matcher_on_what_matches(pattern: str, text: str) -> None:
    signs = {"*": "[^/]*", "?": "[^/]"}
    model = re.compile("".join(signs.get(sign, re.escape(sign)) for sign in pattern))
    captures = compile_glob(pattern).match(text)
    assert (captures is not None) == (model.fullmatch(text) is not None)
    if captures is not None:
        filled = iter(captures)
        refilled = "".join(re.escape(next(filled)) if sign == "*" else signs.get(sign, sign) for sign in pattern)
        assert re.fullmatch(refilled, text)


def test_a_long_name_cannot_make_a_pattern_expensive() -> None:
    glob = compile_glob("a*" * 60 + "b*")
    start = time.process_time()
    assert glob.match("a" * 4096) is None
    assert time.process_time() - start < 0.1
