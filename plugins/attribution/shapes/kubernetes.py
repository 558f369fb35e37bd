"""Kubernetes: the pod is the workload, its own cgroup the boundary.

Both drivers, three classes of service (guaranteed has no folder of its own), a
kubelet with a root of its own (``--cgroup-root``), and a kubelet that says
systemd to a containerd that says cgroupfs: then the container's folder is
called ``kubepods-...-podUID.slice:cri-containerd:ID`` and lies in the root or
in containerd's own unit (kubernetes/kubernetes#106514).
"""

import re

from .shape import Found, Parts, Shape, count_slices, unit_after_slices

_UID = re.compile(r"[0-9a-f]{8}([-_])[0-9a-f]{4}\1[0-9a-f]{4}\1[0-9a-f]{4}\1[0-9a-f]{12}|[0-9a-f]{32}", re.ASCII)
_QOS = ("burstable", "besteffort")
_TOPS = ("kubepods", *(f"kubepods-{qos}" for qos in _QOS))
_DEEPEST_ROOT = 3
_MANAGERS = frozenset(
    f"{name}.service" for name in ("containerd", "k3s", "k3s-agent", "rke2-agent", "rke2-server", "docker", "crio")
)
"""Units that make containers' cgroups inside their own; only root runs them."""


def find(parts: Parts) -> Found | None:
    return _find_systemd(parts) or _find_cgroupfs(parts) or _find_mismatch(parts)


def _find_systemd(parts: Parts) -> Found | None:
    for index in range(count_slices(parts)):
        if "-pod" not in parts[index]:
            continue
        top, uid = _split_pod_slice(parts[index])
        if uid and (index == 0 or parts[index - 1] == f"{top}.slice"):
            return Found(uid, index + 1)
    return None


def _split_pod_slice(name: str) -> tuple[str, str]:
    """``kubepods-burstable-podUID.slice`` as (``kubepods-burstable``, UID); no pod: empty."""
    top, _, uid = name.removesuffix(".slice").rpartition("-pod")
    is_top = top in _TOPS or top.endswith(tuple(f"-{known}" for known in _TOPS))
    return (top, _normal(uid)) if is_top else ("", "")


def _find_cgroupfs(parts: Parts) -> Found | None:
    for index, part in enumerate(parts[: _DEEPEST_ROOT + 1]):
        if part == "kubepods":
            return _find_pod(parts, index + 1)
    return None


def _find_pod(parts: Parts, index: int) -> Found | None:
    if parts[index : index + 1] and parts[index] in _QOS:
        index += 1
    name = parts[index] if index < len(parts) else ""
    uid = _normal(name.removeprefix("pod")) if name.startswith("pod") else ""
    return Found(uid, index + 1) if uid else None


def _find_mismatch(parts: Parts) -> Found | None:
    unit, depth = unit_after_slices(parts)
    index = depth if unit in _MANAGERS else 0
    if not _is_mismatched(parts[index:]):
        return None
    _, uid = _split_pod_slice(parts[index].partition(":")[0])
    return Found(uid, index + 1) if uid else None


def holds_pods(unit: str, inside: Parts) -> bool:
    """Whether what lies in this unit is a pod that its manager could not hand to systemd."""
    return unit in _MANAGERS and _is_mismatched(inside)


def _is_mismatched(parts: Parts) -> bool:
    return bool(parts) and ".slice:" in parts[0]


def _normal(uid: str) -> str:
    """The uid as the API shows it: the systemd driver writes _ for -. Static pods have 32 digits. Else ""."""
    return uid.replace("_", "-") if _UID.fullmatch(uid) else ""


SHAPE = Shape("kubernetes", find)
