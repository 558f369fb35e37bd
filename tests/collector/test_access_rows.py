"""What of a request is written down."""

from gputally.collector.access_rows import LONGEST, shown_path


def test_a_path_is_written_without_what_a_terminal_would_obey() -> None:
    assert shown_path("/v1/quota/x\x1b[31mred\x00\n") == "/v1/quota/x\\x1b[31mred\\x00\\n"
    assert len(shown_path("/" + "a" * 9_000)) == LONGEST
