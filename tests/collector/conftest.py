from collections.abc import Iterator
from pathlib import Path

import pytest

from .running import RunningCollector, write_config


@pytest.fixture
def collector(tmp_path: Path) -> Iterator[RunningCollector]:
    with RunningCollector(write_config(tmp_path)) as running:
        yield running


@pytest.fixture(scope="module")
def shared_collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCollector]:
    """One for all tests of a file that only ask, or that use hosts and months of their own."""
    with RunningCollector(write_config(tmp_path_factory.mktemp("collector"))) as running:
        yield running
