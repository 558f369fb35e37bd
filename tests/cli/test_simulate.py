"""``gputally simulate seeds``: what it says when all is well, and what a person needs when it is not."""

from click.testing import CliRunner, Result

from gputally.cli.simulate import command
from gputally.model.exits import Exit

SHORT = ("--minutes", "12", "--jobs", "1")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(command, ["seeds", *arguments])


def test_it_says_how_much_was_compared_and_how_much_of_it_was_exact() -> None:
    result = run("--seeds", "2", *SHORT, "--twice")
    assert result.exit_code == Exit.OK
    assert "2 seeds in" in result.output and "0 failed" in result.output
    assert "% exact to the nanosecond" in result.output


def test_a_seed_that_fails_is_told_with_its_script_and_the_command_that_runs_it_again() -> None:
    result = run("--seeds", "1", "--first", "3", *SHORT, "--only", "crash", "--without", "no_checkpoint")
    assert result.exit_code == Exit.SOFTWARE
    assert "seed 3: 12 minutes" in result.output
    assert "the daemon is killed" in result.output
    assert "VIOLATION: " in result.output
    again = "gputally simulate seeds --seeds 1 --first 3 --minutes 12 --only crash --without no_checkpoint --tell"
    assert again in result.output


def test_the_command_that_it_names_says_the_same_again() -> None:
    first = run("--seeds", "1", "--first", "5", *SHORT, "--tell")
    trace = next(line for line in first.output.splitlines() if "trace " in line)
    options = trace.split("gputally simulate seeds ")[1].split()
    assert trace in run(*options, "--jobs", "1").output


def test_minutes_and_hours_together_are_refused() -> None:
    assert run("--minutes", "30", "--hours", "1").exit_code == 2
