"""Every NVML error has one meaning for the daemon."""

import pynvml
import pytest

from gputally.model.reading import GapReason
from gputally.plugins.nvml import errors

CODES = {name: value for name, value in vars(pynvml).items() if name.startswith("NVML_ERROR_")}
TABLE = errors._TABLE  # pyright: ignore[reportPrivateUsage] - that nothing is missing in it


@pytest.mark.parametrize("name", CODES)
def test_each_error_of_the_header_is_in_the_table(name: str) -> None:
    code = CODES[name]
    assert code in TABLE
    assert errors.sort(code) in (errors.PERMANENT, errors.PASSING, errors.GAP)
    assert GapReason(errors.gap_reason(code))
    assert GapReason(errors.trouble_reason(code))
    assert errors.words(code) in errors.words_and_cure(code)


def test_the_table_has_no_error_that_the_header_does_not_have() -> None:
    assert set(TABLE) - {errors.BAD_ROWS} == set(CODES.values())


def test_our_numbers_are_the_headers() -> None:
    ours = {name: value for name, value in vars(errors).items() if name.isupper() and isinstance(value, int)}
    assert len(ours) > 30
    for name, value in ours.items():
        if name not in ("SUCCESS", "BAD_ROWS"):
            assert value == CODES[f"NVML_ERROR_{name}"], name


def test_an_error_of_a_later_driver_is_a_gap_and_named_by_its_number() -> None:
    assert errors.sort(31337) == errors.GAP
    assert errors.gap_reason(31337) == errors.trouble_reason(31337) == "nvml_error"
    assert "31337" in errors.words_and_cure(31337)
    assert not errors.condemns_device(31337)


def test_a_lost_gpu_is_lost_and_an_unknown_error_is_only_an_error() -> None:
    assert errors.gap_reason(errors.GPU_IS_LOST) == "gpu_lost"
    assert errors.gap_reason(errors.UNKNOWN) == "nvml_error"
    assert errors.gap_reason(errors.BAD_ROWS) == "bad_reading"
    assert errors.trouble_reason(errors.LIBRARY_NOT_FOUND) == "driver_missing"
    assert errors.trouble_reason(errors.GPU_NOT_FOUND) == "gpu_lost"
    assert errors.trouble_reason(errors.LIB_RM_VERSION_MISMATCH) == "driver_reload"


@pytest.mark.parametrize(
    ("sort", "codes"),
    [
        (errors.PERMANENT, (errors.NOT_SUPPORTED, errors.NO_PERMISSION, errors.FUNCTION_NOT_FOUND)),
        (errors.PASSING, (errors.TIMEOUT, errors.IN_USE, errors.NOT_READY, errors.INSUFFICIENT_SIZE)),
        (errors.GAP, (errors.UNKNOWN, errors.GPU_IS_LOST, errors.RESET_REQUIRED, errors.DRIVER_NOT_LOADED)),
    ],
)
def test_what_passes_is_asked_again_and_what_a_board_lacks_is_not(sort: str, codes: tuple[int, ...]) -> None:
    assert {errors.sort(code) for code in codes} == {sort}
    assert all((code in errors.PERMANENTS) == (sort == errors.PERMANENT) for code in codes)


def test_whatever_ends_every_call_is_a_gap() -> None:
    condemning = [code for code in CODES.values() if errors.condemns_device(code)]
    assert {errors.sort(code) for code in condemning} == {errors.GAP}


@pytest.mark.parametrize(
    ("code", "why", "told"),
    [
        (errors.LIBRARY_NOT_FOUND, "", ("not found; install the NVIDIA driver", "container")),
        (errors.LIBRARY_NOT_FOUND, "file too short", ("cannot be loaded: file too short; install",)),
        (errors.GPU_NOT_FOUND, "", ("the driver sees no GPU; ", "nvidia-smi -L", "passed through")),
        (errors.DRIVER_NOT_LOADED, "", ("modprobe nvidia",)),
        (errors.LIB_RM_VERSION_MISMATCH, "", ("reboot",)),
        (errors.NO_PERMISSION, "", ("/dev/nvidiactl",)),
        (errors.GPU_IS_LOST, "", ("reset",)),
    ],
)
def test_a_host_whose_gpus_cannot_be_read_is_told_the_cure(code: int, why: str, told: tuple[str, ...]) -> None:
    words = errors.words_and_cure(code, why)
    assert all(part in words for part in told), words
