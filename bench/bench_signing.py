"""What a signed checkpoint costs the daemon, beside a bare Ed25519 signature of the same message in the same run.

A signed checkpoint: the file of the key looked at, the log's newest frame and its hash read, signed, and put into a
batch that is encoded. The batch without it is encoded in the same turn, and its time is taken off. A checkpoint is
signed once a minute at most, so a millisecond here would be 17 µs a second.

    python bench/bench_signing.py [--rounds 2000]

Bounds believed in before measuring: at most 4 times the bare signature, and at most 0.5 ms.
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

from gputally.daemon.signing import Signing
from gputally.model.key_ring import checkpoint_message
from gputally.model.usage import Batch
from gputally.plugins.ed25519 import check
from gputally.plugins.signing_key import make_key_file, write_key_file
from gputally.proto.convert import encode_batch
from gputally.storage.wal import Entry, Log

HOST = "gpu-01"
MOST_TIMES, MOST_US = 4.0, 500.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=2_000)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        return measure(Path(folder), rounds)


def measure(folder: Path, rounds: int) -> int:
    write_key_file(folder / "key", make_key_file(), replace=False)
    log = Log.open(folder / "log", HOST, 16 * 1024 * 1024)
    signing = Signing.open(folder / "key", log, HOST)
    batch = Batch(HOST, "boot", complete_through_ns=1)
    log.append([Entry(0, encode_batch(batch))], None)
    signed = signing.sign(0.0)
    assert signed is not None
    signing.kept(signed, 0.0)  # the keys are told: from here on only checkpoints are
    log.append([Entry(0, encode_batch(signed.on(batch)))], None)
    (checkpoint,) = signed.checkpoints
    message = checkpoint_message(HOST, checkpoint.epoch, checkpoint.seq, checkpoint.hash)
    public_key, secret = signing.file.own.public_key, signing.file.secret
    whole, bare, plain, checks = ([0.0] * rounds for _ in range(4))
    for turn in range(rounds):
        began = time.perf_counter()
        signed = signing.sign(1.0)
        assert signed is not None and not signed.keys
        raw = encode_batch(signed.on(batch))
        whole[turn], began = time.perf_counter() - began, time.perf_counter()
        secret.sign(message)
        bare[turn], began = time.perf_counter() - began, time.perf_counter()
        unsigned = encode_batch(batch)
        plain[turn], began = time.perf_counter() - began, time.perf_counter()
        assert check(public_key, message, checkpoint.signature)
        checks[turn] = time.perf_counter() - began
    log.close()
    whole_us, bare_us, plain_us, check_us = (1e6 * statistics.median(each) for each in (whole, bare, plain, checks))
    ours_us = whole_us - plain_us
    print(f"{rounds} rounds, medians")
    size_bytes = len(raw) - len(unsigned)
    print(f"  signed checkpoint, in its batch: {ours_us:7.1f} µs, {size_bytes} bytes (at most {MOST_US:.0f} µs)")
    print(f"  bare Ed25519 signature:          {bare_us:7.1f} µs")
    print(f"  ratio: {ours_us / bare_us:.2f} (at most {MOST_TIMES:.0f})")
    print(f"  checking one, at gputally verify: {check_us:6.1f} µs")
    return 0 if ours_us <= min(MOST_US, MOST_TIMES * bare_us) else 1


if __name__ == "__main__":
    sys.exit(main())
