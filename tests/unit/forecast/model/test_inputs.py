"""What the models read: the clock told from the time of day, and nothing that depends on the level of the price."""

import numpy as np
import pytest

from features.spec import NAMES as FEATURES
from forecast.data.dataset import Dataset
from forecast.model import inputs
from forecast.model.rows import FeatureRows


def at(seconds: float) -> dict[str, float]:
    """The inputs of a row so many seconds after midnight, all else unknown."""
    matrix = np.full((1, len(FEATURES)), np.nan)
    angle = 2 * np.pi * seconds / 86_400
    matrix[0, FEATURES.index("tod_sin")], matrix[0, FEATURES.index("tod_cos")] = np.sin(angle), np.cos(angle)
    return dict(zip(inputs.NAMES, inputs.table(FeatureRows(matrix, FEATURES))[0].tolist(), strict=True))


@pytest.mark.parametrize("hour", range(24))
@pytest.mark.parametrize("minute", [0, 1, 15, 37, 59])
def test_a_full_minute_is_that_minute_of_hour_and_quarter(hour: int, minute: int) -> None:
    found = at(3600 * hour + 60 * minute)
    assert found["minute_of_hour"] == minute and found["minute_of_quarter"] == minute % 15
    angle = 2 * np.pi * minute / 15
    assert found["quarter_sin"] == pytest.approx(np.sin(angle), abs=1e-6)
    assert found["quarter_cos"] == pytest.approx(np.cos(angle), abs=1e-6)


def test_just_before_the_hour_is_not_yet_the_hour() -> None:
    assert at(7199.5)["minute_of_hour"] == pytest.approx(59.99, abs=0.01)
    assert at(86_399.9999)["minute_of_hour"] == 0.0


def test_an_unknown_time_of_day_stays_unknown() -> None:
    row = FeatureRows(np.full((1, len(FEATURES)), np.nan), FEATURES)
    known = dict(zip(inputs.NAMES, inputs.table(row)[0].tolist(), strict=True))
    assert all(np.isnan(known[name]) for name in ("minute_of_hour", "hour_sin", "quarter_cos"))


def test_inputs_have_no_level_of_price(market: Dataset) -> None:
    rows, dearer = market.matrix[:50].copy(), market.matrix[:50].copy()
    for name in ("bid", "last", "mid", "ask", "microprice"):
        dearer[:, FEATURES.index(name)] *= 1000
    first, second = (inputs.table(FeatureRows(matrix, FEATURES)) for matrix in (rows, dearer))
    assert np.allclose(first, second, rtol=1e-4, atol=1e-5, equal_nan=True)
