"""Every NVML error has one meaning for the daemon."""

import pynvml
import pytest

from gputally.model.reading import GapReason
from gputally.plugins.nvml import errors

NAMES = [name for name in dir(pynvml) if name.startswith("NVML_ERROR_")]


@pytest.mark.parametrize("name", NAMES)
def test_each_error_of_the_header_is_a_gap_with_a_reason(name: str) -> None:
    code = getattr(pynvml, name)
    assert GapReason(errors.gap_reason(code))
    assert GapReason(errors.trouble_reason(code))
    assert errors.words(code) in errors.words_and_cure(code)


def test_our_numbers_are_the_headers() -> None:
    ours = {name: value for name, value in vars(errors).items() if name.isupper() and isinstance(value, int)}
    assert len(ours) > 10
    for name, value in ours.items():
        if name not in ("SUCCESS", "BAD_ROWS"):
            assert value == getattr(pynvml, f"NVML_ERROR_{name}"), name


def test_a_lost_gpu_is_lost_and_an_unknown_error_is_only_an_error() -> None:
    assert errors.gap_reason(errors.GPU_IS_LOST) == "gpu_lost"
    assert errors.gap_reason(errors.UNKNOWN) == "nvml_error"
    assert errors.gap_reason(errors.BAD_ROWS) == "bad_reading"
    assert errors.trouble_reason(errors.LIBRARY_NOT_FOUND) == "driver_missing"
    assert errors.trouble_reason(errors.GPU_NOT_FOUND) == "gpu_lost"
    assert errors.trouble_reason(errors.LIB_RM_VERSION_MISMATCH) == "driver_reload"


def test_what_passes_is_asked_again() -> None:
    assert errors.NOT_SUPPORTED in errors.PERMANENT
    assert not errors.PERMANENT & {errors.UNKNOWN, errors.GPU_IS_LOST, pynvml.NVML_ERROR_TIMEOUT}


@pytest.mark.parametrize(
    ("code", "why", "told"),
    [
        (errors.LIBRARY_NOT_FOUND, "", ("not found; install the NVIDIA driver", "container")),
        (errors.LIBRARY_NOT_FOUND, "file too short", ("cannot be loaded: file too short; install",)),
        (errors.GPU_NOT_FOUND, "", ("the driver sees no GPU; ", "nvidia-smi -L", "passed through")),
        (errors.DRIVER_NOT_LOADED, "", ("modprobe nvidia",)),
        (errors.LIB_RM_VERSION_MISMATCH, "", ("reboot",)),
    ],
)
def test_a_host_whose_gpus_cannot_be_read_is_told_the_cure(code: int, why: str, told: tuple[str, ...]) -> None:
    words = errors.words_and_cure(code, why)
    assert all(part in words for part in told), words
