"""In another pid namespace NVML's pids are strangers, and nobody may be billed by them."""

from pathlib import Path

import pytest

from gputally.plugins.nvml.probe import check_namespaces


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    (tmp_path / "self" / "ns").mkdir(parents=True)
    return tmp_path


def is_in(proc: Path, **inodes: int) -> None:
    for kind, inode in inodes.items():
        (proc / "self" / "ns" / kind).symlink_to(f"{kind}:[{inode}]")


def test_the_host_itself_is_fit_to_bill_on(proc: Path) -> None:
    is_in(proc, pid=4026531836, cgroup=4026531835)
    assert check_namespaces(str(proc)) is None


def test_in_a_container_with_pids_of_its_own_the_reason_names_the_cure(proc: Path) -> None:
    is_in(proc, pid=4026532999, cgroup=4026531835)
    why = check_namespaces(str(proc))
    assert why is not None
    assert "pid:[4026532999]" in why
    assert "--pid=host" in why


def test_a_cgroup_namespace_hides_the_hosts_paths(proc: Path) -> None:
    is_in(proc, pid=4026531836, cgroup=4026532888)
    assert "cgroup:[4026532888]" in (check_namespaces(str(proc)) or "")


def test_where_it_cannot_be_told_it_is_not_trusted(proc: Path) -> None:
    assert "No such file" in (check_namespaces(str(proc)) or "")
