"""``gputally simulate --hosts N``: a fleet that is not there, a collector that is, and whether its answers are true."""

import os
import secrets
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NoReturn, TypeVar

import click

from ..daemon.config import UplinkConfig
from ..model.endpoint import Endpoint, parse_endpoint
from ..model.exits import Exit
from ..model.interval import NS_PER_HOUR, NS_PER_S
from ..model.window import WINDOW_LENGTHS_S
from ..simulator.fleet.dial import Target
from ..simulator.fleet.fleet import INTERRUPTED, Manner, Outcome, WorkerDied, run_fleet
from ..simulator.fleet.frames import MOST_GPUS
from ..simulator.fleet.plan import FleetPlan
from .asking import Collector, NoAnswer, read_token
from .fleet_answers import Answers, check_unused
from .fleet_report import progress, show_differences, show_outcome

F = TypeVar("F", bound=Callable[..., Any])
_MOST_HOSTS: Final = 20_000
_LONGEST_PREFIX: Final = 40
_START_S: Final = 5
"""A live fleet's first window begins no sooner, so that all its processes are there."""
_EXIT_INTERRUPTED: Final = 130
"""128 and the number of SIGINT, as shells have it."""

_OPTIONS: Final = (
    click.option("--hosts", type=click.IntRange(1, _MOST_HOSTS), help="How many hosts; this makes it a fleet."),
    click.option("--gpus", default=8, show_default=True, type=click.IntRange(1, MOST_GPUS), help="Of each host."),
    click.option("--hours", default=1.0, show_default=True, type=click.FloatRange(0, 8784, min_open=True)),
    click.option(
        "--window",
        "window_s",
        default="60",
        show_default=True,
        type=click.Choice([str(each) for each in WINDOW_LENGTHS_S]),
        help="Seconds of a window.",
    ),
    click.option("--tenants", default=8, show_default=True, type=click.IntRange(1, 999), help="Who share the GPUs."),
    click.option("--seed", default=1, show_default=True, help="Another seed is other usage."),
    click.option("--live", is_flag=True, help="Windows end as time goes by; without it all of them are a backlog."),
    click.option("--collector", metavar="HOST:PORT", help="Where it takes streams (intake.listen)."),
    click.option("--api", metavar="URL", help="Where it answers; without it nothing is compared."),
    click.option("--token-file", type=click.Path(path_type=Path), help="Of the API; or set GPUTALLY_TOKEN."),
    click.option(
        "--certificates",
        type=click.Path(path_type=Path, file_okay=False),
        help="Folder of gputally pki: NAME.pem and NAME.key of each host, or ca.key to sign them.",
    ),
    click.option("--ca", type=click.Path(path_type=Path, dir_okay=False), help="The authority; else ca.pem there."),
    click.option("--collector-name", help="Name in the collector's certificate, if it is not that in --collector."),
    click.option("--insecure-plaintext", is_flag=True, help="No TLS; loopback only."),
    click.option("--hosts-prefix", "prefix", help="How the hosts are called; new with each run, if not given."),
    click.option(
        "--linger",
        "linger_s",
        type=click.FloatRange(0, 86_400),
        help="Seconds that an idle stream stays open; 5 in a live fleet, 0 with a backlog.",
    ),
    click.option("--concurrency", default=2_000, show_default=True, type=click.IntRange(1), help="Streams at once."),
    click.option("--processes", type=click.IntRange(1, 64), help="Of the fleet; one for each core, four at most."),
    click.option(
        "--patience",
        default=60.0,
        show_default=True,
        type=click.FloatRange(1),
        help="Seconds without any acknowledgement after which the fleet gives up.",
    ),
)


def fleet_options(function: F) -> F:
    """All options of a fleet."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def simulate_fleet(told: dict[str, Any]) -> None:
    """Exit codes: 0 the answers are the truth, 1 they are not, 65 refused, 69 not all of it was acknowledged."""
    endpoint = _endpoint(told)
    plan = _plan(told)
    try:
        target = _target(told, endpoint, plan)
        answers = Answers(Collector(told["api"], read_token(told["token_file"])), plan) if told["api"] else None
        if answers is not None:
            check_unused(answers)
        with progress(plan) as tell:
            outcome = run_fleet(plan, target, _manner(told), tell)
        show_outcome(plan, outcome, live=told["live"])
        sys.exit(_judge(plan, outcome, answers))
    except NoAnswer as error:
        _end(error.code, str(error))
    except WorkerDied as error:
        _end(Exit.SOFTWARE, str(error))
    except ValueError as error:
        _end(Exit.REFUSED, str(error))


def _judge(plan: FleetPlan, outcome: Outcome, answers: Answers | None) -> int:
    """The exit code, said in words."""
    if outcome.in_doubt:
        click.echo(f"not compared: {outcome.in_doubt} hosts do not know what became of all they sent")
    elif not outcome.tally.frames:
        click.echo("not compared: nothing was acknowledged")
    elif answers is None:
        click.echo("not compared: no --api was given")
    else:
        answers.wait_until_folded(click.echo)
        if differences := answers.differences(outcome.truth):
            show_differences(differences, answers.wrong_hosts(outcome.windows))
            return Exit.BROKEN
        click.echo(f"equal: {len(outcome.truth.allocated)} sums per tenant and GPU model, to the nanosecond")
    if outcome.stopped == INTERRUPTED:
        return _EXIT_INTERRUPTED
    return Exit.OK if outcome.tally.hosts_done == plan.hosts and not outcome.tally.rejected else Exit.UNAVAILABLE


def _plan(told: dict[str, Any]) -> FleetPlan:
    prefix = told["prefix"] or f"fleet-{secrets.token_hex(4)}"
    if not (prefix.isascii() and prefix.replace("-", "").isalnum() and len(prefix) <= _LONGEST_PREFIX):
        raise click.UsageError(f"--hosts-prefix must be 1 to {_LONGEST_PREFIX} letters, digits and hyphens")
    window_ns = int(told["window_s"]) * NS_PER_S
    windows = max(round(told["hours"] * NS_PER_HOUR) // window_ns, 1)
    now_ns = time.time_ns()
    start_ns = now_ns + _START_S * NS_PER_S if told["live"] else now_ns - now_ns % NS_PER_HOUR - windows * window_ns
    start_ns += -start_ns % window_ns
    return FleetPlan(
        prefix, told["hosts"], told["gpus"], windows, window_ns, start_ns, told["tenants"], told["seed"]
    )  # fmt: skip


def _manner(told: dict[str, Any]) -> Manner:
    processes = told["processes"] or min(os.cpu_count() or 1, 4)
    linger_s = UplinkConfig().linger_s if told["linger_s"] is None and told["live"] else told["linger_s"] or 0.0
    return Manner(told["live"], linger_s, processes, told["concurrency"], told["patience"])


def _endpoint(told: dict[str, Any]) -> Endpoint:
    if told["collector"] is None:
        raise click.UsageError("--collector HOST:PORT is missing: where shall the fleet stream to?")
    try:
        endpoint = parse_endpoint(told["collector"])
    except ValueError as error:
        raise click.UsageError(f"--collector {error}") from None
    if told["insecure_plaintext"] and not endpoint.is_loopback:
        raise click.UsageError("--insecure-plaintext is for loopback only: use --certificates")
    return endpoint


def _target(told: dict[str, Any], endpoint: Endpoint, plan: FleetPlan) -> Target:
    if told["insecure_plaintext"]:
        return Target(str(endpoint))
    folder: Path | None = told["certificates"]
    if folder is None:
        raise click.UsageError("give --certificates DIR, or --insecure-plaintext for a collector on loopback")
    # Imported here: it needs cryptography, which a fleet without TLS does not.
    from .pki_files import Unusable
    from .pki_fleet import certificates_for

    hosts = [plan.host_id(host) for host in range(plan.hosts)]
    days = 2 + (plan.end_ns - time.time_ns()) // (24 * NS_PER_HOUR) if told["live"] else 2
    ca = told["ca"] or folder / "ca.pem"
    try:
        return Target(str(endpoint), ca.read_bytes(), told["collector_name"], certificates_for(folder, hosts, days))
    except OSError as error:
        _end(Exit.NO_INPUT, f"{ca} cannot be read: {error.strerror}")
    except Unusable as unusable:
        _end(Exit.NO_INPUT, str(unusable))


def _end(code: int, why: str) -> NoReturn:
    click.echo(why, err=True)
    sys.exit(code)
