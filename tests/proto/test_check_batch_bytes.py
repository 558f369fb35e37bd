"""The intake's cheap check and the projector's decoding agree: else what cannot be read would be acknowledged."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gputally.model.interval import Interval
from gputally.model.signing import SignedCheckpoint, SigningKey
from gputally.model.usage import Batch
from gputally.proto.convert import check_batch_bytes, decode_batch, decode_signing, encode_batch
from gputally.proto.v1 import usage_pb2 as wire
from gputally.simulator.stream import SimulatedHost

MINUTE_NS = 60 * 10**9


def good_batch() -> Batch:
    host = SimulatedHost("gpu-01")
    host.hold("nvidia:GPU-1", "NVIDIA L40", "A", Interval(0, 3 * MINUTE_NS))
    (batch,) = host.batches()
    return batch


GOOD = encode_batch(good_batch())


def host_or_error(payload: bytes) -> tuple[str | None, str]:
    try:
        return decode_batch(payload).host_id, ""
    except ValueError as error:
        return None, str(error)


def checked(payload: bytes) -> tuple[str | None, str]:
    try:
        return check_batch_bytes(payload), ""
    except ValueError as error:
        return None, str(error)


def test_a_good_batch_says_whose_it_is() -> None:
    assert check_batch_bytes(GOOD) == "gpu-01"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda message: message.segments[0].ClearField("length_ns"),
        lambda message: setattr(message.segments[1], "clock", "sundial"),
        lambda message: setattr(message.records[0], "claim", "mine"),
        lambda message: setattr(message.records[2], "sharing", "unfair"),
        lambda message: setattr(message.records[1], "segment", 3),
        lambda message: setattr(message.rows[1], "segment", 2**32 - 1),
    ],
)
def test_what_cannot_be_true_is_refused_by_both_alike(spoil: object) -> None:
    message = wire.Batch.FromString(GOOD)
    assert callable(spoil)
    spoil(message)
    payload = message.SerializeToString()
    assert checked(payload)[0] is None
    assert checked(payload) == host_or_error(payload)


@given(st.binary(max_size=200))
def test_any_bytes_are_judged_alike(payload: bytes) -> None:
    assert checked(payload)[0] == host_or_error(payload)[0]


@given(st.integers(0, len(GOOD) - 1), st.integers(1, 255), st.integers(0, len(GOOD)))
def test_damaged_batches_are_judged_alike(place: int, flip: int, cut: int) -> None:
    damaged = bytearray(GOOD)
    damaged[place] ^= flip
    for payload in (bytes(damaged), GOOD[:cut], bytes(damaged[:cut])):
        assert checked(payload)[0] == host_or_error(payload)[0]


def test_an_empty_batch_is_one_of_a_nameless_host() -> None:
    assert check_batch_bytes(encode_batch(replace(good_batch(), host_id="", records=(), rows=()))) == ""


def test_keys_and_signatures_come_back_as_they_were_said() -> None:
    keys = (SigningKey(b"a" * 32, b"", b"s" * 64), SigningKey(b"b" * 32, b"k" * 8, b"t" * 64))
    words = (SignedCheckpoint(b"k" * 8, b"e" * 16, 2**63, b"h" * 32, b"u" * 64),)
    batch = replace(good_batch(), keys=keys, checkpoints=words)
    payload = encode_batch(batch)
    assert decode_batch(payload) == batch
    assert check_batch_bytes(payload) == "gpu-01"
    assert decode_signing(payload) == Batch(batch.host_id, batch.boot_id, keys=keys, checkpoints=words)
