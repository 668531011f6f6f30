"""Walk-forward: how rows are cut into stretches, and what is refused."""

from itertools import pairwise

import numpy as np
import pytest

from forecast.data.dataset import Dataset
from forecast.model.targets import MICROS
from forecast.training.fitting import Tuning
from forecast.training.walkforward import Schedule, folds, split
from lakehouse.errors import LakeError

DAY = 86_400 * MICROS


def test_a_long_pause_takes_no_stretch_away() -> None:
    before = np.arange(0, DAY // 2, 5 * MICROS)
    ts = np.concatenate([before, before + 20 * DAY])
    plan = Schedule()
    pairs = split(ts, plan)
    assert len(pairs) == plan.folds + plan.burn_in
    assert {len(judged) for _, judged in pairs} <= {1851, 1852}
    assert np.array_equal(np.concatenate([judged for _, judged in pairs]), np.arange(len(ts) // 4, len(ts)))
    assert all(ts[judged[0]] - ts[train[-1]] > plan.embargo_s * MICROS for train, judged in pairs)


def test_rows_of_the_same_time_stay_in_one_stretch() -> None:
    ts = np.repeat(np.arange(1000) * 60 * MICROS, 3)
    judged = [ts[rows] for _, rows in split(ts, Schedule())]
    assert all(one[-1] < other[0] for one, other in pairwise(judged))


def test_rows_without_a_stretch_to_judge_are_refused() -> None:
    with pytest.raises(LakeError, match=r"no stretch to evaluate: 120 rows over 0\.2 h"):
        split(np.arange(120) * 5 * MICROS, Schedule())


def test_a_span_too_short_to_stop_boosters_early_is_refused(market: Dataset) -> None:
    hours = market.head(300)
    with pytest.raises(LakeError, match=r"the rows span 5\.0 h.*want at least 5\.4 h"):
        next(folds(hours, "vol", Schedule(), Tuning(trees=5)))
    assert len(next(folds(hours, "vol", Schedule(), Tuning(), libraries=())).index)
    assert next(folds(market.head(345), "vol", Schedule(), Tuning(trees=5))).margins
