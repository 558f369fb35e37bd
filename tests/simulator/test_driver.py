"""Building the fake driver: once, whole, by as many as like to; and clear words where it cannot be."""

import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from gputally.simulator import driver
from gputally.simulator.driver import LIBRARY, DriverBuildError, build_driver, find_header


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GPUTALLY_CACHE", str(tmp_path / "cache"))
    driver.find_compiler.cache_clear()
    driver.find_header.cache_clear()
    return tmp_path / "cache"


def test_what_is_built_is_built_once(empty_cache: Path) -> None:
    folder = build_driver()
    stamp = (folder / LIBRARY).stat().st_mtime_ns
    assert folder.parent == empty_cache
    assert build_driver() == folder
    assert (folder / LIBRARY).stat().st_mtime_ns == stamp
    assert [one.name for one in empty_cache.iterdir()] == [folder.name], "nothing half done is left"


def test_two_processes_may_build_at_once(empty_cache: Path) -> None:
    command = [sys.executable, "-c", "from gputally.simulator.driver import build_driver; print(build_driver())"]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    folders = {process.communicate(timeout=60)[0].strip() for process in both}
    assert [process.returncode for process in both] == [0, 0]
    assert len(folders) == 1
    assert (Path(folders.pop()) / LIBRARY).exists()
    assert len(list(empty_cache.iterdir())) == 1


def test_a_changed_source_is_another_driver(empty_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = build_driver()
    copied = tmp_path / "sources"
    copied.mkdir()
    for source in driver.SOURCES.glob("driver*.[ch]"):
        shutil.copy(source, copied)
    monkeypatch.setattr(driver, "SOURCES", copied)
    assert build_driver() == before, "the same sources elsewhere are the same driver"
    (copied / "driver_faults.c").write_text((copied / "driver_faults.c").read_text() + "/* changed */\n")
    assert build_driver() != before


def test_without_a_compiler_the_message_says_what_to_install(
    empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("CC", raising=False)
    with pytest.raises(DriverBuildError, match="no C compiler: install gcc or clang"):
        build_driver()
    driver.find_compiler.cache_clear()


def test_without_the_header_the_message_says_what_to_install(
    empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing(_: str) -> list[str]:
        raise metadata.PackageNotFoundError

    monkeypatch.setattr(metadata, "files", nothing)
    with pytest.raises(DriverBuildError, match=r"pip install 'gputally\[simulator\]'"):
        build_driver()
    driver.find_header.cache_clear()


def test_a_cache_that_cannot_be_made_is_named(empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPUTALLY_CACHE", "/proc/no/such")
    with pytest.raises(DriverBuildError, match=r"GPUTALLY_CACHE: /proc/no/such"):
        build_driver()


def test_what_a_compiler_refuses_is_shown(empty_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    shutil.copy(driver.SOURCES / "driver.h", broken)
    (broken / "driver_broken.c").write_text('#include "driver.h"\nint wrong = "text";\n')
    monkeypatch.setattr(driver, "SOURCES", broken)
    with pytest.raises(DriverBuildError, match=r"driver_broken\.c:2"):
        build_driver()
    assert list(empty_cache.iterdir()) == []


def test_the_header_is_the_packages_own() -> None:
    """It is compiled against where it lies; a copy of it would be ours to keep up to date."""
    assert find_header().name == "nvml.h"
    assert driver.SOURCES not in find_header().parents
    assert not list(driver.SOURCES.glob("nvml*.h"))
