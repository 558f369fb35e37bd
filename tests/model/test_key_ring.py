"""Whose word a signature is, as far as somebody can know who only has the chain, and perhaps a pinned key."""

import pytest

from gputally.model.key_ring import MOST_KEYS, BadSignature, KeyRing, checkpoint_message, key_message
from gputally.model.signing import SignedCheckpoint, SigningKey

HOST, EPOCH = "gpu-01", b"e" * 16


def check(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """A signature that anybody could make, but right or wrong like a real one; real ones are tested at the auditor."""
    return signature == public_key + message


def key(number: int, before: SigningKey | None = None) -> SigningKey:
    public = number.to_bytes(32, "big")
    signed_by = before.key_id if before else b""
    return SigningKey(public, signed_by, (before.public_key if before else public) + key_message(public, signed_by))


def word(by: SigningKey, seq: int = 1, epoch: bytes = EPOCH, host_id: str = HOST) -> SignedCheckpoint:
    message = checkpoint_message(host_id, epoch, seq, bytes(32))
    return SignedCheckpoint(by.key_id, epoch, seq, bytes(32), by.public_key + message)


FIRST = key(1)
SECOND = key(2, FIRST)
THIRD = key(3, SECOND)


def test_a_key_speaks_from_its_introduction_until_the_next() -> None:
    ring = KeyRing(HOST, check)
    ring.introduce([FIRST])
    assert ring.accept(EPOCH, word(FIRST))
    ring.introduce([FIRST, SECOND])
    assert ring.accept(EPOCH, word(SECOND))
    with pytest.raises(BadSignature, match="whose place"):
        ring.accept(EPOCH, word(FIRST))


def test_a_word_of_an_old_epoch_that_was_said_again_may_be_by_a_retired_key() -> None:
    ring = KeyRing(HOST, check)
    ring.introduce([FIRST, SECOND])
    assert ring.accept(b"n" * 16, word(FIRST))
    assert not ring.accept(b"n" * 16, word(THIRD)), "damage may have taken the frame that introduced it"


def test_a_word_about_another_host_is_forged() -> None:
    ring = KeyRing(HOST, check)
    ring.introduce([FIRST])
    with pytest.raises(BadSignature, match="its signature is not that of key"):
        ring.accept(EPOCH, word(FIRST, host_id="gpu-02"))


@pytest.mark.parametrize(
    "intruder",
    [
        key(9),
        key(9, key(8)),
        SigningKey((9).to_bytes(32, "big"), FIRST.key_id, b"forged"),
        SigningKey(b"short", FIRST.key_id, b""),
    ],
)
def test_a_key_that_the_one_before_did_not_introduce_is_no_key(intruder: SigningKey) -> None:
    ring = KeyRing(HOST, check)
    ring.introduce([FIRST])
    with pytest.raises(BadSignature):
        ring.introduce([intruder])
    assert ring.current == FIRST.key_id


def test_a_retired_key_introduces_nobody() -> None:
    ring = KeyRing(HOST, check)
    ring.introduce([FIRST, SECOND])
    with pytest.raises(BadSignature, match="was not introduced by"):
        ring.introduce([key(9, FIRST)])


def test_a_pinned_key_is_trusted_and_so_are_those_it_leads_to_but_none_before_it() -> None:
    ring = KeyRing(HOST, check, frozenset({SECOND.public_key}))
    told: list[bool] = []
    for one in (FIRST, SECOND, THIRD):
        ring.introduce([one])
        told.append(ring.is_pinned)
    assert told == [False, True, True]


def test_a_pinned_key_may_begin_anew_where_a_key_was_lost() -> None:
    ring = KeyRing(HOST, check, frozenset({key(9).public_key}))
    ring.introduce([FIRST, key(9)])
    assert ring.accept(EPOCH, word(key(9))) and ring.is_pinned


def test_an_unknown_key_is_forged_where_all_is_there_and_cannot_be_told_where_frames_are_no_more() -> None:
    ring = KeyRing(HOST, check)
    with pytest.raises(BadSignature, match="was never introduced"):
        ring.accept(EPOCH, word(FIRST))
    ring.complete = False
    assert not ring.accept(EPOCH, word(FIRST))
    ring.introduce([])
    assert not ring.accept(EPOCH, word(FIRST)), "a frame that introduces nobody makes nobody known"
    ring.introduce([FIRST])
    with pytest.raises(BadSignature, match="was never introduced"):
        ring.accept(EPOCH, word(THIRD))


def test_the_keys_of_a_host_are_bounded() -> None:
    ring, last = KeyRing(HOST, check), None
    for number in range(MOST_KEYS):
        last = key(number, last)
        ring.introduce([last])
    with pytest.raises(BadSignature, match="one too many"):
        ring.introduce([key(MOST_KEYS, last)])
