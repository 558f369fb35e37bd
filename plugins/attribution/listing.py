"""Which pids a host reading lists, and since when."""

from ...model.reading import DeviceReading, HostReading


def list_pids(reading: HostReading) -> dict[int, int]:
    """Every pid with the earliest instant (CLOCK_BOOTTIME) at which a device listed it."""
    listed: dict[int, int] = {}
    for device in reading.readings:
        if isinstance(device, DeviceReading):
            for process in device.processes:
                listed[process.pid] = min(device.at_ns, listed.get(process.pid, device.at_ns))
    return listed


def is_whole(reading: HostReading) -> bool:
    """Only a list from every device says that a process left them: a hung driver lists nobody."""
    return reading.trouble is None and all(isinstance(each, DeviceReading) for each in reading.readings)
