"""Settings and fixtures for every kind of test: how property tests draw, and the recorded markets."""

import os

import pytest
from hypothesis import settings

from tests.support.recordings import RECORDINGS, Recordings

# How long an example takes says more about the machine than about the code. In CI the same examples each time, so that
# a change is blamed for what it broke; by hand new ones, so that what they miss is found.
settings.register_profile("tradelake", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("tradelake")


@pytest.fixture(params=list(RECORDINGS.values()), ids=list(RECORDINGS))
def recordings(request: pytest.FixtureRequest) -> Recordings:
    """The sample in tests/data and, where they lie beside the checkout, the real recordings: one test run for each."""
    found: Recordings = request.param
    return found
