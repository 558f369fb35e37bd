"""The kernel's texts as numbers, and texts that only look like them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gputally.plugins.consumption.text import find_value, parse_blkio, parse_io_stat, parse_net_dev, parse_number

from .paper import NET_DEV

NEARLY = st.lists(
    st.sampled_from(
        [b"8:0", b"7:1", b" ", b"\n", b"rbytes=", b"wbytes=", b"12", b"Read", b"Write", b"Total", b":", b"|", b"eth0:"]
    )
).map(b"".join)


@pytest.mark.parametrize(
    ("raw", "value"),
    [(b"0\n", 0), (b"18446744073709551615\n", 2**64 - 1), (b" 7 ", 7)],
)
def test_a_number_of_64_bits_is_read(raw: bytes, value: int) -> None:
    assert parse_number(raw) == value


@pytest.mark.parametrize(
    "raw", [b"", b"max\n", b"-1", b"+1", b"1_000", b"1.0", b"18446744073709551616", b"9" * 5000, "٣".encode(), b"1 2"]
)
def test_what_is_no_number_of_64_bits_is_none(raw: bytes) -> None:
    assert parse_number(raw) is None


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (b"usage_usec 5\nuser_usec 4\n", 5),
        (b"user_usec 4\nusage_usec 5", 5),
        (b"x_usage_usec 4\nusage_usec 5\n", 5),
        (b"nice_usage_usec 4\n", None),
        (b"usage_usec\n", None),
        (b"usage_usec five\n", None),
        (b"", None),
    ],
)
def test_a_key_is_found_only_at_the_start_of_a_line(raw: bytes, value: int | None) -> None:
    assert find_value(raw, b"usage_usec") == value


@pytest.mark.parametrize(
    ("raw", "moved"),
    [
        (b"", []),
        (b"8:0 rbytes=10 wbytes=20 rios=1 wios=2 dbytes=0 dios=0\n", [(b"8:0", 10, 20)]),
        (b"8:0 rbytes=10 wbytes=20 cost.usage=5 cost.wait=0\n", [(b"8:0", 10, 20)]),
        # Kernels since 5.13, on a host with detached loop devices.
        (b"7:7 7:6 7:5 rbytes=3 wbytes=4 rios=1\n", [(b"7:7", 0, 0), (b"7:6", 0, 0), (b"7:5", 3, 4)]),
        # And while a group is being made.
        (b"252:0 ", [(b"252:0", 0, 0)]),
        (b"8:0 rbytes=ten wbytes=20\n", None),
        (b"rbytes=1 wbytes=2\n", None),
        (b"8:0 rbytes=1 wbytes=2\nrubbish\n", None),
        (b"8:0 rbytes=-1 wbytes=2\n", None),
    ],
)
def test_io_stat_is_read_as_kernels_write_it_or_not_at_all(
    raw: bytes, moved: list[tuple[bytes, int, int]] | None
) -> None:
    assert parse_io_stat(raw) == moved


@pytest.mark.parametrize(
    ("raw", "moved"),
    [
        (b"Total 0\n", []),
        (b"8:0 Read 1\n8:0 Write 2\n8:0 Sync 3\n9:1 Read 4\nTotal 7\n", [(b"8:0", 1, 2), (b"9:1", 4, 0)]),
        (b"8:0 Read one\n", None),
        (b"8:0 Read\n", None),
        (b"sda Read 1\n", None),
        (b"8:0 Read 1 2\n", None),
    ],
)  # fmt: skip
def test_blkio_is_read_as_kernels_write_it_or_not_at_all(
    raw: bytes, moved: list[tuple[bytes, int, int]] | None
) -> None:
    assert parse_blkio(raw) == moved


def test_net_dev_leaves_out_loopback_and_takes_names_with_colons() -> None:
    raw = (NET_DEV + "eth0:1 0 0 0 0 0 0 0 2 0 0 0 0 0 0 0\n eth0:0: 3 0 0 0 0 0 0 0 4 0 0 0 0 0 0 0\n").encode()
    assert parse_net_dev(raw) == [(b"eth0", 1, 2), (b"eth0:0", 3, 4)]


@pytest.mark.parametrize(
    "line", ["eth0: 1 2 3\n", "eth0 1 0 0 0 0 0 0 0 2 0 0 0 0 0 0 0\n", "\n", "eth0: a" + " 0" * 15]
)
def test_a_line_of_net_dev_that_is_not_whole_spoils_it(line: str) -> None:
    assert parse_net_dev((NET_DEV + line).encode()) is None


@pytest.mark.parametrize("raw", [b"", b"rubbish", b"a|b\n"])
def test_what_is_no_net_dev_is_none_and_not_a_host_without_interfaces(raw: bytes) -> None:
    assert parse_net_dev(raw) is None


@given(st.binary(max_size=200) | NEARLY)
def test_no_bytes_make_a_parser_raise(raw: bytes) -> None:
    for moved in (parse_io_stat(raw), parse_blkio(raw), parse_net_dev(raw)):
        assert moved is None or all(read >= 0 and written >= 0 for _, read, written in moved)
    find_value(raw, b"usage_usec")
    parse_number(raw)
