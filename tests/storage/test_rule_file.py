"""The collector's rules beside the log: whole or not there, and never believed when damaged."""

import os
from pathlib import Path

import pytest

from gputally.model.rule_text import MOST_BODY_BYTES, RuleText
from gputally.storage.rule_file import NAME, RuleFileUnusable, load_rule_file, save_rule_file

TEXT = RuleText("v1", '[[rules]]\nmatch = {}\ntenant = "acmé"\n')


def test_what_was_saved_is_there_after_a_restart_and_the_last_counts(tmp_path: Path) -> None:
    assert load_rule_file(tmp_path) is None
    for text in (TEXT, RuleText("v2", TEXT.body), RuleText("v3", "\x01" * MOST_BODY_BYTES)):
        save_rule_file(tmp_path, text)
        assert load_rule_file(tmp_path) == text
    assert os.listdir(tmp_path) == [NAME]  # noqa: PTH208 - names only


def test_a_file_with_any_byte_changed_or_missing_is_damaged_and_said_to_be(tmp_path: Path) -> None:
    save_rule_file(tmp_path, TEXT)
    whole = (tmp_path / NAME).read_bytes()
    for place in range(len(whole)):
        for damaged in (whole[:place], whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]):
            (tmp_path / NAME).write_bytes(damaged)
            try:
                assert load_rule_file(tmp_path) == TEXT  # a blank that became another one
            except RuleFileUnusable as unusable:
                assert "is damaged" in str(unusable)
                assert NAME in str(unusable)


def test_a_disk_that_does_not_take_it_leaves_the_former_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_rule_file(tmp_path, TEXT)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", full)
        with pytest.raises(RuleFileUnusable, match="cannot be written: No space left"):
            save_rule_file(tmp_path, RuleText("v2", "other"))
    assert load_rule_file(tmp_path) == TEXT
    assert os.listdir(tmp_path) == [NAME]  # noqa: PTH208 - names only
