"""How a segment's sums are divided when it closes. No nanosecond and no millijoule is made or lost."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from .claiming import REST
from .reading import GapReason
from .share import share_out
from .tally import GONE, Busy, Quality, Shared, Sharers, Tally
from .usage import ClaimClass, Sharing
from .workload import Workload

PERCENT = 100
NS_PER_MS = 1_000_000


@dataclass(slots=True)
class Share:
    """A workload's part of a segment after the division."""

    allocated_ns: int = 0
    inferred_ns: int = 0
    blind_ns: int = 0
    energy_mj: int = 0


@dataclass(slots=True)
class Division:
    """Who has what, and what is nobody's."""

    shares: dict[Workload, Share] = field(default_factory=dict[Workload, Share])
    idle_ns: int = 0
    idle_energy_mj: int = 0
    unobserved_ns: defaultdict[str, int] = field(default_factory=lambda: defaultdict[str, int](int))
    unobserved_energy_mj: int = 0


def divide(tally: Tally) -> Division:
    """Divides the time and the energy of each set of sharers, and adds what was nobody's from the start."""
    found = Division(
        idle_ns=tally.idle_ns,
        idle_energy_mj=tally.idle_energy_mj,
        unobserved_energy_mj=tally.unobserved_energy_mj,
    )
    found.unobserved_ns.update(tally.unobserved_ns)
    for sharers, shared in tally.shared.items():
        weights = _weights(tally.sharing, sharers, shared)
        energy = share_out(shared.energy_mj, weights)
        for workload, part_ns in share_out(shared.ns, weights).items():
            _give(found, sharers, workload, part_ns, energy[workload])
    return found


def _give(found: Division, sharers: Sharers, workload: Workload, part_ns: int, energy_mj: int) -> None:
    if workload.kind == GONE:
        found.unobserved_ns[GapReason.DAEMON_DOWN.value] += part_ns
        found.unobserved_energy_mj += energy_mj
    elif workload == REST and sharers.quality is Quality.BLIND:
        found.unobserved_ns[sharers.reason] += part_ns
    elif workload == REST:
        found.idle_ns += part_ns
        found.idle_energy_mj += energy_mj
    else:
        share = found.shares.setdefault(workload, Share())
        share.allocated_ns += part_ns
        share.energy_mj += energy_mj
        share.inferred_ns += part_ns if sharers.quality is Quality.INFERRED else 0
        share.blind_ns += part_ns if sharers.quality is Quality.BLIND else 0


def _weights(sharing: Sharing, sharers: Sharers, shared: Shared) -> Mapping[Workload, int]:
    """By claimed units; or by the policy, equally where not everybody's weight is known all the time."""
    units = dict(sharers.units)
    if sharers.claim is not ClaimClass.PROCESS or sharing is Sharing.EQUAL:
        return units
    known = not shared.partly_unknown and shared.weights.keys() >= units.keys()
    return {workload: shared.weights[workload] for workload in units} if known else units


def divide_busy(tally: Tally) -> dict[Workload, int]:
    """Busy percent-ns of each workload: by its own samples, and equally where nobody's are known."""
    found = {workload: busy for workload, (busy, _) in tally.carried.items() if workload in tally.accounts}
    for workloads, busy in tally.busy.items():
        for workload, part in share_out(busy.percent_ns, _busy_weights(workloads, busy)).items():
            found[workload] = found.get(workload, 0) + part
    return found


def _busy_weights(workloads: tuple[Workload, ...], busy: Busy) -> Mapping[Workload, int]:
    return {workload: busy.own.get(workload, 0) for workload in workloads}


def remainders(tally: Tally) -> dict[Workload, tuple[int, int]]:
    """What division by the units leaves over: carried into the next segment, so that nothing drifts."""
    busy = divide_busy(tally)
    return {w: (busy.get(w, 0) % PERCENT, a.memory_byte_ns % NS_PER_MS) for w, a in tally.accounts.items()}
