"""A process list that cannot be true bills nobody."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gputally.plugins.nvml.rows import (
    MEMORY_UNKNOWN,
    NO_INSTANCE,
    ROW,
    BadRowError,
    Holders,
    grouped,
    united,
    united_groups,
)

GIB = 1 << 30
DEVICE_BYTES = 80 * GIB
NO = NO_INSTANCE


def rows(*told: tuple[int, int] | tuple[int, int, int, int]) -> bytes:
    packed = (ROW.pack(*row) if len(row) == 4 else ROW.pack(*row, NO_INSTANCE, NO_INSTANCE) for row in told)
    return b"".join(packed)


def holders(packed: bytes, device_bytes: int) -> Holders:
    return united(grouped(packed, device_bytes).values())


def refused(packed: bytes) -> str:
    with pytest.raises(BadRowError) as error:
        holders(packed, DEVICE_BYTES)
    return error.value.reason


def test_each_process_is_named_with_its_memory() -> None:
    assert holders(rows((10, GIB), (11, 2 * GIB)), DEVICE_BYTES) == {10: GIB, 11: 2 * GIB}


def test_memory_that_the_driver_does_not_say_is_unknown_and_not_zero() -> None:
    assert holders(rows((10, MEMORY_UNKNOWN)), DEVICE_BYTES) == {10: None}


def test_a_process_in_two_rows_counts_once_with_its_largest_memory() -> None:
    assert holders(rows((10, GIB), (10, 3 * GIB), (10, MEMORY_UNKNOWN)), DEVICE_BYTES) == {10: 3 * GIB}


def test_a_process_in_two_lists_counts_once_with_its_largest_memory() -> None:
    assert united([{1: GIB, 2: None}, {1: 2 * GIB, 2: GIB}, {1: None}]) == {1: 2 * GIB, 2: GIB}


def test_processes_are_told_by_the_mig_instance_they_are_in() -> None:
    packed = rows((10, GIB, 1, 0), (11, GIB, 2, 0), (10, GIB, 2, 0), (12, GIB))
    assert grouped(packed, DEVICE_BYTES) == {(1, 0): {10: GIB}, (2, 0): {11: GIB, 10: GIB}, (NO, NO): {12: GIB}}


def test_lists_are_put_together_instance_by_instance() -> None:
    compute, graphics = grouped(rows((10, GIB, 1, 0)), 0), grouped(rows((10, 2 * GIB, 1, 0), (11, GIB, 2, 0)), 0)
    assert united_groups([compute, graphics]) == {(1, 0): {10: 2 * GIB}, (2, 0): {11: GIB}}


def test_no_pid_is_zero_or_beyond_the_kernels_limit() -> None:
    assert refused(rows((10, GIB), (0, 0))) == "row_pid"
    assert refused(rows((1 << 22 | 1, GIB))) == "row_pid"


def test_no_process_holds_more_than_the_device_has() -> None:
    assert holders(rows((10, DEVICE_BYTES)), DEVICE_BYTES) == {10: DEVICE_BYTES}
    assert refused(rows((10, DEVICE_BYTES + 1))) == "row_memory"


def test_instances_are_small_numbers_or_none() -> None:
    assert holders(rows((10, GIB, 3, 0)), DEVICE_BYTES) == {10: GIB}
    assert refused(rows((10, GIB, 256, 0))) == "row_instance"
    assert refused(rows((10, GIB, 3, 4096))) == "row_instance"


@given(st.integers(2, 20), st.integers(1, 1 << 22), st.integers(0, DEVICE_BYTES))
def test_rows_that_a_driver_made_longer_are_never_believed(count: int, pid: int, used_bytes: int) -> None:
    """Drivers 535.43 to 535.86 put eight bytes behind each row."""
    wide = struct.Struct("<I4xQIIQ").pack(pid, used_bytes, NO_INSTANCE, NO_INSTANCE, 0)
    assert refused((wide * count)[: count * ROW.size])
