"""Which of the lines of /proc/PID/cgroup decides."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gputally.plugins.attribution.cgroup_file import Seat, find_seat

USER = "/user.slice/user-1000.slice/session-3.scope"
JOB = "/slurm/uid_1000/job_7"


def seat(text: str) -> Seat:
    found = find_seat(text.encode())
    assert found is not None
    return found


def test_on_v2_there_is_one_line() -> None:
    found = seat(f"0::{USER}\n")
    assert (found.place.workload.id, found.hierarchy, found.path) == ("1000", "", USER)


def test_devices_come_before_memory_and_memory_before_cpu() -> None:
    text = "4:cpu,cpuacct:/docker/{}\n3:memory:/slurm/uid_1/job_2\n2:devices:/slurm/uid_1/job_3\n".format("c" * 64)
    assert seat(text).place.workload.id == "3"
    assert seat(text.replace("devices", "freezer")).place.workload.id == "2"
    assert seat(text.replace("devices", "freezer").replace("memory", "blkio")).place.workload.kind == "docker"


def test_the_first_line_that_names_an_owner_wins_over_earlier_ones_that_name_none() -> None:
    found = seat(f"9:devices:/user.slice\n8:memory:/\n5:pids:{USER}\n1:name=systemd:{JOB}\n0::/\n")
    assert (found.place.workload.id, found.hierarchy) == ("1000", "pids")


def test_an_unknown_group_says_more_than_the_root() -> None:
    found = seat("5:devices:/\n4:memory:/batch/night/1\n0::/\n")
    assert (found.place.workload.id, found.hierarchy) == ("/batch/night", "memory")


def test_the_line_of_v2_decides_where_v1_only_names_the_root() -> None:
    assert seat(f"5:devices:/\n1:name=systemd:/\n0::{USER}\n").place.workload.id == "1000"


def test_a_controller_is_found_in_a_list_of_them() -> None:
    assert seat(f"4:cpu,cpuacct:{JOB}\n").hierarchy == "cpu,cpuacct"


def test_a_hierarchy_that_nobody_uses_for_tenants_does_not_decide() -> None:
    assert find_seat(f"4:rdma:{JOB}\n".encode()) is None


def test_a_removed_group_still_says_whose_it_was() -> None:
    found = seat(f"0::{USER} (deleted)\n")
    assert found.deleted
    assert (found.place.workload.id, found.path) == ("1000", USER)


@pytest.mark.parametrize("text", ["0::/../x\n", f"5:memory:{JOB}\n3:devices:/../..\n", "", "\n", "nonsense", "0:/x"])
def test_a_process_of_another_cgroup_namespace_is_refused_and_so_is_nonsense(text: str) -> None:
    assert find_seat(text.encode()) is None


def test_colons_belong_to_the_path() -> None:
    assert seat("0::/a:b/c:d\n").place.workload.id == "/a:b/c:d"


def test_bytes_that_are_no_text_become_text() -> None:
    found = find_seat(b"0::/lxc.payload.\xff\xfe/x\n")
    assert found is not None
    assert found.place.workload.id == r"\xff\xfe"
    found.place.workload.id.encode()  # what goes into a record can be written


@given(st.binary(max_size=400))
def test_no_bytes_at_all_break_it(raw: bytes) -> None:
    for text in (raw, b"0::/" + raw, b"3:devices:/" + raw):
        find_seat(text)
