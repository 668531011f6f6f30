"""The gate: it says no without evidence, yes to what is clearly better, and never looks ahead."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from forecast.data.dataset import Dataset
from forecast.model.targets import TARGETS, Target
from forecast.training import backtest, gate
from forecast.training.fitting import Tuning
from forecast.training.gate import Candidate, Evidence
from forecast.training.walkforward import Schedule

QUICK = Tuning(trees=15, depth=3, patience=5)


def evidence(gain: float, rows: int, seed: int = 0) -> Evidence:
    """A fold on which the full XGBoost correction is better than the EWMA by ``gain``, up to noise."""
    rng = np.random.default_rng(seed)
    rule = rng.gamma(1.0, 1.0, (rows, 5))
    full = Candidate("xgboost", (1.0, 1.0))
    better = rule * (1 - gain) + rng.normal(0, 0.5, (rows, 5))
    return Evidence({"ewma": rule, "har": rule * 1.2}, {full: better, Candidate("linear", (1.0, 0.0)): rule * 1.01})


def test_without_an_earlier_fold_the_best_rule_by_training_serves() -> None:
    assert gate.decide("vol", [], 0, 1, "har", "xgboost").candidate == Candidate("har")


def test_a_clear_winner_is_served() -> None:
    decision = gate.decide("vol", [evidence(0.1, 5000)], 0, 5, "ewma", "xgboost")
    assert decision.candidate == Candidate("xgboost", (1.0, 1.0))
    assert decision.gain == pytest.approx(0.1, abs=0.03) and decision.p < 0.01


def test_a_lucky_short_history_is_not_enough() -> None:
    refused = [gate.decide("vol", [evidence(0.03, 60, s)], 0, 20, "ewma", "xgboost").candidate.model for s in range(20)]
    assert refused.count("ewma") >= 15


def test_a_correction_that_serves_stays_while_it_is_ahead_but_only_for_volatility() -> None:
    noisy, worse = evidence(0.03, 60, 2), evidence(-0.1, 4000)
    unproven = gate.decide("vol", [noisy], 0, 20, "ewma", "xgboost")
    assert unproven.candidate.model == "ewma" and unproven.gain > 0.005
    assert gate.decide("vol", [noisy], 0, 20, "ewma", "xgboost", corrected=True).candidate.model == "xgboost"
    assert gate.decide("bid", [noisy], 0, 20, "ewma", "xgboost", corrected=True).candidate.model == "ewma"
    assert gate.decide("vol", [worse], 0, 20, "ewma", "xgboost", corrected=True).candidate.model == "ewma"


def test_luck_that_would_do_for_volatility_does_not_for_the_bid() -> None:
    some = evidence(0.03, 1500, 3)
    assert 0.002 < gate.decide("bid", [some], 0, 5, "ewma", "xgboost").p < 0.1
    assert gate.decide("bid", [some], 0, 5, "ewma", "xgboost").candidate.model == "ewma"
    assert gate.decide("vol", [some], 0, 5, "ewma", "xgboost").candidate.model == "xgboost"
    ample = evidence(0.1, 5000)
    assert gate.decide("bid", [ample] * 2, 0, 5, "ewma", "xgboost").candidate.model == "ewma"
    assert gate.decide("bid", [ample] * 3, 0, 5, "ewma", "xgboost").candidate.model == "xgboost"


@pytest.mark.parametrize("target", TARGETS)
def test_prices_that_stand_still_leave_nothing_to_gain(target: Target) -> None:
    none, candidate = np.zeros((500, 5)), Candidate("xgboost", gate.BOOSTED[target][-1])
    still = Evidence({"ewma": none, "har": none}, {candidate: none, Candidate("linear", (1.0, 0.0)): none})
    decision = gate.decide(target, [still] * 3, 0, 5, "ewma", gate.pick_library(target, [still] * 3))
    assert decision.candidate == Candidate("ewma") and (decision.gain, decision.p) == (0.0, 1.0)


def test_a_rule_gives_way_only_to_a_clearly_better_rule() -> None:
    same = evidence(-0.5, 3000)
    assert gate.decide("vol", [same], 0, 1, "har", "xgboost").candidate == Candidate("ewma")
    assert gate.decide("vol", [same], 0, 1, "ewma", "xgboost").candidate == Candidate("ewma")


def test_the_rival_library_must_be_clearly_better() -> None:
    base = evidence(0.1, 4000)
    xgboost = base.corrections[Candidate("xgboost", (1.0, 1.0))]
    near = replace(base, corrections={**base.corrections, Candidate("lightgbm", (1.0, 1.0)): xgboost * 0.999})
    far = replace(base, corrections={**base.corrections, Candidate("lightgbm", (1.0, 1.0)): xgboost * 0.9})
    assert gate.pick_library("vol", [near]) == "xgboost"
    assert gate.pick_library("vol", [far]) == "lightgbm"
    assert gate.pick_library("vol", []) == "xgboost"


def test_decisions_use_earlier_folds_only(markets: Callable[[int, int], Dataset]) -> None:
    data = markets(2600, 5)
    plan = Schedule(folds=2, burn_in=1, start=0.4)
    honest = backtest.run(data, "vol", plan, QUICK, libraries=("xgboost",))
    cut = honest.folds[2].index[0]
    truth = data.truth["vol"].copy()
    truth[cut:] = np.random.default_rng(0).permutation(truth[cut:]) * 3
    other = backtest.run(replace(data, truth={**data.truth, "vol": truth}), "vol", plan, QUICK, libraries=("xgboost",))
    assert [d.candidate for fold in honest.decisions for d in fold] == [
        d.candidate for fold in other.decisions for d in fold
    ]
    assert np.array_equal(honest.served, other.served)
    assert not np.array_equal(honest.ends[0], other.ends[0])
