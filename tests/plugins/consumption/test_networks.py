"""Bytes of a network namespace: a workload's own, or nobody's."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from gputally.model.consumption import Consumed, Unknown, Where, increment
from gputally.model.workload import ProcessId, Workload

from .paper import BOUNDARY, DOCKER, V2_FILES, PaperHost

OTHER = Workload("docker", "b")


@pytest.fixture
def host(tmp_path: Path) -> Iterator[PaperHost]:
    with PaperHost(tmp_path) as host:
        host.group(V2_FILES)
        yield host


def net(consumed: Consumed) -> tuple[int | None, int | None, Unknown | None]:
    return consumed.net_rx_bytes, consumed.net_tx_bytes, dict(consumed.unknown).get("network")


def test_a_namespace_of_its_own_is_counted_without_loopback(host: PaperHost) -> None:
    host.namespace("a", "eth0:100:200", "net1:1:2")
    assert net(host.read(host.start("a"))) == (101, 202, None)


def test_a_namespace_without_interfaces_has_moved_nothing(host: PaperHost) -> None:
    host.namespace("a")
    assert net(host.read(host.start("a"))) == (0, 0, None)


def test_the_hosts_network_is_nobodys(host: PaperHost) -> None:
    assert net(host.read(host.start("host"))) == (None, None, Unknown.HOST_NETWORK)


def test_a_namespace_of_two_workloads_is_neithers(host: PaperHost) -> None:
    host.namespace("a", "eth0:100:200")
    places = {DOCKER: Where(BOUNDARY, (host.start("a"),)), OTHER: Where("/other", (host.start("a"),))}
    found = host.reader.read(places)
    assert net(found[DOCKER]) == net(found[OTHER]) == (None, None, Unknown.SHARED_NETWORK)


def test_containers_of_a_pod_are_one_workload_and_share_nothing_with_others(host: PaperHost) -> None:
    host.namespace("pod", "eth0:100:200")
    assert net(host.read(host.start("pod"), host.start("pod"))) == (100, 200, None)


@pytest.mark.parametrize("second", ["b", "host"])
def test_processes_in_several_namespaces_are_not_added_up(host: PaperHost, second: str) -> None:
    host.namespace("a", "eth0:100:200")
    host.namespace("b", "eth0:7:7")
    assert net(host.read(host.start("a"), host.start(second))) == (None, None, Unknown.SEVERAL_NETWORKS)


def test_a_process_that_has_ended_is_passed_over(host: PaperHost) -> None:
    host.namespace("a", "eth0:100:200")
    first, second = host.start("a"), host.start("a")
    host.end(first)
    assert net(host.read(first, second)) == (100, 200, None)
    host.end(second)
    assert net(host.read(first, second)) == (None, None, Unknown.NO_PROCESS)
    assert net(host.read()) == (None, None, Unknown.NO_PROCESS)


def test_a_pid_that_somebody_else_got_is_not_asked(host: PaperHost) -> None:
    host.namespace("a", "eth0:100:200")
    process = host.start("a")
    former = ProcessId(process.pid, process.start_ns - 10_000_000)
    assert net(host.read(former)) == (None, None, Unknown.NO_PROCESS)


@pytest.mark.parametrize("raw", [b"", b"rubbish", b"x" * 100_000])
def test_a_hostile_net_dev_is_not_believed(host: PaperHost, raw: bytes) -> None:
    path = host.namespace("a")
    process = host.start("a")
    path.write_bytes(raw)
    assert net(host.read(process)) == (None, None, Unknown.UNREADABLE)


def test_where_the_hosts_own_network_cannot_be_told_nobodys_is_counted(host: PaperHost) -> None:
    host.namespace("a", "eth0:100:200")
    process = host.start("a")
    (host.proc / "1" / "net" / "dev").unlink()
    assert net(host.read(process)) == (None, None, Unknown.NOT_PERMITTED)


def test_an_interface_that_is_taken_away_or_added_starts_anew(host: PaperHost) -> None:
    """One that is added may bring a count with it; one that is taken away takes its own along."""
    host.namespace("a", "eth0:100:200")
    process = host.start("a")
    before = host.read(process)
    host.namespace("a", "eth0:110:220")
    grown = host.read(process)
    host.namespace("a", "eth0:110:220", "tun0:5000:5000")
    more = host.read(process)
    first, second = increment(before, grown, 10**18), increment(grown, more, 10**18)
    assert first is not None
    assert second is not None
    assert (first.net_rx_bytes, first.net_tx_bytes) == (10, 20)
    assert (second.net_rx_bytes, second.net_tx_bytes) == (None, None)


def test_only_the_first_eight_processes_are_asked(host: PaperHost) -> None:
    host.namespace("a", "eth0:100:200")
    early = host.start("a")
    pretended = [ProcessId(early.pid, early.start_ns)] * 8
    stranger = ProcessId(host.start("host").pid, early.start_ns + 10**12)
    assert net(host.read(*pretended, stranger)) == (100, 200, None)
