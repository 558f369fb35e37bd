"""Slurm: the job is the workload.

v1: ``/slurm[_NODE]/uid_U/job_J``. v2: ``SLICE/[NODE_]slurmstepd.scope/job_J``,
the slice being system.slice unless configured. From 26.05 the job's folder is
named by its SLUID instead: s and 13 characters of Crockford's base 32, which
has no I, L, O and U.
"""

import re

from .shape import Found, Parts, Shape, unit_after_slices

_JOB = re.compile(r"job_([0-9]{1,10})|(s[0-9A-HJKMNP-TV-Z]{13})", re.ASCII)
_UID = re.compile(r"uid_([0-9]{1,10})", re.ASCII)
SCOPE = "slurmstepd.scope"


def find(parts: Parts) -> Found | None:
    return _find_v2(parts) or _find_v1(parts)


def is_scope(unit: str) -> bool:
    """Where Slurm keeps all jobs of a node, or of one of several slurmd on it."""
    return unit == SCOPE or unit.endswith(f"_{SCOPE}")


def _find_v2(parts: Parts) -> Found | None:
    unit, depth = unit_after_slices(parts)
    if not is_scope(unit) or depth >= len(parts):
        return None
    job = _JOB.fullmatch(parts[depth])
    return Found(job[1] or job[2], depth + 1) if job else None


def _find_v1(parts: Parts) -> Found | None:
    if len(parts) < 3 or not (parts[0] == "slurm" or parts[0].startswith("slurm_")):
        return None
    uid, job = _UID.fullmatch(parts[1]), _JOB.fullmatch(parts[2])
    return Found(job[1] or job[2], 3, uid=int(uid[1])) if uid and job else None


SHAPE = Shape("slurm", find)
