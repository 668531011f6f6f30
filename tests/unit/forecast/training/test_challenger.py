"""The verdict on a challenger: promoted when clearly better than champion and best rule, refused on short history."""

from dataclasses import replace

import numpy as np

from features.spec import NAMES
from forecast.data.dataset import Dataset
from forecast.model import forecaster
from forecast.model.baselines import Rule
from forecast.model.losses import qlike
from forecast.training import challenger
from forecast.training.challenger import Recent


def test_a_challenger_is_held_against_the_champion_on_the_same_rows() -> None:
    data = _walk(4000)
    truth = data.truth["vol"]
    champion = forecaster.untrained("ewma", "vol", [Rule("ewma", {"half_life_min": 30})] * 5, "abc", data.columns)
    index = np.arange(2000, 4000)
    rule = champion.predict(data.matrix[index])
    good = Recent("vol", index, np.sqrt(rule * truth[index]), {"ewma": rule})
    assert challenger.judge(data, good, champion).promote
    assert (qlike(truth[index], good.served) <= qlike(truth[index], rule)).all()
    verdict = challenger.judge(data, replace(good, served=rule * 1.2), champion)
    assert not verdict.promote and "does not clearly beat the best rule" in verdict.reason
    few = challenger.judge(data, Recent("vol", index[:100], rule[:100] * 0.9, {"ewma": rule[:100]}), champion)
    assert not few.promote and "too little history" in few.reason


def test_no_challenger_beats_what_loses_nothing() -> None:
    data = _walk(4000)
    index = np.arange(2000, 4000)
    still = data.truth["vol"][index]
    champion = forecaster.untrained("ewma", "vol", [Rule("ewma", {"half_life_min": 30})] * 5, "other", data.columns)
    verdict = challenger.judge(data, Recent("vol", index, still, {"ewma": still}), champion)
    assert not verdict.promote and verdict.figures["loss_over_best_rule"] == [1.0] * 5


def _walk(rows: int) -> Dataset:
    rng = np.random.default_rng(1)
    matrix = np.full((rows, len(NAMES)), np.nan)
    matrix[:, NAMES.index("ewma_rv_30m")] = 1e-7
    truth = np.sqrt(1e-7 * np.array([1, 2, 3, 4, 5]) * rng.gamma(2.0, 0.5, (rows, 1)))
    ts = np.arange(rows, dtype=np.int64) * 60_000_000
    return Dataset(ts, np.full(rows, "BTC/USD"), matrix, {"vol": truth, "bid": truth}, "abc", 60)
