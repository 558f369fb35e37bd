"""Each shape seen in the field names its owner, and none can be made to name somebody else."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gputally.plugins.attribution.place import KINDS, MOST_COMPONENTS, Place, locate
from gputally.plugins.attribution.shapes import SHAPES

TABLE = Path(__file__).resolve().parents[2] / "data" / "cgroup_paths.tsv"
ROWS = [(*line.split("\t"), "")[:5] for line in TABLE.read_text().splitlines()[1:]]
SPOOFS = [row for row in ROWS if row[4].startswith("must not name: ")]

ID, VICTIM = "a" * 64, "b" * 64
POD = "5ba385ca-b6e6-4246-bd66-d48d429dbc12"
POD_SLICE = POD.replace("-", "_")
STATIC = "36b6d6be73b1065af369b3985edafa09"
ALLOC = "0b4f1a2e-3c4d-5e6f-7a8b-9c0d1e2f3a4b"

PROSE = [  # shapes that the design names in words, beyond the table
    ("a kubelet with a root of its own, systemd", "kubernetes", POD,
     f"/k8s.slice/k8s-kubepods.slice/k8s-kubepods-burstable.slice/k8s-kubepods-burstable-pod{POD_SLICE}.slice/x.scope"),
    ("a kubelet with a root of its own, cgroupfs", "kubernetes", POD, f"/k8s/node/kubepods/besteffort/pod{POD}/{ID}"),
    ("a static pod, systemd", "kubernetes", STATIC,
     f"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{STATIC}.slice/crio-{ID}.scope"),
    ("driver mismatch in containerd's own unit", "kubernetes", STATIC,
     f"/system.slice/containerd.service/kubepods-burstable-pod{STATIC}.slice:cri-containerd:{ID}"),
    ("driver mismatch in the root", "kubernetes", POD,
     f"/kubepods-besteffort-pod{POD_SLICE}.slice:cri-containerd:{ID}"),
    ("a pod's slice that is no unit", "kubernetes", POD, f"/kubepods-besteffort-pod{POD_SLICE}.slice/{ID}"),
    ("a build, systemd", "docker", "k5tvqv7ox0x5kz3v9jiul0f2m",
     "/system.slice/docker-k5tvqv7ox0x5kz3v9jiul0f2m.scope"),
    ("a build, cgroupfs", "docker", "k5tvqv7ox0x5kz3v9jiul0f2m", "/docker/buildkit/k5tvqv7ox0x5kz3v9jiul0f2m"),
    ("a container in a parent of its own, cgroupfs", "docker", ID, f"/tenants/acme/{ID}"),
    ("a quadlet is its unit", "service", "web.service", f"/system.slice/web.service/libpod-payload-{ID}"),
    ("a split cgroup in a slice", "podman", ID, f"/machine.slice/libpod-payload-{ID}"),
    ("the watcher of a container", "podman", ID, f"/machine.slice/libpod-conmon-{ID}.scope"),
    ("a pod of Podman, cgroupfs", "podman", ID, f"/libpod_parent/{'e' * 64}/libpod-{ID}"),
    ("several slurmd on v1", "slurm", "7", "/slurm_node1/uid_1000/job_7/step_batch"),
    ("a slice of Slurm's own", "slurm", "7", "/hpc.slice/hpc-jobs.slice/slurmstepd.scope/job_7/step_0"),
    ("Slurm 26.05 on v1", "slurm", "s05R2F5RS00000", "/slurm/uid_1000/s05R2F5RS00000/step_0"),
    ("Slurm's own processes", "cgroup", "/system.slice/slurmstepd.scope", "/system.slice/slurmstepd.scope/system"),
    ("a scope of the system", "service", "run-r1.scope", "/system.slice/run-r1.scope"),
    ("Incus, in a project", "lxc", "vision_trainer", "/lxc.payload.vision_trainer/init.scope"),
    ("an older liblxc", "lxc", "acme", "/lxc.payload/acme/system.slice"),
    ("the monitor of a container", "lxc", "acme", "/lxc.monitor.acme"),
    ("libvirt with systemd", "libvirt", "vm-1", r"/machine.slice/machine-qemu\x2d3\x2dvm\x2d1.scope/libvirt/vcpu0"),
    ("libvirt in a partition", "libvirt", "vm",
     r"/machine.slice/machine-production.slice/machine-qemu\x2d3\x2dvm.scope"),
    ("libvirt without systemd", "libvirt", "vm", "/machine/qemu-3-vm.libvirt-qemu/emulator"),
    ("libvirt before 1.0.5", "libvirt", "vm", "/libvirt/qemu/vm/vcpu0"),
    ("a registered machine", "machine", "acme-1", r"/machine.slice/machine-acme\x2d1.scope/payload"),
    ("Apptainer with systemd", "apptainer", "42", "/system.slice/apptainer-42.scope"),
    ("Apptainer in a session is the user's", "user", "1000",
     "/user.slice/user-1000.slice/user@1000.service/app.slice/apptainer-42.scope"),
    ("Nomad before 1.7", "nomad", ALLOC, f"/nomad.slice/{ALLOC}.train.scope"),
    ("Nomad on v1, reserved cores", "nomad", ALLOC, f"/nomad/reserve/{ALLOC}.train"),
    ("nobody's shape", "cgroup", "/batch/night", "/batch/night/run-1/task-2"),
    ("nobody's shape, one component", "cgroup", "/batch", "/batch"),
    ("the root", "host", "/", "/"),
    ("systemd itself", "host", "/", "/init.scope"),
]  # fmt: skip

MORE_SPOOFS = [
    ("a unit's user makes a pod", "service", "train.service",
     f"/system.slice/train.service/kubepods-burstable-pod{POD_SLICE}.slice:cri-containerd:{VICTIM}"),
    ("a unit's user makes a job", "service", "train.service", "/system.slice/train.service/slurmstepd.scope/job_42"),
    ("a container makes a pod", "docker", ID, f"/docker/{ID}/kubepods/burstable/pod{POD}/{VICTIM}"),
    ("an LXC container makes a container", "lxc", "mine", f"/lxc.payload.mine/docker/{VICTIM}"),
    ("an LXC container is called like Podman's", "lxc", f"libpod-{VICTIM}", f"/lxc/libpod-{VICTIM}"),
    ("a job makes a container", "slurm", "7", f"/slurm/uid_1000/job_7/step_0/{VICTIM}"),
    ("an allocation makes a container", "nomad", ALLOC, f"/nomad/{ALLOC}.train/{VICTIM}"),
    ("a job's id with letters that base 32 has not", "cgroup", "/system.slice/slurmstepd.scope",
     "/system.slice/slurmstepd.scope/sILOUILOUILOUI"),
    ("a pod's slice below a slice of another name", "cgroup", "/mine.slice/kubepods-pod" + POD_SLICE + ".slice",
     f"/mine.slice/kubepods-pod{POD_SLICE}.slice/x"),
]  # fmt: skip

names = st.text(st.characters(exclude_characters="/\n\0", exclude_categories=["Cs"]), min_size=1, max_size=40)
tempting = st.sampled_from(
    ["kubepods.slice", f"kubepods-pod{POD_SLICE}.slice", f"docker-{VICTIM}.scope", "docker", VICTIM, "..",
     f"libpod-{VICTIM}.scope", "slurmstepd.scope", "job_42", "uid_7", "slurm", "user-7.slice", "lxc", "init.scope"]
)  # fmt: skip
below = st.lists(names | tempting, max_size=40).map("/".join)


def found(path: str) -> Place:
    place = locate(path)
    assert place is not None
    return place


@pytest.mark.parametrize(("label", "path", "kind", "id_", "note"), ROWS, ids=[row[0] for row in ROWS])
def test_a_path_seen_in_the_field_names_its_owner(label: str, path: str, kind: str, id_: str, note: str) -> None:
    workload = found(path).workload
    assert (workload.kind, workload.id) == (kind, id_)


def test_the_table_was_read() -> None:
    assert len(ROWS) >= 40
    assert len(SPOOFS) >= 6


@pytest.mark.parametrize("row", SPOOFS, ids=[row[0] for row in SPOOFS])
def test_nothing_of_a_victim_is_named_or_taken_for_evidence(row: tuple[str, ...]) -> None:
    place = found(row[1])
    for victim in row[4].removeprefix("must not name: ").split():
        assert victim not in place.workload.id
        assert victim not in place.boundary


@pytest.mark.parametrize(("what", "kind", "id_", "path"), PROSE + MORE_SPOOFS, ids=[r[0] for r in PROSE + MORE_SPOOFS])
def test_a_described_shape_names_its_owner(what: str, kind: str, id_: str, path: str) -> None:
    workload = found(path).workload
    assert (workload.kind, workload.id) == (kind, id_)


@given(st.integers(0, 2**32 - 1), below)
def test_whatever_is_below_a_users_slice_is_the_users(uid: int, inside: str) -> None:
    place = found(f"/user.slice/user-{uid}.slice/{inside}")
    assert (place.workload.kind, place.workload.id, place.uid) == ("user", str(uid), uid)
    assert place.boundary == f"/user.slice/user-{uid}.slice"


@pytest.mark.parametrize("row", [row for row in ROWS if not row[0].startswith("spoof")], ids=lambda row: str(row[0]))
@given(inside=below)
def test_no_name_below_a_boundary_changes_the_owner(row: tuple[str, ...], inside: str) -> None:
    """The law behind all spoofs: what the tenant may write, it may not decide by."""
    honest = found(row[1])
    assert found(f"{honest.boundary}/{inside}").workload == honest.workload


@given(st.text())
def test_no_text_at_all_breaks_it(text: str) -> None:
    for path in (text, "/" + text, "/user.slice/" + text):
        place = locate(path)
        assert place is None or place.workload.kind in KINDS


@pytest.mark.parametrize("path", ["/..", "/../x", f"/../../docker/{ID}", "//../x", "", "docker", "kubepods/x"])
def test_a_path_outside_our_namespace_or_no_path_is_refused(path: str) -> None:
    assert locate(path) is None


def test_a_name_that_only_begins_with_two_dots_is_a_name() -> None:
    assert found("/..x/y").workload.id == "/..x/y"


def test_what_lies_deeper_than_any_boundary_is_not_looked_at() -> None:
    deep = "/a.slice" * MOST_COMPONENTS + f"/docker-{VICTIM}.scope"
    assert found(deep).workload.id == "/a.slice/a.slice"


def test_each_kind_has_one_shape() -> None:
    kinds = [shape.kind for shape in SHAPES]
    assert len(set(kinds)) == len(kinds)
    assert set(KINDS) == {
        "kubernetes", "slurm", "docker", "podman", "user", "service", "lxc", "nomad", "apptainer", "libvirt",
        "machine", "lease", "cgroup", "host",
    }  # fmt: skip


def test_slurms_v1_folder_tells_the_uid() -> None:
    assert found("/slurm/uid_1000/job_7").uid == 1000
