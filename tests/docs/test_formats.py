"""docs/formats.md is what the code does: the offsets, and each test vector, recomputed."""

import re
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gputally.model.decisions import ExclusionKind, ExclusionSet, PeriodSealed
from gputally.model.identity import encode, record_digest, records_digest, row_digest, segment_key, usage_key
from gputally.model.interval import Interval
from gputally.model.key_ring import checkpoint_message, key_message
from gputally.model.merkle import root_of
from gputally.model.sealing import decision_leaf, record_leaf, row_leaf, seal_message
from gputally.model.signing import key_id_of
from gputally.model.usage import ClaimClass, ClockState, DeviceWindow, Segment, Sharing, UsageRecord
from gputally.model.workload import Owner, Workload
from gputally.plugins.ed25519 import SecretKey
from gputally.storage import checkpoint
from gputally.storage.frame import (
    FORMAT,
    HEADER_BYTES,
    MAX_PAYLOAD_BYTES,
    MAX_RECORDS,
    Codec,
    genesis_hash,
    make_frame,
    read_frame,
)

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "formats.md").read_text()
HOST, BOOT = "gpu-01", "4fd0ff5f-0a0f-4d5b-9d0e-0c6c0c1f7a11"
EPOCH = bytes(range(16))
SEGMENT = Segment(
    device_id="nvidia:GPU-5ba23c4e-9fd3-4a52-9a26-4e3f0a2d5c11",
    generation=0,
    gpu_model="NVIDIA H100 80GB HBM3",
    boot=Interval(3_600_000_000_000, 3_660_000_000_000),
    wall_start_ns=1_748_736_000_000_000_000,
    window_start_ns=1_748_736_000_000_000_000,
    window_length_ns=60_000_000_000,
    clock=ClockState.SYNCED,
)
RECORD = UsageRecord(
    segment=SEGMENT,
    workload=Workload("docker", "4f2a"),
    owner=Owner("acme", "vision", "1", "", (("team", "perception"),)),
    allocated_ns=40_000_000_000,
    held_ns=45_000_000_000,
    busy_ns=30_000_000_000,
    busy_known_ns=40_000_000_000,
    gpu_memory_byte_ms=2**60,
    energy_mj=None,
    claim=ClaimClass.PROCESS,
    sharing=Sharing.EQUAL,
    edge_uncertainty_ns=20_000_000,
    rules_version="r1",
    evidence="/docker/4f2a",
)
ROW = DeviceWindow(
    segment=SEGMENT,
    idle_ns=15_000_000_000,
    unobserved_ns=(("nvml_hang", 5_000_000_000),),
    record_count=1,
    records_digest=records_digest([RECORD]),
    energy_start_mj=1_000,
    energy_end_mj=None,
)
FRAME = make_frame(EPOCH, 1, genesis_hash(HOST, EPOCH), 1, b"usage")
NEXT = make_frame(EPOCH, 2, FRAME.hash, 0, b"more!")
KEY = SecretKey(Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
LEAVES = [
    row_leaf(segment_key(HOST, BOOT, SEGMENT), 0, row_digest(ROW)),
    record_leaf(usage_key(HOST, BOOT, RECORD), 0, record_digest(RECORD)),
    decision_leaf(ExclusionSet("m", ExclusionKind.MAINTENANCE, 0, 1, "kim")),
]
SEAL = PeriodSealed(0, 1, 7, root_of(LEAVES).hash, 3, key_id_of(KEY.public_key))
VECTORS = {
    "encode(nothing known)": encode(None),
    'encode("a")': encode("a"),
    "encode(1)": encode(1),
    "encode(-1)": encode(-1),
    'encode("", unknown, 0)': encode("", None, 0),
    "segment_key": segment_key(HOST, BOOT, SEGMENT),
    "usage_key": usage_key(HOST, BOOT, RECORD),
    "record_digest": record_digest(RECORD),
    "records_digest of none": records_digest([]),
    "records_digest of the record": records_digest([RECORD]),
    "row_digest": row_digest(ROW),
    "genesis_hash": genesis_hash(HOST, EPOCH),
    "frame 1": FRAME.to_bytes(),
    "hash of frame 1": FRAME.hash,
    "hash of frame 2": NEXT.hash,
    "key_id": key_id_of(KEY.public_key),
    "signed of the checkpoint of frame 2": checkpoint_message(HOST, EPOCH, 2, NEXT.hash),
    "signature of the checkpoint of frame 2": KEY.sign(checkpoint_message(HOST, EPOCH, 2, NEXT.hash)),
    "signed of the first key": key_message(KEY.public_key, b""),
    "signature of the first key": KEY.sign(key_message(KEY.public_key, b"")),
    "leaf of the row": LEAVES[0],
    "leaf of the record": LEAVES[1],
    "leaf of an exclusion": LEAVES[2],
    "root of the three": SEAL.root,
    "signed of the seal": seal_message(EPOCH, SEAL),
    "signature of the seal": KEY.sign(seal_message(EPOCH, SEAL)),
    "checkpoint": checkpoint.encode({"open": [1, -1, 2**64, None, True, b"x"]}),
}


def test_each_test_vector_is_what_the_code_computes() -> None:
    block = re.search(r"```vectors\n(.*?)```", TEXT, re.DOTALL)
    assert block is not None
    written = dict(line.rsplit(" = ", 1) for line in block[1].splitlines())
    assert written == {name: raw.hex() for name, raw in VECTORS.items()}


def header_fields() -> dict[str, slice]:
    """The table of the header: | offset | bytes | field | ..."""
    rows = re.findall(r"^\| +(\d+) \| +(\d+) \| `(\w+)` \|", TEXT, re.MULTILINE)
    fields = {name: slice(int(offset), int(offset) + int(size)) for offset, size, name in rows}
    assert [place.start for place in fields.values()] == [0, *(place.stop for place in fields.values())][:-1]
    return fields


def test_the_header_is_laid_out_as_the_table_says() -> None:
    raw = FRAME.to_bytes()
    read = {name: raw[place] for name, place in header_fields().items()}
    assert sum(map(len, read.values())) == HEADER_BYTES == len(raw) - len(b"usage")
    assert read["epoch"] == EPOCH
    assert read["previous_hash"] == genesis_hash(HOST, EPOCH)
    numbers = {name: int.from_bytes(part, "big") for name, part in read.items() if len(part) <= 8}
    assert numbers == {
        "format": FORMAT,
        "codec": Codec.PLAIN,
        "records": 1,
        "seq": 1,
        "payload_length": 5,
        "stored_length": 5,
    }


def test_the_example_frames_are_read_as_frames() -> None:
    assert read_frame(FRAME.to_bytes()).payload() == b"usage"
    assert NEXT.previous_hash == FRAME.hash


def test_the_limits_are_those_of_the_text() -> None:
    assert f"at most {MAX_RECORDS:,} usage records" in TEXT
    assert f"at most {MAX_PAYLOAD_BYTES // 1024} KiB" in TEXT
