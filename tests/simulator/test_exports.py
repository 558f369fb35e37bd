"""Whatever the header declares is there, and what is not simulated says so."""

import ctypes
import re
from pathlib import Path

import pytest

from gputally.simulator.driver import (
    LIBRARY,
    build_driver,
    declared,
    find_header,
    generated_source,
    simulated_functions,
)
from gputally.simulator.scenario import Fault, Scenario

from .client import on_host

NOT_SUPPORTED, TIMEOUT, IS_LOST, INVALID_ARGUMENT = 3, 10, 15, 2


def header() -> str:
    return find_header().read_text()


def names_in_header() -> set[str]:
    """Read in another way than the builder does: every name before a bracket that is not a macro's."""
    code = re.sub(r"/\*.*?\*/|//[^\n]*|^\s*#[^\n]*", "", header(), flags=re.S | re.M)
    return set(re.findall(r"DECLDIR\s+(?:char\s*\*\s*)?(nvml[A-Za-z0-9_]+)\s*\(", code))


def test_every_function_of_the_header_is_exported() -> None:
    library = ctypes.CDLL(str(build_driver() / LIBRARY))
    names = names_in_header()
    assert len(names) > 400
    assert [name for name in sorted(names) if not hasattr(library, name)] == []
    assert not hasattr(library, "nvmlDeviceGetNothing")


def test_nothing_else_than_the_header_names_is_exported() -> None:
    """Our own names must not get in the way of those of a program that loads us."""
    library = ctypes.CDLL(str(build_driver() / LIBRARY))
    for name in ("open_call", "read_scenario", "value_at", "ERROR_TEXTS"):
        assert not hasattr(library, name)


def test_every_function_that_pynvml_looks_up_is_in_reach(tmp_path: Path) -> None:
    with on_host(tmp_path, Scenario.host(1)) as client:
        source = client.ask("open(pynvml.__file__).read()")
        names = set(re.findall(r'_nvmlGetFunctionPointer\("(nvml\w+)"\)', source))
        missing = client.ask(f"[name for name in {sorted(names)} if not hasattr(pynvml.nvmlLib, name)]")
    assert missing == [] and len(names) > 300


def test_what_is_not_simulated_says_not_supported(tmp_path: Path) -> None:
    calls = [f"{name}(gpu(0))" for name in (
        "nvmlDeviceGetBrand", "nvmlDeviceGetFanSpeed", "nvmlDeviceGetEncoderUtilization", "nvmlDeviceGetBAR1MemoryInfo",
    )]  # fmt: skip
    with on_host(tmp_path, Scenario.host(2)) as client:
        for call in [*calls, "nvmlUnitGetCount()", "nvmlDeviceGetPcieThroughput(gpu(1), 0)"]:
            assert client.code(call) == NOT_SUPPORTED, call
        assert client.ask("raw('nvmlDeviceGetBrand', None, None)") == INVALID_ARGUMENT
        client.becomes(Scenario.host(2).with_lost(0).with_fault(Fault("nvmlUnitGetCount", error="TIMEOUT")))
        assert client.code("nvmlUnitGetCount()") == TIMEOUT, "faults strike them too"
        assert client.code("nvmlDeviceGetPcieThroughput(gpu(1), 0)") == NOT_SUPPORTED
        assert client.code(calls[0]) == IS_LOST


def test_all_that_we_simulate_is_declared_in_the_header() -> None:
    """A misspelt function would be exported under its wrong name, and the right one would be a stub."""
    assert simulated_functions() <= names_in_header()
    assert {name for name, _ in declared(header())} == names_in_header() - {"nvmlErrorString"}


def test_a_function_of_a_newer_header_becomes_a_stub() -> None:
    newer = "nvmlReturn_t DECLDIR nvmlDeviceGetSoul_v1(nvmlDevice_t device,\n    int *soul);\n"
    source = generated_source(newer, set())
    assert "nvmlDeviceGetSoul_v1(nvmlDevice_t device, int *soul)" in source
    assert "unsimulated_device(__func__, device)" in source


@pytest.mark.parametrize("name,code", sorted(
    (name, int(code)) for name, code in re.findall(r"^\s*(NVML_ERROR_\w+)\s*=\s*(\d+)", header(), re.M)
))  # fmt: skip
def test_every_error_has_words(name: str, code: int) -> None:
    library = ctypes.CDLL(str(build_driver() / LIBRARY))
    library.nvmlErrorString.restype = ctypes.c_char_p
    words = library.nvmlErrorString(code).decode()
    assert words and (words != "Unknown Error" or code == 999)
    assert "_" not in words


def test_an_error_of_no_header_is_unknown() -> None:
    library = ctypes.CDLL(str(build_driver() / LIBRARY))
    library.nvmlErrorString.restype = ctypes.c_char_p
    assert library.nvmlErrorString(4711) == b"Unknown Error"
    assert library.nvmlErrorString(0) == b"Success"
