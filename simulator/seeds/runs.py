"""Many seeds, each from its script to its verdict, on some processes at once."""

import logging
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context

from .controls import CONTROLS
from .draw import draw
from .host import live
from .script import Kind, Script
from .verdict import judge


@dataclass(frozen=True, slots=True)
class Length:
    """How long each run is, and how far the ticks are apart; None: as the seed says."""

    minutes: int = 30
    cadence_s: float | None = None

    def script(self, seed: int, kinds: Sequence[Kind] = tuple(Kind)) -> Script:
        return draw(seed, self.minutes, self.cadence_s, tuple(kinds))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one seed."""

    seed: int
    violations: tuple[str, ...]
    trace_hash: str = ""
    ticks: int = 0
    frames: int = 0
    compared: int = 0
    exact: int = 0
    device_ns: int = 0
    inferred_ns: int = 0
    unobserved_ns: Counter[str] = field(default_factory=Counter[str])
    faults: Counter[str] = field(default_factory=Counter[str])
    cpu_ns: int = 0


def run_seed(
    seed: int, length: Length = Length(), kinds: Sequence[Kind] = tuple(Kind), without: str | None = None
) -> Outcome:
    """One seed. Whatever the daemon raises is a violation like any other.

    ``without``: the name of a protection that is switched off meanwhile (controls.py).
    """
    script = length.script(seed, kinds)
    faults = Counter(fault.kind.value for fault in script.faults)
    begin_ns = time.process_time_ns()
    try:
        with CONTROLS[without].off() if without else nullcontext():
            return _judged(script, faults, begin_ns)
    except Exception as error:
        where = traceback.extract_tb(_innermost(error).__traceback__)[-1]
        told = f"{type(error).__name__}: {_innermost(error)!r} in {where.filename}, line {where.lineno}"
        return Outcome(seed, (told,), faults=faults, cpu_ns=time.process_time_ns() - begin_ns)


def run_seeds(
    seeds: Sequence[int],
    length: Length,
    jobs: int,
    kinds: Sequence[Kind] = tuple(Kind),
    without: str | None = None,
) -> Iterator[Outcome]:
    """In no order. The workers live as long as there is work: starting one costs as much as a seed."""
    run = partial(run_seed, length=length, kinds=kinds, without=without)
    if jobs == 1 or len(seeds) == 1:
        yield from map(run, seeds)
        return
    with get_context("spawn").Pool(min(jobs, len(seeds)), initializer=be_quiet) as pool:
        yield from pool.imap_unordered(run, seeds)


def be_quiet() -> None:
    """What a daemon warns of while things go wrong on purpose is of no use to anybody."""
    logging.disable(logging.CRITICAL)


def _judged(script: Script, faults: Counter[str], begin_ns: int) -> Outcome:
    lived = live(script)
    verdict = judge(script, lived)
    return Outcome(
        seed=script.seed,
        violations=tuple(verdict.violations),
        trace_hash=lived.trace_hash,
        ticks=lived.ticks,
        frames=len(lived.ledger),
        compared=verdict.compared,
        exact=verdict.exact,
        device_ns=verdict.device_ns,
        inferred_ns=verdict.inferred_ns,
        unobserved_ns=verdict.unobserved_ns,
        faults=faults,
        cpu_ns=time.process_time_ns() - begin_ns,
    )


def _innermost(error: BaseException) -> BaseException:
    """Of groups the first: they have one reason."""
    grouped: tuple[BaseException, ...] = getattr(error, "exceptions", ())
    return _innermost(grouped[0]) if grouped else error
