"""The answer of GET /v1/conservation: does every nanosecond of every device add up, and do its segments tile?"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ..model.interval import Interval
from ..storage.projection_conservation import MOST_FAULTS, Account, DeviceId, Fault, accounts, faults
from ..storage.projection_reader import Snapshot
from ..storage.usage_query import Scope
from .instants import format_instant

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ConservationRequest:
    span: Interval
    host_id: str | None
    offset: int
    limit: int
    undeclared: bool = False
    """Leave out holes that were declared as gaps."""


def answer_conservation(request: ConservationRequest, snapshot: Snapshot) -> Json:
    """``devices`` is a page of ``device_count``; ``summary`` is over all of them."""
    scope = Scope(request.span, snapshot.position)
    found = accounts(snapshot, scope, request.host_id)
    by_device: defaultdict[DeviceId, list[Fault]] = defaultdict(list)
    for fault in faults(snapshot, scope, request.host_id, undeclared=request.undeclared):
        by_device[fault.device].append(fault)
    page = sorted(found)[request.offset : request.offset + request.limit]
    return {
        "range_from": format_instant(request.span.start_ns),
        "range_to": format_instant(request.span.end_ns),
        "as_of": str(scope.as_of),
        "offset": request.offset,
        "limit": request.limit,
        "device_count": len(found),
        "devices": [_device(device, found[device], by_device[device]) for device in page],
        "summary": _summary(found, by_device),
    }


def _device(device: DeviceId, account: Account, its_faults: Sequence[Fault]) -> Json:
    return {
        "host": device.host_id,
        "device": device.device_id,
        "gpu_model": account.gpu_model,
        "existed_ns": str(account.existed_ns),
        "allocated_ns": str(account.allocated_ns),
        "voided_ns": str(account.voided_ns),
        "idle_ns": str(account.idle_ns),
        "unobserved_ns": str(_unobserved_ns(account)),
        "unobserved": {reason: str(ns) for reason, ns in account.unobserved_ns.items()},
        "records": account.records,
        "rows": account.rows,
        "holes": [_stretch(fault) for fault in its_faults if not fault.overlap],
        "overlaps": [_stretch(fault) for fault in its_faults if fault.overlap],
        "energy": _energy(account),
        **_mig(account),
        "exact": _is_exact(account, its_faults),
    }


def _mig(account: Account) -> Json:
    """Of an instance its GPU; of a GPU in MIG mode its slices, in slices times ns."""
    if account.parent_id:
        return {"parent": account.parent_id}
    if account.slices is None:
        return {}
    return {"slices": {name: str(ns) for name, ns in asdict(account.slices).items()}}


def _stretch(fault: Fault) -> Json:
    """In CLOCK_BOOTTIME of its boot: the only clock that a hole has for certain."""
    return {
        "boot_id": fault.boot_id,
        "generation": fault.generation,
        "boot_from_ns": str(fault.boot.start_ns),
        "boot_to_ns": str(fault.boot.end_ns),
        "ns": str(fault.boot.length_ns),
    }


def _energy(account: Account) -> Json | None:
    """None: no row of the device has a counter."""
    if account.counted_mj is None:
        return None
    return {
        "start_mj": _text(account.energy_start_mj),
        "end_mj": _text(account.energy_end_mj),
        "counted_mj": str(account.counted_mj),
        "attributed_mj": str(account.attributed_mj),
        "voided_mj": str(account.voided_mj),
        "idle_mj": str(account.idle_mj),
        "unobserved_mj": str(account.unobserved_mj),
    }


def _text(amount: int | None) -> str | None:
    return None if amount is None else str(amount)


def _is_exact(account: Account, its_faults: Sequence[Fault]) -> bool:
    sliced = account.slices is None or not any(account.slices.differences_ns)
    return not its_faults and sliced and _difference_ns(account) == 0 and _difference_mj(account) == 0


def _difference_ns(account: Account) -> int:
    spent_ns = account.allocated_ns + account.voided_ns + account.idle_ns + _unobserved_ns(account)
    return spent_ns - account.existed_ns


def _difference_mj(account: Account) -> int:
    spent_mj = account.attributed_mj + account.voided_mj + account.idle_mj + account.unobserved_mj
    return 0 if account.counted_mj is None else spent_mj - account.counted_mj


def _unobserved_ns(account: Account) -> int:
    return sum(account.unobserved_ns.values())


def _summary(found: Mapping[DeviceId, Account], by_device: Mapping[DeviceId, Sequence[Fault]]) -> Json:
    """Times are of whole GPUs; what instances have are slices of one, and stand in ``mig`` by themselves.

    existed = allocated + voided + idle + unobserved + mig.existed
    """
    all_faults = [fault for each in by_device.values() for fault in each]
    whole = [account for account in found.values() if not account.parent_id]
    reasons: Counter[str] = Counter()
    for account in whole:
        reasons.update(account.unobserved_ns)
    exact = all(_is_exact(account, by_device.get(device, ())) for device, account in found.items())
    return {
        "devices": len(found),
        "existed_ns": str(sum(account.existed_ns + _mig_ns(account) for account in whole)),
        "allocated_ns": str(sum(account.allocated_ns for account in whole)),
        "voided_ns": str(sum(account.voided_ns for account in whole)),
        "idle_ns": str(sum(account.idle_ns for account in whole)),
        "unobserved_ns": str(sum(reasons.values())),
        "unobserved": {reason: str(ns) for reason, ns in sorted(reasons.items())},
        "records": sum(account.records for account in found.values()),
        "rows": sum(account.rows for account in found.values()),
        "holes": sum(not fault.overlap for fault in all_faults),
        "overlaps": sum(fault.overlap for fault in all_faults),
        "more_faults": len(all_faults) >= MOST_FAULTS,
        **_mig_summary(found.values()),
        "exact": exact and not any(fault.device not in found for fault in all_faults),
    }


def _mig_ns(account: Account) -> int:
    return account.slices.existed_ns if account.slices is not None else 0


def _mig_summary(accounts: Iterable[Account]) -> Json:
    everybody = list(accounts)
    gpus = [account.slices for account in everybody if account.slices is not None]
    if not gpus:
        return {}
    instances = sum(bool(account.parent_id) for account in everybody)
    names = (
        "existed_ns",
        "compute_ns",
        "had_compute_ns",
        "stranded_compute_ns",
        "memory_ns",
        "had_memory_ns",
        "stranded_memory_ns",
    )
    sums = {name: str(sum(getattr(gpu, name) for gpu in gpus)) for name in names}
    return {"mig": {"gpus": len(gpus), "instances": instances, **sums}}
