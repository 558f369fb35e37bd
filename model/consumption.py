"""What a workload takes of its host apart from devices: counters at an instant, and what two of them say.

A reader (plugins/consumption) fills ``Consumed``; here is only arithmetic, in
integers. What could not be known is None, never 0: a sum with an unknown part is unknown.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from .interval import Interval
from .workload import Holder, ProcessId, Workload

NS_PER_MS: Final = 1_000_000


class Unknown(StrEnum):
    """Why a quantity could not be known."""

    HOST = "host"
    """The host's own processes have no group of their own: the root's counters are everybody's."""
    NO_GROUP = "no_group"
    """There is no cgroup of this workload, or it is gone."""
    NOT_ALONE = "not_alone"
    """Another workload's cgroup lies inside, or has the same path: the counters would be of both."""
    CONTROLLER_OFF = "controller_off"
    """The file is not there: the controller is not enabled for this group, or the kernel is too old."""
    NOT_PERMITTED = "not_permitted"
    UNREADABLE = "unreadable"
    """The file is there and is not what the kernel documents, is too long, or reading it failed."""
    NO_PROCESS = "no_process"
    """None of the workload's known processes lives any more."""
    HOST_NETWORK = "host_network"
    SHARED_NETWORK = "shared_network"
    """Another workload's processes are in the same network namespace."""
    SEVERAL_NETWORKS = "several_networks"
    """The workload's processes are in more than one network namespace."""


@dataclass(frozen=True, slots=True)
class Where:
    """Where a workload's counters are: its boundary as the attributor knows it, and processes that are in it."""

    boundary: str
    processes: tuple[ProcessId, ...] = ()
    """Whose network namespace is asked. Any order; sorted, the same process is asked each time."""


def places_of(holders: Iterable[Holder]) -> dict[Workload, Where]:
    """The workloads behind these holders. The boundary is that of the earliest started of them."""
    found: dict[Workload, list[Holder]] = {}
    for holder in holders:
        found.setdefault(holder.workload, []).append(holder)
    return {workload: _place_of(sorted(each, key=_start)) for workload, each in found.items()}


def _start(holder: Holder) -> tuple[int, int]:
    return holder.process.start_ns, holder.process.pid


def _place_of(holders: list[Holder]) -> Where:
    return Where(holders[0].boundary, tuple(holder.process for holder in holders))


@dataclass(frozen=True, slots=True)
class Consumed:
    """A workload's counters at one instant. ``at_ns`` is CLOCK_BOOTTIME, read just before them.

    ``memory_bytes`` is the working set now (usage less inactive file pages), the
    others count since their group or namespace began. Each is 0 to 2**64 - 1.
    """

    at_ns: int
    cpu_us: int | None = None
    memory_bytes: int | None = None
    io_read_bytes: int | None = None
    io_write_bytes: int | None = None
    net_rx_bytes: int | None = None
    net_tx_bytes: int | None = None
    group_inode: int | None = None
    """Another number is another group of the same name, and its counters began anew."""
    network_id: str | None = None
    """Another text is another network namespace, or other interfaces in it: counters began anew."""
    unknown: tuple[tuple[str, Unknown], ...] = ()
    """(cpu, memory, io or network, why) for each of these that could not be known."""


@dataclass(frozen=True, slots=True)
class Increment:
    """What was consumed in ``boot`` (CLOCK_BOOTTIME), as far as it is known.

    ``memory_byte_ns`` is the integral undivided; ``memory_byte_ms`` is what a
    record takes of it, and ``carried_byte_ns`` what is left for the next one.
    """

    boot: Interval
    cpu_us: int | None = None
    memory_byte_ns: int | None = None
    io_read_bytes: int | None = None
    io_write_bytes: int | None = None
    net_rx_bytes: int | None = None
    net_tx_bytes: int | None = None

    @property
    def memory_byte_ms(self) -> int | None:
        return None if self.memory_byte_ns is None else self.memory_byte_ns // NS_PER_MS

    @property
    def carried_byte_ns(self) -> int:
        """For ``carry`` of the next increment; 0 where memory is not known."""
        return 0 if self.memory_byte_ns is None else self.memory_byte_ns % NS_PER_MS


def increment(before: Consumed, now: Consumed, longest_ns: int) -> Increment | None:
    """What was consumed between two successive readings of one workload; None if ``now`` is not later.

    A counter is unknown where it is at either end, where it went backwards, or
    where the group (the namespace) is another one: it starts anew and is never
    negative. Memory is a sample: ``before``'s value holds until ``now``, and over
    more than ``longest_ns`` nothing is extrapolated.
    """
    if now.at_ns <= before.at_ns:
        return None
    same_group = before.group_inode is not None and before.group_inode == now.group_inode
    # The kernel gives the number of a namespace that is gone to the next one: a new group has a new namespace.
    same_network = before.network_id is not None and _network_of(before) == _network_of(now)
    boot = Interval(before.at_ns, now.at_ns)
    memory_holds = same_group and now.memory_bytes is not None and boot.length_ns <= longest_ns
    return Increment(
        boot,
        cpu_us=_grown(before.cpu_us, now.cpu_us, same_group),
        memory_byte_ns=_times(before.memory_bytes if memory_holds else None, boot.length_ns),
        io_read_bytes=_grown(before.io_read_bytes, now.io_read_bytes, same_group),
        io_write_bytes=_grown(before.io_write_bytes, now.io_write_bytes, same_group),
        net_rx_bytes=_grown(before.net_rx_bytes, now.net_rx_bytes, same_network),
        net_tx_bytes=_grown(before.net_tx_bytes, now.net_tx_bytes, same_network),
    )


def join(first: Increment, second: Increment) -> Increment:
    """Two neighbouring increments as one. Raises ValueError if there is a hole or an overlap between them."""
    if first.boot.end_ns != second.boot.start_ns:
        raise ValueError(f"not neighbours: {first.boot} and {second.boot}")
    return Increment(
        Interval(first.boot.start_ns, second.boot.end_ns),
        cpu_us=_plus(first.cpu_us, second.cpu_us),
        memory_byte_ns=_plus(first.memory_byte_ns, second.memory_byte_ns),
        io_read_bytes=_plus(first.io_read_bytes, second.io_read_bytes),
        io_write_bytes=_plus(first.io_write_bytes, second.io_write_bytes),
        net_rx_bytes=_plus(first.net_rx_bytes, second.net_rx_bytes),
        net_tx_bytes=_plus(first.net_tx_bytes, second.net_tx_bytes),
    )


def carry(increment: Increment, byte_ns: int) -> Increment:
    """The increment with what the record before it could not divide: no byte-nanosecond is lost between records."""
    return replace(increment, memory_byte_ns=_plus(increment.memory_byte_ns, byte_ns))


def _network_of(consumed: Consumed) -> tuple[str | None, int | None]:
    return consumed.network_id, consumed.group_inode


def _grown(before: int | None, now: int | None, same: bool) -> int | None:
    if before is None or now is None or not same or now < before:
        return None
    return now - before


def _times(value: int | None, length_ns: int) -> int | None:
    return None if value is None else value * length_ns


def _plus(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else one + other
