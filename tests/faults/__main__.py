"""The fault suite: what log, ledger and stream do when something is killed, cut, full, damaged or broken.

``make faults`` tries every kind of fault at length and prints one table. Exit code 1 if anything was lost, doubled
or undeclared, or if a control, in which a protection is off, has lost nothing.

python -m tests.faults [--scale 0.01] [--seed 1] [kind ...]
"""

import argparse
import sys
import time
from typing import Final

from .kinds import KINDS, tried
from .outcome import Outcome, table

_CONTROL_PART: Final = 20
_LEAST_OF_A_CONTROL: Final = 60


def main() -> int:
    asked = _arguments()
    outcomes, controls = list[Outcome](), list[Outcome]()
    for name in asked.kinds or KINDS:
        kind = KINDS[name]
        count = max(round(kind.count * asked.scale), 1)
        outcomes.append(_told(name, count, asked.seed))
        if kind.control is not None:
            controls.append(_told(name, _of_a_control(count), asked.seed, control=True))
    print(table(outcomes))
    if controls:
        print("\ncontrols, with the protection off: each must show harm\n" + table(controls))
    for outcome in outcomes:
        for word in outcome.words:
            print(f"{outcome.fault}: {word}")
    blind = [each for each in controls if not each.skipped and not each.harmed]
    for each in blind:
        print(f"{each.fault}: harmed nothing, so the test beside it proves nothing")
    return int(any(outcome.harmed for outcome in outcomes) or bool(blind))


def _of_a_control(count: int) -> int:
    return max(count // _CONTROL_PART, min(count, _LEAST_OF_A_CONTROL), 20)


def _told(name: str, count: int, seed: int, *, control: bool = False) -> Outcome:
    """Says on stderr how it goes, for the long form takes its time."""
    began_s = time.monotonic()
    title = f"{name}, control" if control else name
    print(f"{title}: {count} ...", file=sys.stderr, flush=True)
    outcome = tried(name, count, seed, control=control)
    seconds = f"{time.monotonic() - began_s:.0f} s"
    outcome.note = f"{outcome.note}; {seconds}" if outcome.note else seconds
    print(f"{title}: {outcome.survived} of {outcome.tried} survived", file=sys.stderr, flush=True)
    return outcome


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults")
    parser.add_argument("kinds", nargs="*", metavar="kind", help=f"some of {', '.join(KINDS)}; all if there is none")
    parser.add_argument("--scale", type=float, default=1.0, help="part of the counts of the long form")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    unknown = set(asked.kinds) - set(KINDS)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    return asked


if __name__ == "__main__":
    sys.exit(main())
