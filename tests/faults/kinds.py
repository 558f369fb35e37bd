"""The kinds of fault there are, with their counts in the long form."""

import pickle
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from . import clock, crash_states, damage, errors, full_disk, network, powercut, sigkill
from .outcome import Outcome

_ROOT: Final = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Kind:
    """``count``: of the long form. ``control``: the same with the protection off, which must lose."""

    run: Callable[[int, int], Outcome]
    count: int
    control: Callable[[int, int], Outcome] | None = None


KINDS: Final[Mapping[str, Kind]] = {
    "sigkill": Kind(sigkill.run, 2_000, lambda count, seed: sigkill.run(count, seed, hasty=True)),
    "powercut": Kind(powercut.run, 1_000, lambda count, seed: powercut.run(count, seed, flush=False)),
    "states": Kind(crash_states.run, 20_000, lambda count, seed: crash_states.run(count, seed, flush=False)),
    "errors": Kind(errors.run, errors.ALL, lambda count, seed: errors.run(count, seed, patient=False)),
    "damage": Kind(damage.run, 1_000, lambda count, seed: damage.run(count, seed, checked=False)),
    "full": Kind(full_disk.run, 1_000, lambda count, seed: full_disk.run(count, seed, declare=False)),
    "network": Kind(network.run, 500, lambda count, seed: network.run(count, seed, credulous=True)),
    "clock": Kind(clock.run, 120),
}


def tried(name: str, count: int, seed: int, *, control: bool = False) -> Outcome:
    """What came of it, in a process that has never used gRPC: those who fork may not have."""
    command = [sys.executable, "-m", "tests.faults.kinds", name, str(count), str(seed), str(int(control))]
    ran = subprocess.run(command, check=True, cwd=_ROOT, stdout=subprocess.PIPE)
    outcome: Outcome = pickle.loads(ran.stdout)
    return outcome


def _try(name: str, count: str, seed: str, control: str) -> None:
    kind = KINDS[name]
    run = kind.control if int(control) else kind.run
    assert run is not None, f"{name} has no control"
    outcome = run(int(count), int(seed))
    sys.stdout.buffer.write(pickle.dumps(outcome))


if __name__ == "__main__":
    _try(*sys.argv[1:])
