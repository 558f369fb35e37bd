"""Addresses as operators write them."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gputally.model.endpoint import Endpoint, parse_endpoint


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("collector.example:7443", Endpoint("collector.example", 7443)),
        ("10.0.0.1:1", Endpoint("10.0.0.1", 1)),
        ("[::1]:65535", Endpoint("::1", 65535)),
    ],
)
def test_an_address_is_read_and_written_the_same_way(text: str, endpoint: Endpoint) -> None:
    assert parse_endpoint(text) == endpoint
    assert str(endpoint) == text


@pytest.mark.parametrize(
    "text",
    ["", "host", "host:", ":7443", "::1:7443", "http://host:1", "host:1/x", "host:0", "host:65536", "host:x",
     "a b:1", "user@host:1", "host:１", "[host]:1", "host:1\n"],
)  # fmt: skip
def test_what_is_no_address_is_refused_and_the_message_holds_it(text: str) -> None:
    with pytest.raises(ValueError, match="must be"):
        parse_endpoint(text)


def test_port_zero_is_only_for_what_listens() -> None:
    assert parse_endpoint("127.0.0.1:0", lowest_port=0).port == 0


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.9.1", "::1"])
def test_loopback_is_loopback(host: str) -> None:
    assert Endpoint(host, 1).is_loopback


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "127.0.0.1.evil.example", "127.evil", "localhost.evil", "10.0.0.1", "gpu-01"]
)
def test_a_name_that_only_looks_like_loopback_is_not(host: str) -> None:
    assert not Endpoint(host, 1).is_loopback


@given(st.text())
def test_any_text_is_an_address_or_refused(text: str) -> None:
    with suppress(ValueError):
        assert 1 <= parse_endpoint(text).port <= 65535
