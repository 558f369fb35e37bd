"""Where the fake driver cannot be built, its tests are skipped and the reason is counted."""

import pytest

from gputally.simulator.driver import DriverBuildError, build_driver


@pytest.fixture(autouse=True, scope="session")
def driver() -> None:
    try:
        build_driver()
    except DriverBuildError as error:
        pytest.skip(f"no fake driver: {error}")
