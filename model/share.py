"""Splitting a whole into parts that add up to it."""

from collections.abc import Mapping
from typing import Any, Protocol, TypeVar


class _Ordered(Protocol):
    def __lt__(self, other: Any, /) -> bool: ...
    def __hash__(self) -> int: ...


K = TypeVar("K", bound=_Ordered)


def share_out(total: int, weights: Mapping[K, int]) -> dict[K, int]:
    """Split ``total`` by weight so that the parts add up to exactly ``total``.

    Largest remainder, ties by key: two machines given the same readings must
    write the same nanosecond into the same ledger line. Weights that are all
    zero say nothing about who had more, so the parts are then equal. No keys,
    no parts: the caller keeps the total.

    Raises ValueError for a negative total or weight.
    """
    if total < 0 or any(weight < 0 for weight in weights.values()):
        raise ValueError(f"a negative amount cannot be shared: {total} by {dict(weights)}")
    whole = sum(weights.values())
    known = weights if whole else dict.fromkeys(weights, 1)
    whole = whole or len(known)
    parts = {key: total * weight // whole for key, weight in known.items()}
    missing = total - sum(parts.values()) if parts else 0
    by_remainder = sorted(known, key=lambda key: (-(total * known[key] % whole), key))
    for key in by_remainder[:missing]:
        parts[key] += 1
    return parts
