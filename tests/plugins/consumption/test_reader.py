"""Counters of groups on v1, v2 and hybrid hosts, and all the ways in which they cannot be known."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from gputally.model.consumption import Consumed, Unknown, Where
from gputally.model.workload import Workload
from gputally.plugins.consumption.reader import CgroupConsumption, crowded_boundaries

from .paper import BOUNDARY, DOCKER, V1_FILES, V2_FILES, PaperHost, write

EVERYTHING = (5000, 700, 11, 22)
NOTHING = (None, None, None, None)


def amounts(consumed: Consumed) -> tuple[int | None, ...]:
    return consumed.cpu_us, consumed.memory_bytes, consumed.io_read_bytes, consumed.io_write_bytes


def why(consumed: Consumed) -> dict[str, Unknown]:
    return {part: reason for part, reason in consumed.unknown if part != "network"}


@pytest.fixture
def v2(tmp_path: Path) -> Iterator[PaperHost]:
    with PaperHost(tmp_path) as host:
        host.group(V2_FILES)
        yield host


def test_on_v2_everything_comes_from_one_folder(v2: PaperHost) -> None:
    found = v2.read()
    assert amounts(found) == EVERYTHING
    assert found.group_inode == (v2.cgroup / BOUNDARY[1:]).stat().st_ino
    assert why(found) == {}


def test_on_v1_every_controller_has_its_own_tree(tmp_path: Path) -> None:
    with PaperHost(tmp_path, "cpu,cpuacct", "memory", "blkio", "systemd", v2=None) as host:
        host.group(V1_FILES)
        assert amounts(host.read()) == EVERYTHING


def test_on_a_hybrid_host_v1_counts_and_v2_fills_in(tmp_path: Path) -> None:
    """Memory and disk on v1; no cpuacct mounted, but v2 counts CPU without any controller."""
    with PaperHost(tmp_path, "memory", "blkio", "devices", v2="unified") as host:
        host.group({name: text for name, text in V1_FILES.items() if not name.startswith("cpu")})
        host.group({"unified/cpu.stat": "usage_usec 77\n"})
        assert amounts(host.read()) == (77, *EVERYTHING[1:])


def test_on_v1_a_controller_without_the_group_is_unknown_and_takes_no_other_with_it(tmp_path: Path) -> None:
    with PaperHost(tmp_path, "cpu,cpuacct", "memory", "blkio", v2=None) as host:
        host.group({"cpu,cpuacct/cpuacct.usage": "5000999\n"})
        found = host.read()
        assert amounts(found) == (5000, None, None, None)
        assert why(found) == {"memory": Unknown.NO_GROUP, "io": Unknown.NO_GROUP}


def test_an_old_kernel_counts_the_disk_of_a_group_without_groups_below_it_only(tmp_path: Path) -> None:
    old = {"blkio/blkio.throttle.io_service_bytes": "8:0 Read 10\n8:0 Write 20\n8:0 Total 30\nTotal 30\n"}
    with PaperHost(tmp_path, "blkio", v2=None) as host:
        host.group(old)
        assert amounts(host.read())[2:] == (10, 20)
        (host.cgroup / "blkio" / BOUNDARY[1:] / "below").mkdir()
        found = host.read()
        assert amounts(found)[2:] == (None, None)
        assert why(found)["io"] is Unknown.CONTROLLER_OFF


@pytest.mark.parametrize("root", ["Total 0\n", "", None])
def test_a_kernel_that_counts_no_disk_on_v1_says_nothing_by_total_0(tmp_path: Path, root: str | None) -> None:
    """Linux 6.10 and later, as long as nobody has set a limit on a disk."""
    name = "blkio/blkio.throttle.io_service_bytes_recursive"
    with PaperHost(tmp_path, "blkio", v2=None) as host:
        host.group({name: "Total 0\n"})
        if root is None:
            (host.cgroup / name).unlink()
        else:
            (host.cgroup / name).write_text(root)
        assert why(host.read())["io"] is Unknown.CONTROLLER_OFF
        (host.cgroup / name).write_text("8:0 Read 5\n8:0 Write 5\nTotal 10\n")
        assert amounts(host.read())[2:] == (0, 0)


@pytest.mark.parametrize("name", V2_FILES)
def test_a_controller_that_is_off_is_unknown_and_not_zero(v2: PaperHost, name: str) -> None:
    (v2.cgroup / BOUNDARY[1:] / name).unlink()
    found = v2.read()
    part = {"cpu.stat": "cpu", "io.stat": "io"}.get(name, "memory")
    assert why(found) == {part: Unknown.CONTROLLER_OFF}
    assert sum(each is None for each in amounts(found)) == (2 if part == "io" else 1)


HOSTILE = {
    "empty": b"",
    "zeros": b"\x00" * 100,
    "no text": b"\xff\xfe",
    "negative": b"usage_usec -5\n",
    "endless number": b"9" * 100_000,
    "endless lines": b"8:0 rbytes=1 wbytes=2\n" * 4000,
}
SPOILT = [
    pytest.param(name, raw, id=f"{name}, {kind}")
    for name in V2_FILES
    for kind, raw in HOSTILE.items()
    if (name, kind) != ("io.stat", "empty")  # a group that has moved nothing, see below
]


@pytest.mark.parametrize(("name", "raw"), SPOILT)
def test_a_hostile_file_is_unknown_and_not_believed(v2: PaperHost, name: str, raw: bytes) -> None:
    (v2.cgroup / BOUNDARY[1:] / name).write_bytes(raw)
    part = {"cpu.stat": "cpu", "io.stat": "io"}.get(name, "memory")
    assert why(v2.read()) == {part: Unknown.UNREADABLE}


def test_a_group_that_has_moved_nothing_is_zero(v2: PaperHost) -> None:
    (v2.cgroup / BOUNDARY[1:] / "io.stat").write_text("")
    assert amounts(v2.read())[2:] == (0, 0)


@pytest.mark.parametrize("odd", ["folder", "fifo", "link to itself"])
def test_what_is_no_file_keeps_nobody_waiting(v2: PaperHost, odd: str) -> None:
    path = v2.cgroup / BOUNDARY[1:] / "cpu.stat"
    path.unlink()
    if odd == "folder":
        path.mkdir()
    elif odd == "fifo":
        os.mkfifo(path)
    else:
        path.symlink_to(path)
    assert why(v2.read()) == {"cpu": Unknown.UNREADABLE}


def test_more_inactive_pages_than_usage_is_an_empty_working_set(v2: PaperHost) -> None:
    """The two are read one after the other."""
    (v2.cgroup / BOUNDARY[1:] / "memory.current").write_text("299\n")
    assert v2.read().memory_bytes == 0


def test_a_disk_under_another_is_counted_once(v2: PaperHost) -> None:
    """LVM on two disks, and a loop device on top: the kernel counts the same bytes in each."""
    write(v2.sys / "dev/block/253:0/slaves/sda", "")
    (v2.sys / "dev/block/8:0/slaves").mkdir(parents=True)
    stat = "253:0 rbytes=30 wbytes=3\n8:0 rbytes=10 wbytes=1\n8:16 rbytes=20 wbytes=2\n7:3 rbytes=30 wbytes=3\n"
    (v2.cgroup / BOUNDARY[1:] / "io.stat").write_text(stat)
    assert amounts(v2.read())[2:] == (30, 3)


def test_the_hosts_own_processes_have_no_counters_of_their_own(v2: PaperHost) -> None:
    v2.group(V2_FILES, "/init.scope")
    for boundary in ("/", "/init.scope"):
        found = v2.read(boundary=boundary, workload=Workload("host", "/"))
        assert (amounts(found), set(why(found).values())) == (NOTHING, {Unknown.HOST})


@pytest.mark.parametrize("boundary", ["", "/", "relative", "/a/../../etc", "/..", "/a\0b", "/" + "x" * 300, "/gone"])
def test_a_boundary_that_is_no_group_has_no_counters(v2: PaperHost, boundary: str) -> None:
    found = v2.read(boundary=boundary)
    assert (amounts(found), set(why(found).values())) == (NOTHING, {Unknown.NO_GROUP})
    assert found.group_inode is None


def test_a_group_that_holds_another_workload_is_not_counted_for_both(v2: PaperHost) -> None:
    outer, inner = Workload("cgroup", "/batch/jobs"), Workload("docker", "b")
    v2.group(V2_FILES, "/batch/jobs")
    v2.group(V2_FILES, "/batch/jobs/docker-b.scope")
    found = v2.reader.read(
        {outer: Where("/batch/jobs"), inner: Where("/batch/jobs/docker-b.scope"), DOCKER: Where(BOUNDARY)}
    )
    assert why(found[outer]) == dict.fromkeys(("cpu", "memory", "io"), Unknown.NOT_ALONE)
    assert amounts(found[inner]) == amounts(found[DOCKER]) == EVERYTHING


def test_a_process_right_in_a_parent_of_other_groups_has_no_counters_of_its_own(v2: PaperHost) -> None:
    slice_ = Workload("cgroup", "/batch")
    v2.group(V2_FILES, "/batch")
    assert amounts(v2.read(boundary="/batch", workload=slice_)) == EVERYTHING
    (v2.cgroup / "batch" / "somebody").mkdir()
    assert set(why(v2.read(boundary="/batch", workload=slice_)).values()) == {Unknown.NOT_ALONE}


def test_names_that_only_begin_alike_crowd_nobody() -> None:
    assert crowded_boundaries(["/a", "/ab/c", "/a-b/c", "/x/y", "/x/y/z/w", "/twice", "/twice"]) == {"/x/y", "/twice"}


def test_a_group_made_anew_has_another_number(tmp_path: Path) -> None:
    with PaperHost(tmp_path, "cpu,cpuacct", "memory", "blkio", v2=None) as host:
        host.group(V1_FILES)
        before = host.read().group_inode
        assert host.read().group_inode == before
        memory = host.cgroup / "memory"
        (memory / BOUNDARY[1:]).rename(memory / "kept-so-that-its-inode-is-not-free")
        host.group(V1_FILES)
        assert host.read().group_inode not in (before, None)


def test_no_descriptor_stays_open(v2: PaperHost) -> None:
    process = v2.start("host")
    before = len(list(Path("/proc/self/fd").iterdir()))
    for boundary in (BOUNDARY, "/gone", "/a\0b"):
        v2.read(process, boundary=boundary)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_host_without_any_cgroup_knows_nothing_and_goes_on(tmp_path: Path) -> None:
    reader = CgroupConsumption(str(tmp_path / "no-proc"), str(tmp_path / "no-cgroup"))
    found = reader.read({DOCKER: Where(BOUNDARY)})[DOCKER]
    assert amounts(found) == NOTHING
    assert {reason for _, reason in found.unknown} == {Unknown.NO_GROUP, Unknown.NOT_PERMITTED}
