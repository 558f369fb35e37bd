"""Ledgers that simulated hosts have filled, made once."""

from functools import cache

import pytest

from gputally.simulator.seeds.host import live
from gputally.simulator.seeds.runs import Length, be_quiet

RICH = (13, 21)
"""Seeds in whose quarter of an hour there are MIG instances, leases, reboots, gaps and clock steps."""


@cache
def ledger_of(seed: int) -> tuple[bytes, ...]:
    be_quiet()
    return live(Length(15).script(seed)).ledger


@pytest.fixture(params=RICH)
def ledger(request: pytest.FixtureRequest) -> list[bytes]:
    return list(ledger_of(request.param))
