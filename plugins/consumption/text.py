"""The kernel's texts as numbers. What is not exactly as documented is None: a wrong number is worse than none.

Sources: Documentation/admin-guide/cgroup-v2.rst (cpu.stat, memory.stat, io.stat),
cgroup-v1/blkio-controller.rst and memory.rst, net/core/net-procfs.c (net/dev).
"""

import re
from typing import Final

MOST: Final = 2**64 - 1
_NUMBER: Final = re.compile(rb"[0-9]{1,20}")
_DEVICE: Final = re.compile(rb"[0-9]{1,10}:[0-9]{1,10}")

DeviceBytes = tuple[bytes, int, int]
"""(MAJOR:MINOR, bytes read, bytes written)."""


def parse_number(raw: bytes) -> int | None:
    """A file, or a word, that is one number of 64 bits."""
    word = raw.strip()
    if not _NUMBER.fullmatch(word):
        return None
    value = int(word)
    return value if value <= MOST else None


def find_value(raw: bytes, key: bytes) -> int | None:
    """The number behind ``key`` in a file of ``KEY NUMBER`` lines."""
    start = 0 if raw.startswith(key + b" ") else raw.find(b"\n" + key + b" ") + 1
    if start == 0 and not raw.startswith(key + b" "):
        return None
    end = raw.find(b"\n", start)
    return parse_number(raw[start + len(key) + 1 : end if end >= 0 else len(raw)])


def parse_io_stat(raw: bytes) -> list[DeviceBytes] | None:
    """v2's io.stat: ``MAJ:MIN rbytes=N wbytes=N ...``, a line for each device.

    Kernels since 5.13 put devices without numbers in front of the next one's in
    the same line, or leave one alone: those have moved nothing.
    """
    found: list[DeviceBytes] = []
    for line in raw.splitlines():
        words = line.split()
        devices = [word for word in words if _DEVICE.fullmatch(word)]
        if words and not devices:
            return None
        read = _after(words, b"rbytes=")
        written = _after(words, b"wbytes=")
        if read is None or written is None:
            return None
        found += [(device, 0, 0) for device in devices[:-1]]
        found += [(device, read, written) for device in devices[-1:]]
    return found


def _after(words: list[bytes], key: bytes) -> int | None:
    """The number of ``key``; 0 if it is not said."""
    for word in words:
        if word.startswith(key):
            return parse_number(word[len(key) :])
    return 0


def parse_blkio(raw: bytes) -> list[DeviceBytes] | None:
    """v1's blkio files: ``MAJ:MIN Read N``, ``MAJ:MIN Write N``, other words, and a ``Total N``."""
    found: dict[bytes, list[int]] = {}
    for line in raw.splitlines():
        words = line.split()
        value = parse_number(words[-1]) if words else 0
        if value is None or (words and words[0] != b"Total" and (len(words) != 3 or not _DEVICE.fullmatch(words[0]))):
            return None
        if len(words) == 3 and words[1] in (b"Read", b"Write"):
            found.setdefault(words[0], [0, 0])[words[1] == b"Write"] += value
    return [(device, read, written) for device, (read, written) in found.items()]


def parse_net_dev(raw: bytes) -> list[tuple[bytes, int, int]] | None:
    """(interface, bytes received, bytes sent) for each but loopback, in the kernel's order."""
    lines = raw.splitlines()
    if len(lines) < 2 or b"|" not in lines[0] or b"|" not in lines[1]:
        return None
    parsed = list(map(_interface, lines[2:]))
    known = [each for each in parsed if each is not None]
    return [each for each in known if each[0] != b"lo"] if len(known) == len(parsed) else None


def _interface(line: bytes) -> tuple[bytes, int, int] | None:
    """``  eth0: RECEIVED and seven more, SENT and seven more``. A name may hold colons: the last one ends it."""
    name, colon, numbers = line.rpartition(b":")
    words = numbers.split()
    if not colon or len(words) != 16:
        return None
    received, sent = parse_number(words[0]), parse_number(words[8])
    return None if received is None or sent is None else (name.strip(), received, sent)
