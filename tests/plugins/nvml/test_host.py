"""The devices of a host as the daemon knows them, from rows of more than one child."""

from gputally.model.reading import DeviceGap, GapReason
from gputally.plugins.nvml import errors
from gputally.plugins.nvml.host import Host
from gputally.plugins.nvml.replies import Introduction, Row, Told

IDS = {0: "nvidia:GPU-a", 1: "nvidia:GPU-b"}


def row(number: int, at_ns: int, code: int = 0) -> Row:
    return Row(number, at_ns, code, None, None, None, None, [], [], None)


def host_of_two() -> Host:
    host = Host()
    told = [Told(0, "GPU-a", "H100", 80, "", []), Told(1, "GPU-b", "H100", 80, "", [])]
    assert host.introduced(Introduction("580.95.05", told)) == IDS
    return host


def tick(host: Host, *rows: Row, at_ns: int = 0) -> list[GapReason | None]:
    host.take_rows(rows, IDS, child=1)
    seen = host.take_readings({}, GapReason.GPU_LOST, at_ns)
    return [one.reason if isinstance(one, DeviceGap) else None for one in seen]


def seen_by_another(host: Host, rows: list[Row]) -> frozenset[int]:
    return host.take_rows(rows, IDS, child=2)


def test_a_child_sees_what_it_read_well() -> None:
    host = host_of_two()
    assert seen_by_another(host, [row(0, 10), row(1, 11, errors.GPU_IS_LOST)]) == {0}


def test_a_reading_from_before_a_gpu_was_lost_does_not_prove_that_it_can_be_read() -> None:
    host = host_of_two()
    stuck_since_before = [row(0, 10), row(1, 11)]
    tick(host, row(0, 20), row(1, 21, errors.GPU_IS_LOST))
    assert seen_by_another(host, stuck_since_before) == {0}
    assert tick(host, row(0, 30), row(1, 31)) == [None, None]
    assert seen_by_another(host, stuck_since_before) == {0}


def test_a_gpu_that_is_no_longer_enumerated_was_lost_too() -> None:
    host = host_of_two()
    assert tick(host, row(0, 20), at_ns=19) == [None, GapReason.GPU_LOST]
    assert seen_by_another(host, [row(1, 11)]) == frozenset()


def test_a_scout_that_is_slow_has_seen_a_gpu_that_others_still_miss() -> None:
    host = host_of_two()
    tick(host, row(0, 20), row(1, 21, errors.GPU_IS_LOST))
    scout = [row(1, 25), row(0, 29)]
    tick(host, row(0, 30), row(1, 31, errors.GPU_IS_LOST))
    assert seen_by_another(host, scout) == {0, 1}
