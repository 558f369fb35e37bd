"""A fleet needs no driver, so its tests run where none can be built."""

import pytest


@pytest.fixture(autouse=True, scope="session")
def driver() -> None:
    """In the place of the folder's above."""
