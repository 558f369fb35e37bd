"""All shapes of cgroup paths we know, and the one place where they are listed.

A new shape is a new file beside these with a ``SHAPE``, and one line below.
"""

from typing import Final

from . import apptainer, docker, kubernetes, libvirt, lxc, machine, nomad, podman, service, slurm, user
from .shape import Shape

SHAPES: Final[tuple[Shape, ...]] = (
    # All are asked; the outermost boundary wins, and of two at the same depth the one that
    # stands first here. So: the more particular name before the more general one.
    user.SHAPE,
    kubernetes.SHAPE,
    slurm.SHAPE,
    lxc.SHAPE,
    libvirt.SHAPE,
    machine.SHAPE,
    nomad.SHAPE,
    apptainer.SHAPE,
    podman.SHAPE,
    docker.SHAPE,  # takes a bare container id in any parent
    service.SHAPE,  # takes any unit
)

SHAPES_VERSION: Final = 1
"""Goes up whenever the same path could become another workload: it is part of the rules version."""
