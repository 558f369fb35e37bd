"""A frame comes from a disk or a stranger: what it says of itself is checked before it costs anything."""

import subprocess
import sys
from dataclasses import replace

import pytest
import zstandard

from gputally.storage.frame import (
    MAX_PAYLOAD_BYTES,
    Codec,
    DamagedFrame,
    Frame,
    make_frame,
    read_frame,
)

EPOCH, BEFORE = b"e" * 16, b"p" * 32
BOMB_BYTES = 1 << 30


def packed(payload: bytes, stored: bytes) -> Frame:
    return Frame(EPOCH, 1, BEFORE, 1, Codec.ZSTD, len(payload), stored)


def without_size(payload: bytes) -> bytes:
    """Made by a writer that did not know its length when it began."""
    stream = zstandard.ZstdCompressor().compressobj()
    return stream.compress(payload) + stream.flush()


def bomb(*, tells_size: bool) -> bytes:
    """A gibibyte of nothing in some 33 KiB."""
    stream = zstandard.ZstdCompressor(level=1).compressobj(size=BOMB_BYTES if tells_size else -1)
    part = bytes(1 << 24)
    return b"".join([*(stream.compress(part) for _ in range(BOMB_BYTES >> 24)), stream.flush()])


DEFUSE = """
import resource, sys
from gputally.storage.frame import DamagedFrame, read_frame
raw = sys.stdin.buffer.read()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    read_frame(raw).payload()
except DamagedFrame as error:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, error)
"""


@pytest.mark.parametrize("tells_size", [True, False])
def test_a_frame_that_would_fill_the_memory_is_refused_before_it_is_unpacked(tells_size: bool) -> None:
    """In a process of its own, whose largest size so far is its own."""
    raw = packed(b"x" * 1_000, bomb(tells_size=tells_size)).to_bytes()
    assert len(raw) < MAX_PAYLOAD_BYTES
    done = subprocess.run([sys.executable, "-c", DEFUSE], input=raw, capture_output=True, check=True)
    grown_kib, _, why = done.stdout.decode().partition(" ")
    assert "payload" in why
    assert int(grown_kib) < 2 * MAX_PAYLOAD_BYTES // 1024


@pytest.mark.parametrize("told", [0, 999, 1_001, 2**40])
def test_a_payload_must_say_the_size_that_the_header_says(told: int) -> None:
    stored = zstandard.ZstdCompressor().compress(b"x" * 1_000)
    with pytest.raises(DamagedFrame, match="1000"):
        replace(packed(b"", stored), payload_length=told).payload()


@pytest.mark.parametrize("length", [0, 1, 1_000, MAX_PAYLOAD_BYTES])
def test_a_payload_that_does_not_say_its_size_is_read_as_far_as_the_header_allows(length: int) -> None:
    payload = b"x" * length
    assert packed(payload, without_size(payload)).payload() == payload
    with pytest.raises(DamagedFrame):
        packed(payload, without_size(payload + b"y")).payload()


def test_what_follows_the_payload_is_not_passed_over() -> None:
    stored = zstandard.ZstdCompressor().compress(b"x" * 1_000)
    with pytest.raises(DamagedFrame):
        packed(b"x" * 1_000, stored + b"more").payload()


@pytest.mark.parametrize("length", [0, 1, 5_000, MAX_PAYLOAD_BYTES])
def test_what_was_sealed_comes_out_again(length: int) -> None:
    frame = make_frame(EPOCH, 1, BEFORE, 1, b"x" * length)
    assert read_frame(frame.to_bytes()).payload() == b"x" * length
