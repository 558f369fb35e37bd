"""What a shape is: how one manager lays out its cgroups, seen from the root of the tree.

A shape answers from the *start* of a path and never searches inside it: below a
trusted boundary its tenant may create a folder with any name, somebody else's
container included.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

Parts = Sequence[str]
"""The components of a path from the root, without empty ones."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a shape read. ``boundary`` is how many components the tenant could not have made up."""

    id: str
    boundary: int
    uid: int | None = None
    unit: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True)
class Shape:
    """``kind`` is the workload's; ``find`` is pure, answers None for what is not its own, never raises."""

    kind: str
    find: Callable[[Parts], Found | None]


CONTAINER_ID = re.compile(r"[0-9a-f]{64}", re.ASCII)
_ESCAPED = re.compile(r"\\x([0-9a-f]{2})", re.ASCII)


def count_slices(parts: Parts) -> int:
    """How many leading components are systemd slices. They cannot be delegated: only root makes them."""
    for index, part in enumerate(parts):
        if not part.endswith(".slice"):
            return index
    return len(parts)


def unit_after_slices(parts: Parts) -> tuple[str, int]:
    """The first component that is no slice, or "", and how many components it takes to reach it."""
    slices = count_slices(parts)
    return (parts[slices], slices + 1) if slices < len(parts) else ("", 0)


def unescape(unit: str) -> str:
    r"""``machine-qemu\x2d1`` as systemd was asked for it; see systemd-escape(1)."""
    return _ESCAPED.sub(lambda match: chr(int(match[1], 16)), unit)


def match_first(parts: Parts, pattern: re.Pattern[str], *, first: int, last: int) -> tuple[re.Match[str], int] | None:
    """The outermost component from ``first`` to ``last`` that is ``pattern`` as a whole, and its boundary."""
    for index in range(first, min(last + 1, len(parts))):
        if match := pattern.fullmatch(parts[index]):
            return match, index + 1
    return None
