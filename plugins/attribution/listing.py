"""Which pids a host reading lists, and since when; and which it tells of without listing them."""

from ...model.reading import DeviceReading, HostReading, PassedProcess


def list_pids(reading: HostReading) -> dict[int, int]:
    """Every pid with the earliest instant (CLOCK_BOOTTIME) at which a device listed it."""
    listed: dict[int, int] = {}
    for device in reading.readings:
        if isinstance(device, DeviceReading):
            at_ns = device.at_ns
            for pid, _, _ in device.processes:
                if listed.setdefault(pid, at_ns) > at_ns:
                    listed[pid] = at_ns
    return listed


def is_whole(reading: HostReading) -> bool:
    """Only a list from every device says that a process left them: a hung driver lists nobody."""
    return reading.trouble is None and all(isinstance(each, DeviceReading) for each in reading.readings)


def list_passed(reading: HostReading) -> dict[int, list[int]]:
    """Every pid that passed by, with all the instants (CLOCK_BOOTTIME) at which a device says that it was there."""
    passed: dict[int, list[int]] = {}
    for device in reading.readings:
        if isinstance(device, DeviceReading):
            for process in device.passed:
                passed.setdefault(process.pid, []).extend(_stamps(process))
    return passed


def _stamps(process: PassedProcess) -> list[int]:
    stamps = list(process.evidence_ns)
    if process.accounted is not None:
        stamps += [process.accounted.start_ns, process.accounted.start_ns + process.accounted.time_ns]
    return stamps
