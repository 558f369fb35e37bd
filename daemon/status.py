"""What ``gputally status`` shows, as plain data for JSON."""

import time
from collections import Counter
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, Final

import trio

from .. import __version__
from ..model.device_meter import DeviceMeter
from ..model.interval import NS_PER_S
from ..model.meter import Meter
from ..model.reading import HostReading
from ..model.refused import Refused
from ..model.usage import ClockState
from ..storage.wal import Log, LogBroken, LogStat
from .alarms import Alarms, rfc3339
from .uplink import Uplink
from .vitals import Vitals

LOG_WITHIN_S = 0.5
_MOST_STATS: Final = 2
"""Threads that may wait for the log's figures."""
CPU_TICKS = 14
"""Where utime and stime stand in /proc/PID/stat, counted from 1 (proc_pid_stat(5)); both in ticks of 10 ms."""


def describe_devices(meter: Meter | None) -> list[dict[str, Any]]:
    """Each known device: observed or not and why, and who is on it."""
    return [] if meter is None else [_describe_device(meter, device) for device in meter.devices.values()]


def _describe_device(meter: Meter, device: DeviceMeter) -> dict[str, Any]:
    holders = meter.holders_of(device.device.device_id)
    counts = Counter((h.owner.tenant, h.owner.project, h.workload.subject_id) for h in holders)
    return {
        "uuid": device.device.device_id.partition(":")[2],
        "model": device.device.model,
        "state": "observed" if device.gap_reason is None else "gap",
        "gap_reason": device.gap_reason,
        "tenants": [
            {"tenant": tenant, "project": project, "workload": workload, "processes": count}
            for (tenant, project, workload), count in sorted(counts.items())
        ],
    }


_stats_limiter = trio.lowlevel.RunVar[trio.CapacityLimiter]("threads that read the log's figures")


def _stats() -> trio.CapacityLimiter:
    try:
        return _stats_limiter.get()
    except LookupError:
        _stats_limiter.set(limiter := trio.CapacityLimiter(_MOST_STATS))
        return limiter


async def describe_log(log: Log, waiting: int, given_up: Refused) -> dict[str, Any]:
    """Its figures are None while the disk does not let them be read; ``waiting``: batches held in memory meanwhile.

    ``undeclared_ns``: time of devices that was given up, and is told as a gap once there is room for that.

    They are read in a thread, and not waited for: while the log is opened anew, or checked, nobody gets in.
    """
    told = {
        "waiting": waiting,
        "undeclared_ns": sum(row.segment.boot.length_ns for rows in given_up.stretches.values() for row in rows),
        "trouble": None,
        "recovery": str(log.recovery) if log.recovery else None,
    }
    trouble = "the log is being opened anew, or checked"
    with trio.move_on_after(LOG_WITHIN_S):
        try:
            stat = asdict(await trio.to_thread.run_sync(log.stat, abandon_on_cancel=True, limiter=_stats()))
            return {**stat, "epoch": stat["epoch"].hex(), **told}
        except LogBroken as broken:
            trouble = str(broken)
    return {**dict.fromkeys(field.name for field in fields(LogStat)), **told, "trouble": trouble}


def describe_uplink(uplink: Uplink) -> dict[str, Any]:
    return {**asdict(uplink.status()), "credentials": uplink.credentials.described()}


def describe_alarms(alarms: Alarms, uplink: Uplink) -> list[dict[str, Any]]:
    """What a person should look at: missing GPUs, and an uplink that waiting does not mend."""
    mine = uplink.alarm
    if mine is None:
        return alarms.described()
    told: dict[str, Any] = {"kind": mine.kind, "devices": [], "since": rfc3339(mine.since_wall_ns), "why": mine.why}
    return [*alarms.described(), told]


def count_alarms(alarms: Alarms, uplink: Uplink) -> dict[str, int]:
    """As telemetry shows it: how many devices an alarm stands for, 1 for one of the uplink."""
    return {**alarms.counts(), **({uplink.alarm.kind: 1} if uplink.alarm else {})}


def describe_sampling(vitals: Vitals, refused: int, child_pid: int | None) -> dict[str, Any]:
    return {
        "ticks": vitals.ticks,
        "missed": vitals.missed + refused,
        "cpu_ms_per_tick": _cpu_ms_per_tick(vitals, child_pid),
        "nvml_calls_per_tick": vitals.reading.driver_calls if vitals.reading else None,
        "rejected": dict(vitals.reading.rejected) if vitals.reading else {},
    }


def _cpu_ms_per_tick(vitals: Vitals, child_pid: int | None) -> float | None:
    """Of this process since its first tick, and of the NVML child since it was started."""
    if vitals.ticks < 2:
        return None
    used_s = time.process_time() - vitals.first_tick_cpu_s + _cpu_s(child_pid)
    return round(used_s * 1000 / (vitals.ticks - 1), 3)


def describe_clock(reading: HostReading | None) -> dict[str, Any]:
    """Whether the wall clock is synchronised, as of the last tick, and for how long this boot was suspended."""
    if reading is None:
        return {"state": ClockState.UNKNOWN, "suspended_s": None}
    return {"state": reading.clock, "suspended_s": round(reading.suspended_ns / NS_PER_S, 3)}


def describe_self(host_id: str, vitals: Vitals) -> dict[str, Any]:
    return {
        "host_id": host_id,
        "version": __version__,
        "uptime_s": round(vitals.uptime_s, 3),
        "ready": vitals.ready,
    }


def _cpu_s(pid: int | None) -> float:
    """CPU that a child has used; 0 where it cannot be read."""
    try:
        told = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0.0
    after_name = told.rpartition(")")[2].split()
    return sum(map(int, after_name[CPU_TICKS - 3 : CPU_TICKS - 1])) / 100
