"""However many strings there are, they come back in order, each as often as it was given."""

import tempfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gputally.storage.sorted_spool import NoRoom, sorted_bytes


@given(st.lists(st.binary(max_size=30), max_size=200), st.integers(1, 50))
def test_they_come_back_sorted(values: list[bytes], run: int) -> None:
    assert list(sorted_bytes(values, run)) == sorted(values)


def test_runs_longer_than_what_is_read_at_once_come_back_too() -> None:
    values = [bytes([number % 251]) * (number % 700) for number in range(3_000)]
    assert list(sorted_bytes(values, 1_000)) == sorted(values)


def test_a_temporary_folder_that_cannot_be_written_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/dev/full/none")
    with pytest.raises(NoRoom, match="the temporary folder cannot be used to sort: Not a directory"):
        list(sorted_bytes([b"a", b"b", b"c"], 2))
