"""The law of a GPU in MIG mode, in slices times nanoseconds: its instances and what nobody has are all of it."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from ...proto.v1 import usage_pb2 as wire
from .course import DeviceLife


class Parent(NamedTuple):
    """The GPU, in one boot."""

    host_id: str
    boot_id: str
    device_id: str


class Part(NamedTuple):
    """A row of an instance, or of the GPU with what nobody has: compute and memory."""

    start_ns: int
    end_ns: int
    compute: int
    memory: int
    compute_of: int
    memory_of: int


@dataclass(slots=True)
class Families:
    """Rows of GPUs in MIG mode and of their instances, newest revisions, until they are added up."""

    wholes: dict[tuple[Parent, int], Part] = field(default_factory=dict[tuple[Parent, int], Part])
    parts: dict[tuple[Parent, DeviceLife, int], Part] = field(
        default_factory=dict[tuple[Parent, DeviceLife, int], Part]
    )

    def take(self, life: DeviceLife, segment: wire.Segment, row: wire.DeviceWindow) -> None:
        start_ns, end_ns = segment.boot_start_ns, segment.boot_start_ns + segment.length_ns
        if segment.HasField("partition"):
            of = segment.partition
            parent = Parent(life.host_id, life.boot_id, life.device_id)
            self.wholes[parent, start_ns] = Part(
                start_ns, end_ns, row.stranded_compute_ns, row.stranded_memory_ns, of.compute_of, of.memory_of
            )
        elif segment.HasField("slices"):
            has = segment.slices
            parent = Parent(life.host_id, life.boot_id, has.parent_id)
            self.parts[parent, life, start_ns] = Part(
                start_ns, end_ns, has.compute, has.memory, has.compute_of, has.memory_of
            )

    def check(self) -> Iterator[str]:
        """Each row of a GPU in MIG mode against its instances'."""
        instances = self._by_parent()
        for (parent, _), whole in sorted(self.wholes.items()):
            parts = instances.get(parent, [])
            place = f"{parent.host_id}/{parent.boot_id}: {parent.device_id} at {whole.start_ns}"
            yield from (f"{place} {what}" for what in _check(whole, parts))

    def _by_parent(self) -> dict[Parent, list[Part]]:
        found = defaultdict[Parent, list[Part]](list)
        for (parent, _, _), part in self.parts.items():
            found[parent].append(part)
        return {parent: sorted(parts) for parent, parts in found.items()}


def _check(whole: Part, parts: list[Part]) -> Iterator[str]:
    length_ns = whole.end_ns - whole.start_ns
    compute_ns, memory_ns = whole.compute, whole.memory
    for part in _overlapping(parts, whole):
        common_ns = min(part.end_ns, whole.end_ns) - max(part.start_ns, whole.start_ns)
        compute_ns += part.compute * common_ns
        memory_ns += part.memory * common_ns
        if (part.compute_of, part.memory_of) != (whole.compute_of, whole.memory_of):
            yield f"has an instance of {part.compute_of} and {part.memory_of} slices"
    if compute_ns != whole.compute_of * length_ns:
        yield f"accounts for {compute_ns} of {whole.compute_of} compute slices for {length_ns} ns"
    if memory_ns != whole.memory_of * length_ns:
        yield f"accounts for {memory_ns} of {whole.memory_of} memory slices for {length_ns} ns"


def _overlapping(parts: list[Part], whole: Part) -> Iterator[Part]:
    """No row is longer than the longest window there is."""
    longest_ns = 2 * 300 * 10**9
    for part in parts[bisect_left(parts, (whole.start_ns - longest_ns,)) :]:
        if part.start_ns >= whole.end_ns:
            return
        if part.end_ns > whole.start_ns:
            yield part
