"""Users: all below ``/user.slice/user-UID.slice`` is the user's, whatever it is called.

Sessions, the user's own units, rootless containers: the user can create any
name there, so none of it decides.
"""

import re

from .shape import Found, Parts, Shape

_SLICE = re.compile(r"user-([0-9]{1,10})\.slice", re.ASCII)


def find(parts: Parts) -> Found | None:
    if len(parts) < 2 or parts[0] != "user.slice":
        return None
    match = _SLICE.fullmatch(parts[1])
    return Found(match[1], 2, uid=int(match[1])) if match else None


SHAPE = Shape("user", find)
