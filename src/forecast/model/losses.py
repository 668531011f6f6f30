"""Loss functions and tests of forecast accuracy: QLIKE, Diebold-Mariano with HAC errors, interval score."""

import math
from dataclasses import dataclass

import numpy as np

from forecast.model.targets import Array, Target

# A mean loss below this is rounding: prices that stand still are forecast without any.
NO_LOSS = 1e-15


def qlike(truth: Array, forecast: Array) -> Array:
    """σ²/f² - ln(σ²/f²) - 1 of two volatilities, elementwise; 0 when they agree (Patton 2011, eq. 24)."""
    ratio = (truth / forecast) ** 2
    return np.asarray(ratio - np.log(ratio) - 1.0)


def squared_log_error(truth: Array, forecast: Array) -> Array:
    """(ln truth - ln forecast)², elementwise: the squared error of the return forecast."""
    return np.asarray(np.log(truth / forecast) ** 2)


def loss(target: Target, truth: Array, forecast: Array) -> Array:
    """The loss models are compared by: QLIKE for volatility, squared log error for the bid; elementwise."""
    return qlike(truth, forecast) if target == "vol" else squared_log_error(truth, forecast)


def interval_score(truth: Array, lower: Array, upper: Array, alpha: float) -> Array:
    """Width plus 2/α times the distance by which the truth lies outside (Gneiting and Raftery 2007, eq. 43)."""
    below, above = np.maximum(lower - truth, 0.0), np.maximum(truth - upper, 0.0)
    return np.asarray(upper - lower + 2.0 / alpha * (below + above))


def over(mean: Array, other: Array) -> Array:
    """A mean loss over another's, elementwise: 1 where nothing was lost by either."""
    return np.asarray(np.maximum(mean, NO_LOSS) / np.maximum(other, NO_LOSS))


@dataclass(frozen=True)
class Comparison:
    """Mean loss difference with its HAC standard error, statistic and two-sided p-value."""

    mean: float
    error: float
    statistic: float
    p: float


def hac_variance(values: Array, lags: int) -> float:
    """Long-run variance of the mean of ``values`` by Newey and West (1987): Bartlett weights up to ``lags``."""
    n = len(values)
    centred = values - values.mean()
    size = 1 << int(np.ceil(np.log2(2 * n)))
    spectrum = np.fft.rfft(centred, size)
    autocovariance = np.fft.irfft(spectrum * np.conj(spectrum), size)[: lags + 1] / n
    weights = 1.0 - np.arange(1, lags + 1) / (lags + 1.0)
    total = autocovariance[0] + 2.0 * float((weights * autocovariance[1:]).sum())
    return float(max(total, 0.0) / n)


def hac_lags(rows: int, overlap: int) -> int:
    """Twice the overlap, since Bartlett's weights halve what lies in the middle; at least the cube root of the rows."""
    return int(min(max(2 * overlap, round(rows ** (1 / 3))), rows - 1))


def diebold_mariano(loss: Array, other: Array, overlap: int) -> Comparison:
    """Tests whether two series of losses, in time order, have the same mean (Diebold and Mariano 1995).

    Args:
        overlap: how many successive rows share part of their truth; see `hac_lags`.

    Returns:
        Negative mean and statistic: ``loss`` is the smaller. p = 1 where the losses are identical.
    """
    difference = loss - other
    n = len(difference)
    if n < 2 or not difference.any():
        return Comparison(0.0, 0.0, 0.0, 1.0)
    error = float(np.sqrt(hac_variance(difference, hac_lags(n, overlap))))
    mean = float(difference.mean())
    if error == 0.0:
        return Comparison(mean, 0.0, 0.0, 1.0)
    statistic = mean / error
    return Comparison(mean, error, statistic, math.erfc(abs(statistic) / math.sqrt(2.0)))
