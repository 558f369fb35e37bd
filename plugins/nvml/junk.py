"""What the driver said and nobody believed, counted by reason.

A reason is a word that an operator meets in metrics, so there are few of them and they stay:

| reason | what was not believed |
|---|---|
| ``row_pid`` | a process list with a pid that cannot be |
| ``row_memory`` | one in which a process has more memory than the device |
| ``row_instance`` | one with a MIG instance that cannot be |
| ``sample_zero`` | a utilization sample that is padding, or of a process in no list that did nothing |
| ``sample_pid`` | one of a pid that cannot be |
| ``sample_percent`` | one above 100 per cent |
| ``sample_future`` | one stamped after now |
| ``sample_old`` | one stamped before what was asked for |
| ``sample_crowd`` | true ones of processes in no list, more than a reading can hold |
| ``rate_percent`` | a device's utilization above 100 per cent |
| ``memory_total`` | more memory in use than the device has |
| ``power_most`` | a power that no board draws |
| ``accounting_pid`` | an accounting record of a pid that cannot be |
| ``accounting_future`` | one that starts after now |
| ``accounting_boot`` | one that starts before the machine did |
| ``accounting_time`` | one that lasts longer than since its start |
| ``accounting_percent``, ``accounting_memory`` | one with more than 100 per cent, or more memory than there is |
| ``energy_backwards`` | an energy counter that fell |
| ``energy_jump`` | one that grew faster than any board draws |
"""


class Junk:
    """Counts since it was taken last."""

    __slots__ = ("_counts",)

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def add(self, reason: str, times: int = 1) -> None:
        self._counts[reason] = self._counts.get(reason, 0) + times

    def take(self) -> dict[str, int]:
        """What was counted, to be told once."""
        if not self._counts:
            return self._counts
        counts, self._counts = self._counts, {}
        return counts
