"""Evaluation metrics per horizon, for each model, each rule and what the gate served; pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from forecast.model.losses import diebold_mariano, hac_lags, hac_variance, interval_score, loss, over
from forecast.model.targets import MICROS, Array, Target, Times

WEEK_S = 7 * 86_400
_Z = {80: float(stats.norm.ppf(0.9)), 95: float(stats.norm.ppf(0.975))}


@dataclass(frozen=True)
class Series:
    """One model's forecasts at one horizon beside the truth, in time order; all of shape (rows,).

    Attributes:
        origin: the bid when the forecast was made; only for the direction of the bid.
    """

    value: Array
    truth: Array
    origin: Array
    overlap: int

    def losses(self, target: Target) -> Array:
        """The loss per row."""
        return loss(target, self.truth, self.value)


def model_figures(target: Target, series: Series) -> dict[str, Any]:
    """A model's own figures: QLIKE, R² of log volatility and RMSE, or RMSE and direction of the bid's log return."""
    losses = series.losses(target)
    if target == "vol":
        truth, value = np.log(series.truth), np.log(series.value)
        spread = float(((truth - truth.mean()) ** 2).mean())
        return {
            "qlike": float(losses.mean()),
            "r2_log": 1.0 - float(((truth - value) ** 2).mean()) / spread if spread else None,
            "rmse": float(np.sqrt(((series.truth - series.value) ** 2).mean())),
        }
    return {"rmse": float(np.sqrt(losses.mean())), **direction(series)}


def direction(series: Series) -> dict[str, Any]:
    """Share of right signs among rows where bid and forecast moved, with its HAC standard error."""
    moved, said = np.log(series.truth / series.origin), np.log(series.value / series.origin)
    counted = (moved != 0) & (np.abs(said) > 1e-12)
    if counted.sum() < 30:
        return {"direction": None, "direction_error": None, "direction_n": int(counted.sum())}
    right = (np.sign(moved) == np.sign(said))[counted].astype(np.float64)
    return {
        "direction": float(right.mean()),
        "direction_error": float(np.sqrt(hac_variance(right, hac_lags(len(right), series.overlap)))),
        "direction_n": int(counted.sum()),
    }


def compare(target: Target, series: Series, other: Series, key: str) -> dict[str, Any]:
    """Diebold-Mariano of a model against another, under ``key``; negative: the model's loss is smaller."""
    test = diebold_mariano(series.losses(target), other.losses(target), series.overlap)
    return {f"dm_{key}": test.statistic, f"dm_p_{key}": test.p}


def ratio(target: Target, series: Series, other: Series) -> float:
    """Mean loss over another's, 1 where neither lost anything; for the bid the root of it (RMSE over RMSE)."""
    value = float(over(series.losses(target).mean(), other.losses(target).mean()))
    return float(np.sqrt(value)) if target == "bid" else value


def interval_figures(
    ts: Times, series: Series, ends: tuple[Array, Array, Array, Array], deviation: float
) -> dict[str, Any]:
    """Coverage and score of the served intervals, beside a plain normal interval's of constant width.

    Args:
        ends: lower, upper, lower_95, upper_95. deviation: standard deviation of past log errors.

    Scores are of logs, so that they compare across prices.
    """
    truth, value = np.log(series.truth), np.log(series.value)
    figures: dict[str, Any] = {}
    for level, (lower, upper) in {80: ends[:2], 95: ends[2:]}.items():
        low, high = np.log(lower), np.log(upper)
        inside = (truth >= low) & (truth <= high)
        alpha = 1 - level / 100
        plain_low, plain_high = value - _Z[level] * deviation, value + _Z[level] * deviation
        plain = (truth >= plain_low) & (truth <= plain_high)
        figures |= {
            f"coverage_{level}": float(inside.mean()),
            f"coverage_{level}_7d": list(week_range(ts, inside)),
            f"interval_score_{level}": float(interval_score(truth, low, high, alpha).mean()),
            f"normal_coverage_{level}": float(plain.mean()),
            f"normal_interval_score_{level}": float(interval_score(truth, plain_low, plain_high, alpha).mean()),
        }
    return figures


def week_range(ts: Times, inside: np.ndarray) -> tuple[float, float]:
    """Smallest and largest coverage over any 7 days (all rows, where there are fewer days)."""
    total = np.concatenate([[0], np.cumsum(inside)])
    begin = np.searchsorted(ts, ts - WEEK_S * MICROS, side="right")
    full = ts - ts[0] >= min(WEEK_S * MICROS * 0.99, ts[-1] - ts[0])
    end = np.arange(1, len(ts) + 1)
    share = ((total[end] - total[begin]) / (end - begin))[full]
    return float(share.min()), float(share.max())


def best_rule(target: Target, rules: Mapping[str, Series]) -> str:
    """The rule with the smallest mean loss over all judged rows, in hindsight: the hardest one to beat."""
    return min(rules, key=lambda name: float(rules[name].losses(target).mean()))
