"""`gputally period` and `gputally resolve` as an operator at the end of a month has them."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gputally.cli.main import main

from ..collector.running import RunningCollector, write_config
from ..collector.test_decisions import JULY, JUNE_1, whole_june


@pytest.fixture
def collector(tmp_path: Path) -> Iterator[RunningCollector]:
    with RunningCollector(write_config(tmp_path)) as running:
        running.deliver(whole_june("gpu-01", "unattributed"))
        running.wait_until_folded()
        yield running


def gputally(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(each) for each in arguments])


def test_a_month_is_shown_closed_sealed_and_listed(collector: RunningCollector) -> None:
    at = ("--collector", collector.url, "--period", "2025-06")
    assert gputally("period", "show", *at).stdout == f"{JUNE_1} to {JULY}: final\n"
    early = gputally("period", "seal", *at, "--why", "too early")
    assert early.exit_code == 65 and "was not closed" in early.stderr
    closed = gputally("period", "close", *at, "--why", "month's end")
    assert closed.exit_code == 0 and closed.stdout.startswith(f"closed {JUNE_1} to {JULY} (log id "), closed.output
    sealed = gputally("period", "seal", *at, "--why", "billed")
    assert sealed.exit_code == 0 and "NOT signed" in sealed.stdout and "over 1440 leaves" in sealed.stdout
    shown = gputally("period", "show", *at).stdout
    assert shown.startswith(f"{JUNE_1} to {JULY}: sealed\n") and "  signed     no\n" in shown
    listed = gputally("period", "list", "--collector", collector.url).stdout
    assert listed.startswith(f"{JUNE_1}  {JULY}  sealed  ") and listed.count("\n") == 1


def test_what_a_period_waits_for_is_shown(collector: RunningCollector) -> None:
    shown = gputally("period", "show", "--collector", collector.url, "--period", "2025-06", "--zone", "America/Denver")
    assert shown.stdout.splitlines() == [
        "2025-06-01T06:00:00Z to 2025-07-01T06:00:00Z: provisional",
        "  waits for  gpu-01 from 2025-07-01T00:00:00Z to 2025-07-01T06:00:00Z",
    ]
    done = gputally("period", "close", "--collector", collector.url, "--period", "2025-07", "--why", "x")
    assert done.exit_code == 65 and "gpu-01" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--period", "June"),
        ("--from", JUNE_1),
        ("--period", "2025-06", "--from", JUNE_1),
        ("--period", "2025-06", "--zone", "Mars"),
    ],
)
def test_a_period_that_is_none_is_a_usage_error(arguments: tuple[str, ...]) -> None:
    assert gputally("period", "show", *arguments).exit_code == 2


def test_unattributed_time_is_shown_first_and_resolved_with_yes(collector: RunningCollector) -> None:
    asked = ("resolve", "--collector", collector.url, "--from", JUNE_1, "--to", JULY, "--tenant", "B", "--project", "p")
    dry = gputally(*asked, "--why", "badge list")
    assert dry.exit_code == 0 and "      720.00 h      720 records  gpu-01  docker:unattributed-job" in dry.stdout
    assert dry.stdout.endswith("nothing was decided: --yes gives it to B\n")
    assert collector.usage()["completeness"]["unattributed_ns"] != "0"
    other = gputally(*asked, "--why", "badge list", "--host", "gpu-02", "--yes")
    assert other.exit_code == 66
    done = gputally(*asked, "--why", "badge list", "--yes")
    assert done.exit_code == 0 and "720 records are B's, project p now (log ids " in done.stdout, done.output
    assert collector.usage()["totals_by_org"]["B"]["usage"] == "720.00"
    assert gputally(*asked, "--why", "again", "--yes").exit_code == 66
