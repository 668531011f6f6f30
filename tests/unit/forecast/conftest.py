"""A synthetic market whose volatility can be forecast and whose price cannot, as a dataset without the engine."""

from collections.abc import Callable

import numpy as np
import pytest

from features.spec import HALF_LIVES_MIN, NAMES
from forecast.data.dataset import Dataset
from forecast.model.baselines import WINDOW_MIN
from forecast.model.targets import PricePath, Target, truth

MINUTE = 60_000_000
WARM_UP = 1500


def make_market(minutes: int, seed: int = 3) -> Dataset:
    """Minute rows: log volatility is a slow AR(1), returns are normal; features by plain numpy."""
    rng = np.random.default_rng(seed)
    total = minutes + WARM_UP
    shocks = rng.normal(0, 0.06, total)
    level = np.zeros(total)
    for k in range(1, total):
        level[k] = 0.995 * level[k - 1] + shocks[k]
    returns = rng.normal(0, 8e-4 * np.exp(level))
    price = 100 * np.exp(np.cumsum(returns))
    ts = np.arange(total, dtype=np.int64) * MINUTE
    squares = returns**2
    sums = np.concatenate([[0.0], np.cumsum(squares)])
    matrix = np.full((total, len(NAMES)), np.nan)

    def put(name: str, values: np.ndarray) -> None:
        matrix[:, NAMES.index(name)] = values

    at = np.arange(1, total + 1)
    for name, width in WINDOW_MIN.items():
        window = sums[at] - sums[np.maximum(at - int(width), 0)]
        put(name, np.where(at > width, window, np.nan))
        before = np.concatenate([np.full(int(width), np.nan), np.log(price[: -int(width)])])
        put(f"ret_{name.removeprefix('rv_')}", np.log(price) - before)
    for half_life in HALF_LIVES_MIN:
        weights = 0.5 ** (np.arange(1440) / half_life)
        put(f"ewma_rv_{half_life}m", np.convolve(squares, weights / weights.sum())[:total])
    put("last", price)
    put("bid", price)
    after = truth(PricePath(ts, price, price, np.ones(len(ts), dtype=bool)), ts, 60)
    keep = slice(WARM_UP, total - 6)
    symbols = np.full(total, "BTC/USD")
    truths: dict[Target, np.ndarray] = {"bid": after.bid[keep], "vol": after.vol[keep]}
    return Dataset(ts[keep], symbols[keep], matrix[keep], truths, "abc", 60, {"kept": minutes - 6})


@pytest.fixture(scope="session")
def market() -> Dataset:
    """Two and a half days."""
    return make_market(3600)


@pytest.fixture(scope="session")
def markets() -> Callable[[int, int], Dataset]:
    """Markets of any length and seed."""
    return make_market
