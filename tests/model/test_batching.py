"""A batch is cut to frames between devices, never through one."""

from dataclasses import replace

from gputally.model.batching import halve
from gputally.model.conservation import check_batch
from gputally.model.signing import SignedCheckpoint, SigningKey
from gputally.model.usage import Batch

from .host import PaperHost, Run, S


def batch_of(devices: int, workloads: int) -> Batch:
    names = tuple(f"nvidia:GPU-{n}" for n in range(devices))
    runs = [Run(d * 100 + w, f"t{w}", 0, 90 * S, names[d]) for d in range(devices) for w in range(workloads)]
    host = PaperHost(runs, names)
    for tick in range(61):
        host.tick(tick * S)
    return host.batches[-1]


def test_each_half_obeys_the_law_by_itself() -> None:
    whole = batch_of(5, 4)
    first, second = halve(whole)
    assert [len(part.rows) for part in (first, second)] == [2, 3]
    assert check_batch(first) == [] and check_batch(second) == []
    assert first.records + second.records == whole.records


def test_the_watermark_travels_with_the_second_half_only() -> None:
    whole = batch_of(3, 4)
    assert [half.complete_through_ns for half in halve(whole)] == [None, whole.complete_through_ns]


def test_keys_and_signatures_are_told_once_and_no_signature_before_its_key() -> None:
    keys = tuple(SigningKey(bytes([n]) * 32, b"", b"") for n in range(3))
    word = SignedCheckpoint(keys[-1].key_id, b"e" * 16, 1, b"h" * 32, b"")
    first, second = halve(replace(batch_of(3, 4), keys=keys, checkpoints=(word,)))
    assert first.keys + second.keys == keys
    assert (first.checkpoints, second.checkpoints) == ((), (word,))
