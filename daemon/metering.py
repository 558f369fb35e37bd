"""The actor between readings and the log: attributes, meters, keeps, and only then tells anyone."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto

import trio

from ..model.consumption import Consumed
from ..model.meter import Meter
from ..model.reading import GapReason, HostReading
from ..model.usage import Batch
from ..model.workload import Attribution, Workload
from ..plugins.ports import Attributor, Consumption, Telemetry
from .claims import Claims
from .guard import guarded
from .keeper import Keeper
from .mailbox import Mailbox

CHECKPOINT_EVERY_S = 20.0
"""How old the checkpoint may grow while nothing begins or ends; an edge is written at once."""
RETRY_EVERY_S = 5.0
"""How often a disk that has failed is tried, beside what closes meanwhile."""


class Retired(Enum):
    """How it went with a device that an operator says will not come back."""

    DONE = auto()
    UNKNOWN = auto()
    ALIVE = auto()
    """It was read well just now, and so is not gone."""


@dataclass(slots=True)
class _Retiring:
    device: str
    outcome: Retired = Retired.UNKNOWN
    done: trio.Event = field(default_factory=trio.Event)


@dataclass(slots=True)
class Metering:
    """One host's meter and what feeds it. A life that crashes goes on from the last checkpoint."""

    readings: Mailbox[HostReading]
    attributor: Attributor
    keeper: Keeper
    new_meter: Callable[[], Meter]
    on_kept: Callable[[], None]
    """Called when frames were committed: the uplink has something to say."""
    on_tick: Callable[[HostReading, Attribution], None]
    """Called when a reading has gone all the way: the only thing that counts as progress."""
    telemetry: Telemetry | None = None
    claims: Claims = field(default_factory=Claims)
    consumption: Consumption | None = None
    meter: Meter | None = None
    _retiring: list["_Retiring"] = field(default_factory=list["_Retiring"])
    _kept_at_s: float = field(default=-CHECKPOINT_EVERY_S)
    _kept_edges: int = -1

    async def run(self) -> None:
        """Until the mailbox is closed and empty; then closes every segment where it stands."""
        meter = self.meter = await self._resume()
        async with self.readings.reading() as readings:
            async for reading in readings:
                attribution = guarded("attributor", self.attributor.attribute, reading)
                if attribution is None:
                    continue  # the reading is lost; if more are, their time is a gap
                consumed = self._read_consumption(meter, reading, attribution)
                closed = meter.observe(reading, attribution, self.claims.told(reading), consumed)
                retired = self._retire(meter)
                await self._keep(meter, closed, always=bool(retired))
                for one in retired:
                    one.done.set()
                if self.telemetry is not None:
                    guarded("telemetry", self.telemetry.observe, reading)
                self.on_tick(reading, attribution)
        await self._keep(meter, meter.cut(), always=True)
        if await self.keeper.sign_off(meter):
            self.on_kept()

    def _read_consumption(
        self, meter: Meter, reading: HostReading, attribution: Attribution
    ) -> Mapping[Workload, Consumed] | None:
        """None where nobody reads it; a reader that fails leaves unknown what it would have told."""
        if self.consumption is None:
            return None
        due = meter.due(reading, attribution)
        return (guarded("consumption", self.consumption.read, due) or {}) if due else {}

    async def retire(self, device: str) -> "Retired":
        """Says, after the next reading, that a device will not come back. Returns when that is kept."""
        one = _Retiring(device)
        self._retiring.append(one)
        await one.done.wait()
        return one.outcome

    def _retire(self, meter: Meter) -> list["_Retiring"]:
        asked, self._retiring = self._retiring, []
        for one in asked:
            one.outcome = _retire(meter, one.device)
        return asked

    async def _resume(self) -> Meter:
        """Goes on where a former life of this boot stood; ends what another boot left open."""
        former, meter = await self.keeper.restore(), self.new_meter()
        if former is None or former.host_id != meter.host_id:
            return meter
        if former.boot_id == meter.boot_id:
            former.reconfigure(meter.window_length_ns, meter.sharing)
            return former
        ended = former.cut()
        meter.follow(former, GapReason.REBOOT.value)
        await self._keep(meter, ended or Batch(former.host_id, former.boot_id), always=True)
        return meter

    async def _keep(self, meter: Meter, batch: Batch | None, always: bool = False) -> None:
        patience_s = RETRY_EVERY_S if self.keeper.waiting else CHECKPOINT_EVERY_S
        old = trio.current_time() - self._kept_at_s >= patience_s
        if batch is None and not (always or old or meter.edges != self._kept_edges):
            return
        kept = await self.keeper.keep(meter, batch)
        self._kept_at_s, self._kept_edges = trio.current_time(), meter.edges
        if kept:
            self.on_kept()
        if self.telemetry is not None:
            for committed in kept:
                guarded("telemetry", self.telemetry.account, committed)


def _retire(meter: Meter, device: str) -> Retired:
    """``device`` may lack its vendor, as the vendor's own tools show it."""
    known = next((one for one in meter.devices if device in (one, one.partition(":")[2])), None)
    if known is None:
        return Retired.UNKNOWN
    if meter.devices[known].gap_reason in (None, GapReason.RELEASED):
        return Retired.ALIVE  # of one that nobody may ask while the driver is released, nobody knows
    return Retired.DONE if meter.retire(known) else Retired.UNKNOWN
