"""Boards we know: how much of everything they have, and what they can be cut into.

Sizes and multiprocessors as ``nvidia-smi`` and ``nvidia-smi mig -lgip`` show them, or near to it: drivers differ.
"""

import uuid
from dataclasses import dataclass, field

from .nouns import Mig, SimDevice, SimInstance

MIB = 1 << 20
BUSES = (0x18, 0x2A, 0x3A, 0x5D, 0x9A, 0xAB, 0xBA, 0xDB)  # of an HGX H100 board


@dataclass(frozen=True, slots=True)
class Profile:
    """What a GPU can be cut into: ``3g.40gb`` is 3 compute slices with 4 memory slices."""

    compute_slices: int
    memory_slices: int
    memory_mib: int
    multiprocessors: int


@dataclass(frozen=True, slots=True)
class Model:
    memory_bytes: int
    reserved_bytes: int
    """What the driver keeps of the memory."""
    idle_mw: int
    multiprocessors: int
    mig: Mig = "unsupported"
    profiles: dict[str, Profile] = field(default_factory=dict[str, Profile])


H100 = "NVIDIA H100 80GB HBM3"
MODELS = {
    H100: Model(
        85_520_809_984, 577_765_376, 70_000, 132, "disabled",
        {
            "1g.10gb": Profile(1, 1, 9_984, 16),
            "1g.20gb": Profile(1, 2, 20_096, 26),
            "2g.20gb": Profile(2, 2, 20_096, 32),
            "3g.40gb": Profile(3, 4, 40_448, 60),
            "4g.40gb": Profile(4, 4, 40_448, 64),
            "7g.80gb": Profile(7, 8, 81_152, 132),
        },
    ),
    "NVIDIA H200": Model(
        150_754_820_096, 577_765_376, 75_000, 132, "disabled",
        {
            "1g.18gb": Profile(1, 1, 16_384, 16),
            "1g.35gb": Profile(1, 2, 33_280, 26),
            "2g.35gb": Profile(2, 2, 33_280, 32),
            "3g.71gb": Profile(3, 4, 71_424, 60),
            "4g.71gb": Profile(4, 4, 71_424, 64),
            "7g.141gb": Profile(7, 8, 143_360, 132),
        },
    ),
    "NVIDIA A100-SXM4-80GB": Model(
        85_899_345_920, 650_117_120, 55_000, 98, "disabled",
        {
            "1g.10gb": Profile(1, 1, 9_728, 14),
            "1g.20gb": Profile(1, 2, 19_968, 14),
            "2g.20gb": Profile(2, 2, 19_968, 28),
            "3g.40gb": Profile(3, 4, 40_192, 42),
            "4g.40gb": Profile(4, 4, 40_192, 56),
            "7g.80gb": Profile(7, 8, 80_640, 98),
        },
    ),
    "NVIDIA A100-SXM4-40GB": Model(
        42_949_672_960, 534_773_760, 52_000, 98, "disabled",
        {
            "1g.5gb": Profile(1, 1, 4_864, 14),
            "1g.10gb": Profile(1, 2, 9_856, 14),
            "2g.10gb": Profile(2, 2, 9_984, 28),
            "3g.20gb": Profile(3, 4, 20_096, 42),
            "4g.20gb": Profile(4, 4, 20_096, 56),
            "7g.40gb": Profile(7, 8, 40_192, 98),
        },
    ),
    "NVIDIA L40S": Model(48_305_799_168, 611_319_808, 32_000, 142),
    "NVIDIA L40": Model(48_305_799_168, 611_319_808, 32_000, 142),
    "Tesla T4": Model(16_106_127_360, 469_762_048, 9_000, 40),
}  # fmt: skip
"""By name. Of an A100 the multiprocessors are those that MIG can give away: 98 of its 108."""

FIRST_IDS = {1: 7, 2: 3, 3: 1, 4: 1, 7: 0}
"""The first id of GPU instances with so many slices; the next ones count on from it."""


def model_of(name: str) -> Model:
    """An H100's, for a name that we do not know."""
    return MODELS.get(name, MODELS[H100])


def board(host: str, index: int, name: str) -> SimDevice:
    """The index-th device of a host, idle."""
    model = model_of(name)
    domain, bus = divmod(index, len(BUSES))
    return SimDevice(
        uuid=f"GPU-{uuid.uuid5(uuid.NAMESPACE_DNS, f'{index}.{host}.gputally')}",
        name=name,
        minor=index,
        pci_bus_id=f"{domain:08X}:{BUSES[bus]:02X}:00.0",
        memory_bytes=model.memory_bytes,
        reserved_bytes=model.reserved_bytes,
        power_mw=model.idle_mw,
        multiprocessors=model.multiprocessors,
        mig=model.mig,
    )


def cut_into(model: str, *profiles: str) -> tuple[SimInstance, ...]:
    """One MIG device of each of these profiles of a board, with the ids that a driver gives them.

    Raises KeyError for a profile that the board does not have.
    """
    known, ids, made = model_of(model).profiles, set[int](), list[SimInstance]()
    for name in profiles:
        profile = known[name]
        ids.add(gpu_instance := _free_id(profile.compute_slices, ids))
        made.append(_instance(name, profile, gpu_instance))
    return tuple(made)


def _instance(name: str, profile: Profile, gpu_instance: int) -> SimInstance:
    return SimInstance(
        gpu_instance,
        compute_slices=profile.compute_slices,
        memory_slices=profile.memory_slices,
        memory_bytes=profile.memory_mib * MIB,
        multiprocessors=profile.multiprocessors,
        profile=name,
    )


def _free_id(slices: int, taken: set[int]) -> int:
    free = FIRST_IDS[slices]
    while free in taken:
        free += 1
    return free
