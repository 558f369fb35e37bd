"""Small files of the kernel, read whole or not at all."""

import errno
import os
from typing import Final

from ...model.consumption import Unknown

LONGEST_BYTES: Final = 65_536
"""No file that we read is nearly as long; one that is cannot be what we take it for."""
_FLAGS: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
"""O_NONBLOCK: opening something that is no file must not wait for anybody."""


class CannotKnow(Exception):
    """A quantity that could not be read, and why."""

    def __init__(self, why: Unknown) -> None:
        super().__init__(why)
        self.why = why


def read_file(name: str, folder: int) -> bytes:
    """The whole of a group's file. Raises CannotKnow: without the file, the controller is off."""
    return _read_at_once(name, folder)


def read_path(path: str) -> bytes:
    """The same, for a file of any group by its full path."""
    return _read_at_once(path, None)


def _read_at_once(name: str, folder: int | None) -> bytes:
    """A group's file is one piece to the kernel (fs/kernfs/file.c) and comes in one read."""
    try:
        descriptor = os.open(name, _FLAGS, dir_fd=folder)
    except (OSError, ValueError) as error:
        raise CannotKnow(reason_for(error, Unknown.CONTROLLER_OFF)) from None
    try:
        return _checked(os.read(descriptor, LONGEST_BYTES + 1))
    except OSError as error:
        raise CannotKnow(reason_for(error, Unknown.NO_GROUP)) from None
    finally:
        os.close(descriptor)


def read_list(descriptor: int) -> bytes:
    """The whole of a list, which comes in pieces of up to a page and ends with an empty one. Raises CannotKnow."""
    raw = b""
    try:
        while len(raw) <= LONGEST_BYTES and (more := os.read(descriptor, LONGEST_BYTES + 1 - len(raw))):
            raw += more
    except OSError as error:
        raise CannotKnow(reason_for(error, Unknown.NO_PROCESS)) from None
    return _checked(raw)


def _checked(raw: bytes) -> bytes:
    if len(raw) > LONGEST_BYTES:
        raise CannotKnow(Unknown.UNREADABLE)
    return raw


def reason_for(error: OSError | ValueError, missing: Unknown) -> Unknown:
    """``missing`` where there is no such file. A ValueError is a path with a zero byte: it names nothing."""
    number = error.errno if isinstance(error, OSError) else errno.ENOENT
    if number in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG):
        return missing
    if number in (errno.EACCES, errno.EPERM):
        return Unknown.NOT_PERMITTED
    if number in (errno.ENODEV, errno.ESRCH):  # the group, or the process, went while we read
        return Unknown.NO_GROUP
    return Unknown.UNREADABLE
