"""How far faults may reach: outside of it nothing may be unobserved or inferred, whatever the meter says."""

from collections.abc import Iterable, Iterator
from itertools import pairwise

from .script import Ending, S, Script

CHECKPOINT_NS = 20 * S
"""How old a checkpoint may be."""

Stretch = tuple[int, int]


def down(script: Script) -> list[Stretch]:
    """When the daemon was not there, or what it had seen was lost with it, as far as it may be bridged by inferring."""
    return _joined(_down(script))


def blind(script: Script, device_id: str) -> list[Stretch]:
    """When the device may be unobserved."""
    return _joined(_down(script))


def within(stretches: Iterable[Stretch], start_ns: int, end_ns: int) -> int:
    """How much of ``[start_ns, end_ns)`` they cover; they do not overlap."""
    return sum(max(min(until_ns, end_ns) - max(from_ns, start_ns), 0) for from_ns, until_ns in stretches)


def tick_ns(script: Script) -> int:
    """The longest way from one reading to the next."""
    return round(max(script.every_s, script.idle_every_s) * S) + script.answer_ns


def _down(script: Script) -> Iterator[Stretch]:
    for life, following in pairwise(script.lives):
        before_ns = tick_ns(script) if life.ending is Ending.STOPPED else CHECKPOINT_NS + 2 * tick_ns(script)
        yield life.end_ns - before_ns, following.start_ns + 2 * tick_ns(script)


def _joined(stretches: Iterable[Stretch]) -> list[Stretch]:
    found: list[Stretch] = []
    for from_ns, until_ns in sorted(stretches):
        if found and from_ns <= found[-1][1]:
            found[-1] = found[-1][0], max(found[-1][1], until_ns)
        else:
            found.append((from_ns, until_ns))
    return found
