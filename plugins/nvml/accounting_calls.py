"""The calls about accounting."""

from ctypes import byref, c_uint

from . import binding, errors
from .binding import Asker, Handle, pynvml
from .lists import GROWTHS, Lists

PID_BYTES = 4


class AccountingCalls:
    """Gives NVML's codes."""

    __slots__ = ("_asker", "_mode", "_pids", "_stats")

    def __init__(self, asker: Asker) -> None:
        self._asker = asker
        self._mode = c_uint(0)
        self._pids = Lists(c_uint)
        self._stats = pynvml.c_nvmlAccountingStats_t()

    def mode(self, handle: Handle) -> tuple[int, int]:
        """1 where it is on."""
        code = self._asker.ask(binding.ACCOUNTING_MODE, handle, byref(self._mode))
        return code, self._mode.value

    def switch_on(self, handle: Handle) -> int:
        """Only root may."""
        return self._asker.ask(binding.ACCOUNTING_ON, handle, 1)

    def pids(self, handle: Handle) -> tuple[int, bytes]:
        """Of whom there is something to tell, as the driver wrote them: four bytes each."""
        lists, ask = self._pids, self._asker.ask
        code = ask(binding.ACCOUNTING_PIDS, handle, lists.prepare(), lists.buffer)
        for _ in range(GROWTHS):
            if code != errors.INSUFFICIENT_SIZE or not lists.grow():
                break
            code = ask(binding.ACCOUNTING_PIDS, handle, lists.prepare(), lists.buffer)
        return code, b"" if code else bytes(lists.view[: lists.count * PID_BYTES])

    def stats(self, handle: Handle, pid: int) -> "tuple[int, pynvml.c_nvmlAccountingStats_t]":
        """Of the latest process with this pid that ended, or of the one that runs. Good until the next call."""
        return self._asker.ask(binding.ACCOUNTING_STATS, handle, pid, byref(self._stats)), self._stats


def pids_of(raw: bytes) -> list[int]:
    return list(memoryview(raw).cast("I"))
