"""A child's reply as the daemon reads it: checked for shape, since it comes from another process."""

from typing import Any, NamedTuple, cast

from ...model.reading import GapReason
from . import errors
from .codec import BrokenFrameError


class Told(NamedTuple):
    """A device as a child enumerated it, under its index; without a UUID if it could not be opened."""

    number: int
    uuid: str | None
    model: str
    memory_bytes: int
    bus_id: str
    notes: list[str]
    """Words for the operator; see notes.py."""


class Introduction(NamedTuple):
    """What a child says once, after it has initialised."""

    driver_version: str
    devices: list[Told]


PassedRow = tuple[int, list[int], int | None, tuple[int, int, int | None, int | None] | None]
"""Of a process in no list: pid, CLOCK_BOOTTIME in ns of its samples, per cent of the SMs, and what Accounted has."""


class InstanceRow(NamedTuple):
    """A MIG instance, told with its GPU."""

    uuid: str
    model: str
    memory_bytes: int
    compute: int
    memory: int
    code: int
    utilization_percent: int | None
    memory_used_bytes: int | None
    processes: list[int | None]

    @property
    def identity(self) -> tuple[object, ...]:
        """What is not said anew at every tick."""
        return self[:5]


class MigRow(NamedTuple):
    """What a GPU in MIG mode is cut into, of how many slices of compute and of memory."""

    compute_of: int
    memory_of: int
    instances: list[InstanceRow]


class Row(NamedTuple):
    """One device, by its index, in one reply; see codec.py."""

    number: int
    at_ns: int
    code: int
    utilization_percent: int | None
    memory_used_bytes: int | None
    energy_mj: int | None
    power_mw: int | None
    processes: list[int | None]
    """pid, memory in bytes, per cent of the SMs; three each."""
    passed: list[PassedRow]
    mig: MigRow | None


class XidsTold(NamedTuple):
    """Error events that a child found when it looked at ``at_ns``, the time before at ``since_ns``."""

    since_ns: int
    at_ns: int
    flat: list[int]
    """Index of the device and Xid code; two each."""


class Reply(NamedTuple):
    driver_calls: int
    """Those that every tick makes."""
    other_calls: int
    code: int
    host: Introduction | None
    rows: list[Row]
    why: str
    """Why the driver library cannot be loaded, in the loader's words; mostly empty."""
    rejected: dict[str, int]
    """How often something was not believed, by reason (junk.py)."""
    xids: XidsTold | None


_Shape = tuple[
    int, int, int, tuple[str, list[list[int]]] | None, list[list[Any]], str, dict[str, int], list[int] | None
]


def parse(message: object) -> Reply:
    """Raises BrokenFrameError on anything but a reply."""
    try:
        calls, others, code, host, rows, why, rejected, xids = cast("_Shape", message)
        told = None if host is None else Introduction(str(host[0]), [Told._make(device) for device in host[1]])
        found = None if xids is None else XidsTold._make(xids)
        return Reply(
            calls,
            others,
            code,
            told,
            [Row._make(row) if row[-1] is None else _cut(row) for row in rows],
            str(why),
            dict(rejected),
            found,
        )
    except (TypeError, ValueError, IndexError) as error:
        raise BrokenFrameError(f"not a reply: {error}") from error


def _cut(told: list[Any]) -> Row:
    """A row of a GPU in MIG mode. Raises TypeError or ValueError."""
    compute_of, memory_of, instances = told[-1]
    told[-1] = MigRow(compute_of, memory_of, [InstanceRow._make(one) for one in instances])
    return Row._make(told)


def unusable(reply: Reply, skipped: bool) -> tuple[GapReason, str] | None:
    """Why the child that said this will never read a device, and in words; None if it may.

    One device that alone says that the driver is gone is that device's gap. A host
    whose driver answers and sees no GPU has lost them all: GPUs do not go home.
    """
    if reply.code:
        return GapReason(errors.trouble_reason(reply.code)), errors.words_and_cure(reply.code, reply.why)
    if reply.host is not None and not reply.host.devices and not skipped:
        return GapReason(errors.trouble_reason(errors.GPU_NOT_FOUND)), errors.words_and_cure(errors.GPU_NOT_FOUND)
    codes = {row.code for row in reply.rows}
    if codes and codes <= errors.DRIVER_GONE:
        return GapReason.DRIVER_RELOAD, errors.words_and_cure(max(codes))
    return None
