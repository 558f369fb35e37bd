"""Time that was metered but could not be kept, because the log was full: an exact gap, never a silent loss."""

from dataclasses import dataclass, field, replace

from .identity import records_digest
from .interval import Interval
from .reading import GapReason
from .usage import Batch, DeviceWindow

NO_RECORDS = records_digest(())


@dataclass(slots=True)
class Refused:
    """One row per device, however long the log stays full: neighbouring segments become one."""

    rows: dict[tuple[str, int], DeviceWindow] = field(default_factory=dict[tuple[str, int], DeviceWindow])

    def add(self, batch: Batch) -> None:
        """What the batch said is given up; that this time existed is not."""
        for row in batch.rows:
            key = row.segment.device_id, row.segment.generation
            earlier = self.rows.get(key)
            self.rows[key] = _gap(row) if earlier is None else _joined(earlier, _gap(row))

    def before(self, batch: Batch) -> Batch:
        """The batch with the gaps put in front of it, so that rows still tile."""
        return replace(batch, rows=(*self.rows.values(), *batch.rows))


def _gap(row: DeviceWindow) -> DeviceWindow:
    spent_mj = (row.energy_end_mj or 0) - (row.energy_start_mj or 0)
    return replace(
        row,
        idle_ns=0,
        unobserved_ns=((str(GapReason.BUFFER_FULL), row.segment.boot.length_ns),),
        record_count=0,
        records_digest=NO_RECORDS,
        idle_energy_mj=0,
        unobserved_energy_mj=spent_mj if row.energy_end_mj is not None else 0,
    )


def _joined(earlier: DeviceWindow, later: DeviceWindow) -> DeviceWindow:
    boot = Interval(earlier.segment.boot.start_ns, later.segment.boot.end_ns)
    segment = replace(earlier.segment, boot=boot)
    counted = None not in (earlier.energy_end_mj, later.energy_start_mj)
    alike = counted and later.energy_start_mj == earlier.energy_end_mj
    return replace(
        earlier,
        segment=segment,
        unobserved_ns=((str(GapReason.BUFFER_FULL), boot.length_ns),),
        energy_start_mj=earlier.energy_start_mj if alike else None,
        energy_end_mj=later.energy_end_mj if alike else None,
        unobserved_energy_mj=earlier.unobserved_energy_mj + later.unobserved_energy_mj if alike else 0,
    )
