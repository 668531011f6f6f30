"""Fixtures for every kind of test: where the recorded market data lies, and a folder that outlives one test."""

from pathlib import Path

import pytest
from hypothesis import settings

# How long an example takes says more about the machine than about the code. The same examples each time, so that a
# change is blamed for what it broke; `--hypothesis-profile=default` looks for others.
settings.register_profile("tradelake", deadline=None, derandomize=True)
settings.load_profile("tradelake")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The recorded market data beside the checkout; tests that need it are skipped where it is missing."""
    folder = Path(__file__).resolve().parents[1].parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no recorded market data at {folder}")
    return folder
