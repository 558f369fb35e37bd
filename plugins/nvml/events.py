"""Xid events: errors that the driver reports by itself, asked for once a tick and never waited for."""

from ctypes import byref, c_void_p, cast

from . import binding
from .binding import Asker, Handle, NVMLError, pynvml

EVENTS_A_TICK = 64
"""A GPU in trouble can report the same error many times a second. The rest is told at the next tick."""


class Events:
    """One set for all devices of a child."""

    __slots__ = ("_asker", "_data", "_devices", "_set")

    def __init__(self, asker: Asker) -> None:
        self._asker = asker
        self._data = pynvml.c_nvmlEventData_t()
        self._devices: dict[int, int] = {}
        """Indices by the address that a handle stands for."""
        self._set: pynvml.c_nvmlEventSet_t | None = None

    def watch(self, index: int, handle: Handle) -> None:
        """From now on, where the device reports any."""
        xid, seldom = pynvml.nvmlEventTypeXidCriticalError, self._asker.seldom
        try:
            if seldom(pynvml.nvmlDeviceGetSupportedEventTypes, handle) & xid:
                self._set = self._set or seldom(pynvml.nvmlEventSetCreate)
                seldom(pynvml.nvmlDeviceRegisterEvents, handle, xid, self._set)
                self._devices[_address(handle)] = index
        except NVMLError:
            return  # it goes without

    def poll(self) -> list[int]:
        """Device and code of each since the last time, flat."""
        told: list[int] = []
        if self._set is None:
            return told
        for _ in range(EVENTS_A_TICK):
            if self._asker.ask(binding.EVENT_WAIT, self._set, byref(self._data), 0):
                break  # mostly a timeout: there is none
            index = self._devices.get(_address(self._data.device))
            if index is not None and self._data.eventType == pynvml.nvmlEventTypeXidCriticalError:
                told += (index, self._data.eventData)
        return told


def _address(handle: Handle) -> int:
    return cast(handle, c_void_p).value or 0
