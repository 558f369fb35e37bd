"""What is sampled rather than seen to begin and end: each value holds from one sight to the next."""

from .holding import Sight
from .share import share_out
from .tally import Account, Shared, Tally
from .usage import Sharing
from .workload import Holder, Workload


def add_samples(tally: Tally, shared: Shared, sight: Sight, holders: tuple[Holder, ...], length_ns: int) -> None:
    """Adds memory and busy time of the holders over ``length_ns``, and the weights that a policy may go by."""
    accounts = tally.add_held(length_ns, holders)
    memory = _add_memory(tally, accounts, sight, holders, length_ns)
    busy = _add_busy(tally, accounts, sight, holders, length_ns)
    if tally.sharing is not Sharing.EQUAL:
        _weigh(shared, memory if tally.sharing is Sharing.MEMORY else busy)


def _add_memory(
    tally: Tally, accounts: dict[Workload, Account], sight: Sight, holders: tuple[Holder, ...], length_ns: int
) -> dict[Workload, int]:
    added: dict[Workload, int] = {}
    for holder in holders:
        memory_bytes = sight.memory_bytes.get(holder.process)
        if memory_bytes is not None:
            workload = tally.book_on(holder.workload)
            added[workload] = added.get(workload, 0) + memory_bytes * length_ns
    for workload, byte_ns in added.items():
        accounts[workload].memory_byte_ns += byte_ns
        accounts[workload].memory_known = True
    return added


def _add_busy(
    tally: Tally, accounts: dict[Workload, Account], sight: Sight, holders: tuple[Holder, ...], length_ns: int
) -> dict[Workload, int]:
    """The device's busy time, credited by the processes' own samples where there are any, else equally."""
    if sight.utilization_percent is None:
        return {}
    sampled = dict.fromkeys(accounts, 0)
    for holder in holders:
        sampled[tally.book_on(holder.workload)] += sight.sm_percent.get(holder.process, 0)
    parts = share_out(sight.utilization_percent * length_ns, sampled)
    for workload, account in accounts.items():
        account.busy_percent_ns += parts[workload]
        account.busy_known_ns += length_ns
    return parts


def _weigh(shared: Shared, weights: dict[Workload, int]) -> None:
    for workload, weight in weights.items():
        shared.weights[workload] = shared.weights.get(workload, 0) + weight
    shared.partly_unknown |= not weights
