"""The search for settings: within its budget, on the older half only, and never worse there than where it began."""

import logging
from dataclasses import replace

import numpy as np
import pytest

from forecast.data.dataset import Dataset
from forecast.training import tuning
from forecast.training.fitting import Tuning

QUICK = Tuning(trees=6, depth=3, patience=3)


@pytest.mark.parametrize(("text", "budget"), [("20", (20, None)), ("90s", (None, 90.0)), ("0", (0, None))])
def test_a_budget_is_trials_or_seconds(text: str, budget: tuple[int | None, float | None]) -> None:
    assert tuning.parse_budget(text) == budget


def test_a_budget_that_is_neither_is_refused() -> None:
    with pytest.raises(ValueError, match="soon"):
        tuning.parse_budget("soon")


def test_the_newer_half_has_no_say(market: Dataset, caplog: pytest.LogCaptureFixture) -> None:
    half = int(len(market) * tuning.OLDER_SHARE)
    truth = market.truth["vol"].copy()
    truth[half:] *= np.random.default_rng(0).uniform(0.1, 10, truth[half:].shape)
    with caplog.at_level(logging.INFO):
        found = tuning.search(market, "vol", QUICK, 4, None)
    other = tuning.search(replace(market, truth={**market.truth, "vol": truth}), "vol", QUICK, 4, None)
    assert found == other
    assert replace(found, **{key: getattr(QUICK, key) for key in tuning.SEARCHED}) == QUICK
    assert "4 trials" in caplog.text


def test_time_that_is_up_leaves_the_settings_as_they_are(market: Dataset, caplog: pytest.LogCaptureFixture) -> None:
    assert tuning.search(market, "vol", QUICK, None, 1e-6) == QUICK
    assert "no trial was done" in caplog.text
