"""What no shape knows: the host itself, or an unknown cgroup by its first two components."""

from .shape import Found, Parts

HOST = "host"
CGROUP = "cgroup"
_TRUSTED_DEPTH = 2


def is_host(parts: Parts) -> bool:
    """The root of the tree and systemd itself: kernel threads, and all processes where nobody made groups."""
    return not parts or parts[0] == "init.scope"


def find_host(parts: Parts) -> Found:
    """Everything of the host is one workload."""
    return Found("/", min(len(parts), 1))


def find_cgroup(parts: Parts) -> Found:
    depth = min(len(parts), _TRUSTED_DEPTH)
    return Found("/" + "/".join(parts[:depth]), depth)
