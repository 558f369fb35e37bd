"""What is exported: names, units and attributes. Integers become floats here and nowhere before.

Hardware follows the semantic conventions for GPUs (opentelemetry.io/docs/specs/semconv/hardware/gpu,
status Development, as of version 1.44); what they do not name is under ``gputally``.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from opentelemetry.metrics import CallbackOptions, Meter, Observation

from ...model.interval import NS_PER_S
from ...model.reading import Device, DeviceGap, DeviceReading, GapReason
from .sums import Party, Sums
from .view import HostView, Look

_MJ_PER_J: Final = 1_000
_PERCENT: Final = 100
_VENDORS: Final = {"nvidia": "NVIDIA"}
_STATES: Final = ("ok", "degraded", "failed")
"""Of the conventions' states those that a driver's answer can tell."""
_ALARMS: Final = ("no_gpus", "gpu_missing", "uplink_refused", "uplink_forked")

Attributes = dict[str, str]


def create_instruments(meter: Meter, view: HostView, sums: Sums) -> None:
    """Registers every instrument; each collection asks ``view`` and ``sums`` anew."""
    devices = _OfDevices(view)
    meter.create_observable_gauge(
        "hw.gpu.utilization", [devices.utilization], "1", "Fraction of time spent in the GPU's general task."
    )
    meter.create_observable_up_down_counter("hw.gpu.memory.usage", [devices.memory_usage], "By", "GPU memory in use.")
    meter.create_observable_up_down_counter("hw.gpu.memory.limit", [devices.memory_limit], "By", "GPU memory.")
    meter.create_observable_counter("hw.energy", [devices.energy], "J", "Energy consumed by the GPU.")
    meter.create_observable_up_down_counter(
        "hw.status", [devices.status], "1", "1 for the state the GPU is in, 0 for the others."
    )
    meter.create_observable_gauge(
        "gputally.alarms", [devices.alarms], "{device}", "Devices that an alarm stands for; 1 for one of the uplink."
    )
    _create_tenant_instruments(meter, _OfTenants(sums))


def _create_tenant_instruments(meter: Meter, tenants: "_OfTenants") -> None:
    count = meter.create_observable_counter
    count("gputally.allocated.time", [tenants.allocated], "s", "GPU time allocated to a tenant. Not for billing.")
    count("gputally.busy.time", [tenants.busy], "s", "GPU utilization credited to a tenant, integrated.")
    count("gputally.energy", [tenants.energy], "J", "GPU energy spent by a tenant.")
    count("gputally.idle.time", [tenants.idle], "s", "GPU time that nobody had.")
    count("gputally.unobserved.time", [tenants.unobserved], "s", "GPU time that could not be observed.")
    count(
        "gputally.telemetry.folded", [tenants.folded], "{record}", "Records summed under __other__ for want of series."
    )
    count("gputally.telemetry.revisions", [tenants.revisions], "{record}", "Later revisions, which the sums leave out.")


@dataclass(frozen=True, slots=True)
class _OfDevices:
    view: HostView

    def utilization(self, _: CallbackOptions) -> Iterable[Observation]:
        for reading, attributes in _readings(self.view.look()):
            if reading.utilization_percent is not None:
                task = {**attributes, "hw.gpu.task": "general"}
                yield Observation(reading.utilization_percent / _PERCENT, task)

    def memory_usage(self, _: CallbackOptions) -> Iterable[Observation]:
        for reading, attributes in _readings(self.view.look()):
            if reading.memory_used_bytes is not None:
                yield Observation(reading.memory_used_bytes, attributes)

    def memory_limit(self, _: CallbackOptions) -> Iterable[Observation]:
        for device in self.view.look().devices.values():
            yield Observation(device.memory_bytes, describe_device(device))

    def energy(self, _: CallbackOptions) -> Iterable[Observation]:
        look = self.view.look()
        for device in look.devices.values():
            if device.device_id in look.energy_mj:
                yield Observation(look.energy_mj[device.device_id] / _MJ_PER_J, describe_device(device))

    def status(self, _: CallbackOptions) -> Iterable[Observation]:
        look = self.view.look()
        for seen in look.seen:
            if device := look.devices.get(seen.device_id):
                yield from _states(seen, describe_device(device))

    def alarms(self, _: CallbackOptions) -> Iterable[Observation]:
        """Zeros too, so that a rule can tell "no alarm" from "no daemon"."""
        now = self.view.alarms
        return [Observation(now.get(kind, 0), {"gputally.alarm": kind}) for kind in _ALARMS]


@dataclass(frozen=True, slots=True)
class _OfTenants:
    sums: Sums

    def allocated(self, _: CallbackOptions) -> Iterable[Observation]:
        return _times(self.sums.totals.allocated_ns)

    def busy(self, _: CallbackOptions) -> Iterable[Observation]:
        return _times(self.sums.totals.busy_ns)

    def energy(self, _: CallbackOptions) -> Iterable[Observation]:
        for party, energy_mj in self.sums.totals.energy_mj.items():
            yield Observation(energy_mj / _MJ_PER_J, describe_party(party))

    def idle(self, _: CallbackOptions) -> Iterable[Observation]:
        for gpu_model, length_ns in self.sums.totals.idle_ns.items():
            yield Observation(length_ns / NS_PER_S, {"hw.model": gpu_model})

    def unobserved(self, _: CallbackOptions) -> Iterable[Observation]:
        for (gpu_model, reason), length_ns in self.sums.totals.unobserved_ns.items():
            yield Observation(length_ns / NS_PER_S, {"hw.model": gpu_model, "gputally.reason": reason})

    def folded(self, _: CallbackOptions) -> Iterable[Observation]:
        return [Observation(self.sums.totals.folded)]

    def revisions(self, _: CallbackOptions) -> Iterable[Observation]:
        return [Observation(self.sums.totals.revisions)]


def _times(sums_ns: dict[Party, int]) -> Iterator[Observation]:
    return (Observation(length_ns / NS_PER_S, describe_party(party)) for party, length_ns in sums_ns.items())


def describe_party(party: Party) -> Attributes:
    """``hw.model`` as for hardware, so that both can be joined; the host is in the resource."""
    return {"gputally.tenant": party.tenant, "gputally.project": party.project, "hw.model": party.gpu_model}


def describe_device(device: Device) -> Attributes:
    """``hw.id`` is the UUID as the vendor's own tools show it; the vendor is an attribute of its own."""
    vendor, _, uuid = device.device_id.rpartition(":")
    return {
        "hw.id": uuid,
        "hw.type": "gpu",
        "hw.name": "-".join(uuid.split("-")[:2]),
        "hw.vendor": _VENDORS.get(vendor, vendor),
        "hw.model": device.model,
    }


def _readings(look: Look) -> Iterator[tuple[DeviceReading, Attributes]]:
    for seen in look.seen:
        device = look.devices.get(seen.device_id)
        if device is not None and isinstance(seen, DeviceReading):
            yield seen, describe_device(device)


def _states(seen: DeviceReading | DeviceGap, attributes: Attributes) -> Iterator[Observation]:
    for state in _STATES:
        yield Observation(int(state == _state(seen)), {**attributes, "hw.state": state})


def _state(seen: DeviceReading | DeviceGap) -> str:
    if isinstance(seen, DeviceReading):
        return "ok"
    return "failed" if seen.reason is GapReason.GPU_LOST else "degraded"
