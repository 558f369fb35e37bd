"""Small real processes: forked from one that has imported everything, so that a life costs milliseconds.

gRPC must not have been used before a fork (its threads do not come along), so
whoever uses these makes channels and servers only in the children.
"""

import contextlib
import ctypes
import mmap
import os
import pickle
import resource
import signal
import sys
import traceback
from collections.abc import Callable
from typing import Any, Final, NoReturn

_FAILED: Final = 99
_LIBC: Final = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG: Final = 1
"""sys/prctl.h."""


class Promises:
    """Some numbers that outlive the process that wrote them: memory shared with its parent. Each only grows."""

    def __init__(self, count: int = 4) -> None:
        self._memory = mmap.mmap(-1, mmap.PAGESIZE)
        self._cells = memoryview(self._memory).cast("Q")
        self.count = count

    def __getitem__(self, cell: int) -> int:
        return self._cells[cell]

    def __setitem__(self, cell: int, number: int) -> None:
        self._cells[cell] = number


class Died(Exception):
    """A child ended abnormally, or raised an error, instead of answering."""


def spawn(work: Callable[[], object], *, quiet: bool = False) -> int:
    """The pid of a child that does this and ends; it is killed if its parent dies."""
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        _become(work, parent, quiet)
    return pid


def kill(pid: int) -> None:
    """SIGKILL, and waits for the end."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def ended(pid: int) -> int | None:
    """Its exit status as os.waitpid tells it, or None while it lives. Do not ask again once it has ended."""
    found, status = os.waitpid(pid, os.WNOHANG)
    return status if found else None


def asked(work: Callable[[], Any], *, quiet: bool = False) -> Any:
    """What ``work`` returned in a child of its own. Raises Died if the child did not live to tell."""
    reading, writing = os.pipe()

    def tell() -> None:
        os.close(reading)
        with os.fdopen(writing, "wb") as pipe:
            pickle.dump(_answer(work), pipe)

    pid = spawn(tell, quiet=quiet)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        told = pipe.read()
    status = os.waitpid(pid, 0)[1]
    if status:
        raise Died(words_of(status))
    answer, raised = pickle.loads(told)
    if raised:
        raise Died(raised)
    return answer


def _answer(work: Callable[[], Any]) -> tuple[Any, str]:
    try:
        return work(), ""
    except Exception as error:
        return None, f"{type(error).__name__}: {error}"


def words_of(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    return f"ended by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def apart() -> None:
    """From here on this process has mounts of its own, which vanish with it. Raises OSError where it may not."""
    clone_newns = 0x20000  # linux/sched.h
    if _LIBC.unshare(clone_newns):
        raise OSError(ctypes.get_errno(), "unshare(CLONE_NEWNS)")
    private, recursive = 1 << 18, 1 << 14  # linux/mount.h
    if _LIBC.mount(b"none", b"/", None, private | recursive, None):
        raise OSError(ctypes.get_errno(), "mount / as private")


def _become(work: Callable[[], object], parent: int, quiet: bool) -> NoReturn:
    code = 0
    try:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(_FAILED)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if quiet:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        work()
    except BaseException:
        code = _FAILED
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)
