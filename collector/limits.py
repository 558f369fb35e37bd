"""How often, and how many at once, one caller may ask. Holds no socket and reads no clock but the one it is given."""

import time
from collections import OrderedDict
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import Final

from ..model.interval import NS_PER_S
from .problems import TryLater

MOST_CALLERS: Final = 10_000
"""Remembered at once; beyond it, whoever has not asked for longest begins anew. Not while being answered: those are
remembered beyond the bound, and are no more than the server holds connections."""
_MINUTE_NS: Final = 60 * NS_PER_S


@dataclass(slots=True)
class _Known:
    credit_ns: int
    """Time that may still be spent: each request takes its share of a minute."""
    seen_ns: int
    at_once: int = 0


class Limits:
    """For the event loop. A minute's requests may come all at once; they come back as the minute passes."""

    def __init__(self, per_minute: int, at_once: int, now_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._cost_ns, self._most_ns = _MINUTE_NS // per_minute, _MINUTE_NS // per_minute * per_minute
        self._per_minute, self._at_once, self._now_ns = per_minute, at_once, now_ns
        self._known: OrderedDict[str, _Known] = OrderedDict()

    @contextmanager
    def taken(self, caller: str) -> Generator[None]:
        """Around the answer to one request. Raises TryLater (429)."""
        known = self._find(caller)
        if known.credit_ns < self._cost_ns:
            wait_s = -(-(self._cost_ns - known.credit_ns) // NS_PER_S)
            raise TryLater(429, "too-often", f"more than {self._per_minute} requests a minute", wait_s)
        known.credit_ns -= self._cost_ns
        if known.at_once >= self._at_once:
            raise TryLater(429, "too-many-at-once", f"{self._at_once} requests of yours are being answered already", 1)
        known.at_once += 1
        try:
            yield
        finally:
            known.at_once -= 1

    def _find(self, caller: str) -> _Known:
        now_ns = self._now_ns()
        known = self._known.setdefault(caller, _Known(self._most_ns, now_ns))
        self._known.move_to_end(caller)
        known.credit_ns = min(self._most_ns, known.credit_ns + now_ns - known.seen_ns)
        known.seen_ns = now_ns
        if len(self._known) > MOST_CALLERS:
            self._forget(caller)
        return known

    def _forget(self, but: str) -> None:
        """The oldest who is not being answered: with him would go the bound on his answers at once."""
        oldest = next((name for name, known in self._known.items() if not known.at_once and name != but), None)
        if oldest is not None:
            del self._known[oldest]


def network_of(address: str) -> str:
    """Whose address it is: of IPv6 the first 64 bits, since whoever has one address has all of those (RFC 6177)."""
    try:
        told = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if not isinstance(told, IPv6Address):
        return address
    return str(told.ipv4_mapped or IPv6Address(int(told) >> 64 << 64))
