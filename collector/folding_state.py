"""What the projector remembers between entries: hosts, and which time of their devices is covered.

A cache over the projection's own tables: thrown away whenever a transaction fails.
"""

from collections import OrderedDict
from typing import Final

from ..model.interval import Interval
from ..storage.usage_store import Covered, HostState, UsageStore
from .coverage import Coverage

_MOST_BOOTS: Final = 20_000
"""Boots of hosts whose coverage is held in memory; those longest unused are read again when needed."""

_Device = tuple[str, int]


class FoldingState:
    def __init__(self, store: UsageStore) -> None:
        self._store = store
        self._hosts = store.hosts()
        self.open_losses = store.open_losses()
        """Hosts with a lost frame whose end is not known yet."""
        self._sealed = store.sealed()
        self._changed_hosts: set[str] = set()
        self._boots: OrderedDict[tuple[str, str], dict[_Device, Coverage]] = OrderedDict()
        self._changed_devices: set[tuple[str, str, str, int]] = set()

    def seal(self, span: Interval) -> None:
        """No window that starts in ``span`` changes any more."""
        self._sealed = sorted([*self._sealed, span], key=lambda each: each.start_ns)

    def is_sealed(self, span: Interval) -> bool:
        """Whether any of it is."""
        return any(each.start_ns < span.end_ns and span.start_ns < each.end_ns for each in self._sealed)

    def booked_ns(self, window_start_ns: int) -> int | None:
        """When what comes late for a window is booked: where the first open period begins. None: its own is open."""
        at_ns = window_start_ns
        for span in self._sealed:
            if span.start_ns <= at_ns < span.end_ns:
                at_ns = span.end_ns
        return None if at_ns == window_start_ns else at_ns

    def host(self, host_id: str, log_id: int) -> HostState:
        """The host's state, to be changed; ``log_id`` is the entry that shows it."""
        self._changed_hosts.add(host_id)
        if host_id not in self._hosts:
            self._hosts[host_id] = HostState(host_id, first_log_id=log_id)
        return self._hosts[host_id]

    def coverage(self, host_id: str, boot_id: str, device_id: str, generation: int) -> Coverage:
        devices = self._devices(host_id, boot_id)
        if (device_id, generation) not in devices:
            devices[device_id, generation] = Coverage()
        return devices[device_id, generation]

    def covered(self, host_id: str, boot_id: str, device_id: str, generation: int) -> Covered:
        coverage = self.coverage(host_id, boot_id, device_id, generation)
        return Covered(host_id, boot_id, device_id, generation, coverage.stretches)

    def note_changed(self, host_id: str, boot_id: str, device_id: str, generation: int) -> None:
        self._changed_devices.add((host_id, boot_id, device_id, generation))

    def changed_hosts(self) -> list[HostState]:
        """Those changed since the last time this was asked."""
        changed = [self._hosts[host_id] for host_id in sorted(self._changed_hosts)]
        self._changed_hosts.clear()
        return changed

    def changed_coverage(self) -> list[Covered]:
        """Those changed since the last time this was asked; then forgets the boots longest unused."""
        changed = [self.covered(*device) for device in sorted(self._changed_devices)]
        self._changed_devices.clear()
        while len(self._boots) > _MOST_BOOTS:
            self._boots.popitem(last=False)
        return changed

    def _devices(self, host_id: str, boot_id: str) -> dict[_Device, Coverage]:
        boot = (host_id, boot_id)
        if boot not in self._boots:
            covered = self._store.covered(host_id, boot_id)
            self._boots[boot] = {(each.device_id, each.generation): Coverage(each.stretches) for each in covered}
        self._boots.move_to_end(boot)
        return self._boots[boot]
