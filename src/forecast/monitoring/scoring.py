"""Scores forecasts against outcomes, as rows of gold_forecast_scores; pure."""

import numpy as np
import polars as pl

from forecast.model.losses import qlike, squared_log_error
from forecast.model.targets import STALE_S, PricePath, truth
from lakehouse.schema import GOLD_FORECAST_SCORES


def scores(forecasts: pl.DataFrame, path: PricePath, step_s: int) -> pl.DataFrame:
    """The scores of one symbol's forecasts.

    Args:
        forecasts: rows of gold_forecasts, each due: ``ts + horizon_s`` is not past the path's end.
        path: the symbol's prices, from before the first forecast on.
        step_s: sampling step of realised volatility, as in training.

    Returns:
        Columns of gold_forecast_scores; a forecast whose truth is unknown or older than 5 s when due is left out.
    """
    parts = [_of_horizon(part, path, step_s) for _, part in forecasts.group_by("horizon_s", maintain_order=True)]
    return pl.concat(parts) if parts else forecasts.clear().select()


def _of_horizon(part: pl.DataFrame, path: PricePath, step_s: int) -> pl.DataFrame:
    horizon = int(part.item(0, "horizon_s"))
    known = truth(path, part["ts"].to_physical().to_numpy(), step_s, (horizon,))
    is_bid = (part["target"] == "bid").to_numpy()
    happened = np.where(is_bid, known.bid[:, 0], known.vol[:, 0])
    value, baseline = part["value"].to_numpy(), part["baseline"].to_numpy()
    judged = part.with_columns(
        due=pl.col("ts") + pl.duration(seconds=horizon),
        truth=pl.Series(happened),
        loss=pl.Series(np.where(is_bid, squared_log_error(happened, value), qlike(happened, value))),
        baseline_loss=pl.Series(np.where(is_bid, squared_log_error(happened, baseline), qlike(happened, baseline))),
        age_s=pl.Series(known.age_s[:, 0]),
    ).with_columns(
        inside_80=pl.col("truth").is_between("lower", "upper"),
        inside_95=pl.col("truth").is_between("lower_95", "upper_95"),
    )
    fresh = judged.filter(pl.col("truth").is_finite() & (pl.col("age_s") <= STALE_S))
    return fresh.select(GOLD_FORECAST_SCORES.names)
