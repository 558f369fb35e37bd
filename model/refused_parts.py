"""Cutting what was given up at edges of windows, so that it can be told a part at a time."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from .counter import Counter
from .interval import Interval
from .usage import DeviceWindow, HostWindow

Stretch = TypeVar("Stretch", DeviceWindow, HostWindow)


def first_windows(stretches: Sequence[Stretch], most: int) -> tuple[tuple[Stretch, ...], tuple[Stretch, ...]]:
    """(the oldest, which touch about ``most`` windows together, and the rest): no time is lost or doubled."""
    told: list[Stretch] = []
    rest: list[Stretch] = []
    for stretch in stretches:
        if most < 1:
            rest.append(stretch)
            continue
        edge_ns, end_ns = _edge_ns(stretch, most), _boot(stretch).end_ns
        first, behind = _cut(stretch, edge_ns) if edge_ns < end_ns else (stretch, None)
        told.append(first)
        if behind is not None:
            rest.append(behind)
        most -= max(1, most - max(edge_ns - end_ns, 0) // _length_ns(stretch))
    return tuple(told), tuple(rest)


def _boot(stretch: DeviceWindow | HostWindow) -> Interval:
    return stretch.segment.boot if isinstance(stretch, DeviceWindow) else stretch.boot


def _length_ns(stretch: DeviceWindow | HostWindow) -> int:
    return stretch.segment.window_length_ns if isinstance(stretch, DeviceWindow) else stretch.window_length_ns


def _edge_ns(stretch: DeviceWindow | HostWindow, windows: int) -> int:
    """Where, on CLOCK_BOOTTIME, the window ends that is ``windows`` ones from its first, that one counted."""
    at = stretch.segment if isinstance(stretch, DeviceWindow) else stretch
    offset_ns = at.wall_start_ns - at.boot.start_ns
    return max(at.window_start_ns + windows * at.window_length_ns - offset_ns, at.boot.start_ns + 1)


def _cut(stretch: Stretch, at_ns: int) -> tuple[Stretch, Stretch]:
    if isinstance(stretch, DeviceWindow):
        return _cut_row(stretch, at_ns)
    return _cut_host(stretch, at_ns)


def _cut_host(stretch: HostWindow, at_ns: int) -> tuple[HostWindow, HostWindow]:
    boot = stretch.boot
    wall_ns = stretch.wall_start_ns + at_ns - boot.start_ns
    rest = replace(stretch, boot=Interval(at_ns, boot.end_ns), wall_start_ns=wall_ns, window_start_ns=wall_ns)
    return replace(stretch, boot=Interval(boot.start_ns, at_ns)), rest


def _cut_row(stretch: DeviceWindow, at_ns: int) -> tuple[DeviceWindow, DeviceWindow]:
    """Energy and stranded slices are spread evenly, and add up to what the whole had."""
    whole = stretch.segment
    boot, length_ns = whole.boot, whole.boot.length_ns
    done_ns = at_ns - boot.start_ns
    wall_ns = whole.wall_start_ns + done_ns
    counter = Counter(boot.start_ns, boot.end_ns, stretch.energy_start_mj, stretch.energy_end_mj)
    counted = stretch.energy_start_mj is not None and stretch.energy_end_mj is not None
    compute, memory = (n * done_ns // length_ns for n in (stretch.stranded_compute_ns, stretch.stranded_memory_ns))
    first = replace(
        stretch,
        segment=replace(whole, boot=Interval(boot.start_ns, at_ns)),
        stranded_compute_ns=compute,
        stranded_memory_ns=memory,
        energy_end_mj=counter.at_mj(at_ns) if counted else stretch.energy_end_mj,
    )
    rest = replace(
        stretch,
        segment=replace(whole, boot=Interval(at_ns, boot.end_ns), wall_start_ns=wall_ns, window_start_ns=wall_ns),
        stranded_compute_ns=stretch.stranded_compute_ns - compute,
        stranded_memory_ns=stretch.stranded_memory_ns - memory,
        energy_start_mj=counter.at_mj(at_ns) if counted else stretch.energy_start_mj,
    )
    return first, rest
