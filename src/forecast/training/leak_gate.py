"""Look-ahead checks run in every training, with planted leaks as positive controls."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from scipy import stats

from features.engine import EngineConfig, EngineState, fold
from features.spec import NAMES as FEATURES
from forecast.data.dataset import Dataset
from forecast.model import baselines, inputs
from forecast.model.inputs import Inputs
from forecast.model.targets import MICROS, TARGETS, Array, Target, Times
from forecast.training import walkforward
from forecast.training.fitting import labels
from forecast.training.walkforward import Schedule
from lakehouse.errors import FatalError
from lakehouse.settings import HORIZONS_S

# Rank correlations with future labels that no legitimate input reaches.
SUSPICIOUS: dict[Target, float] = {"bid": 0.6, "vol": 0.9}
_MAX_ROWS = 20_000
_SEED = 11


class LeakError(FatalError):
    """A look-ahead leak was found, or a check missed a planted one."""


@dataclass(frozen=True)
class Suspect:
    """An input whose correlation with future labels is implausibly high."""

    name: str
    target: Target
    horizon_s: int
    correlation: float


def check(data: Dataset, plan: Schedule, events: pl.DataFrame | None, config: EngineConfig | None) -> dict[str, Any]:
    """Every check on a dataset and, where events are at hand, on the engine itself.

    Returns:
        What was checked, JSON-able.

    Raises:
        LeakError: names the leak, or the check that did not fire on a planted one.
    """
    purged = assert_purged(data.ts, plan)
    table = inputs.table(data.rows())
    honest = {target: suspects(data, table, target, future_labels(data, target)) for target in TARGETS}
    for found in honest.values():
        if found:
            raise LeakError(f"input {found[0].name} knows the {found[0].target} of the next {found[0].horizon_s} s")
    fired = _positive_controls(data, table)
    done: dict[str, Any] = {"purged_folds": purged, "suspects": 0, "fired": fired}
    if events is not None and config is not None and len(events) > 100:
        done["rows_unchanged"] = assert_future_unknown(events, config)
    return done


def assert_purged(ts: Times, plan: Schedule) -> int:
    """Requires that every training label ends before the first evaluated row; returns the number of folds.

    Raises:
        LeakError: a training label reaches into the judged rows.
    """
    longest, folds = HORIZONS_S[-1] * MICROS, 0
    for train, judged in walkforward.split(ts, plan):
        if ts[train].max() + longest >= ts[judged].min():
            raise LeakError(f"a training label reaches into fold {folds}: embargo {plan.embargo_s} s is too short")
        folds += 1
    return folds


def future_labels(data: Dataset, target: Target) -> Array:
    """What is yet to happen, shape (rows, horizons): scaled log returns, or log variance over the row's EWMA.

    Over one fixed rule, not the best one: a rule that a leak has made perfect would hide it.
    """
    features = data.rows()
    scale = baselines.row_scale(features)
    rule = scale if target == "vol" else baselines.reference_price(features)[:, None]
    label = labels(target, data.truth[target], np.broadcast_to(rule, scale.shape), scale)
    return np.asarray(np.log(label)) if target == "vol" else label


def past_labels(data: Dataset) -> Array:
    """The bid's scaled returns over the horizon that ends at the row: labels shifted into what is known.

    NaN where the dataset holds no row of the same symbol at that time (within 1 s).
    """
    now, scale = np.log(baselines.reference_price(data.rows())), baselines.row_scale(data.rows())
    shifted = np.full((len(data), len(HORIZONS_S)), np.nan)
    for symbol in set(data.symbols.tolist()):
        mine = np.flatnonzero(data.symbols == symbol)
        ts = data.ts[mine]
        for j, horizon in enumerate(HORIZONS_S):
            then = np.maximum(np.searchsorted(ts, ts - horizon * MICROS, side="right") - 1, 0)
            close = np.abs(ts[then] - (ts - horizon * MICROS)) <= MICROS
            change = (now[mine] - now[mine[then]]) / scale[mine, j]
            shifted[mine, j] = np.where(close, change, np.nan)
    return shifted


def suspects(data: Dataset, table: Inputs, target: Target, label: Array, names: Iterable[str] = ()) -> list[Suspect]:
    """Inputs whose rank correlation with a label is beyond `SUSPICIOUS`, the worst first."""
    every = max(1, len(data) // _MAX_ROWS)
    found = []
    for position, name in enumerate(names or inputs.NAMES):
        for j, horizon in enumerate(HORIZONS_S):
            x, y = table[::every, position], label[::every, j]
            known = np.isfinite(x) & np.isfinite(y)
            if known.sum() < 200 or np.ptp(x[known]) == 0 or np.ptp(y[known]) == 0:
                continue
            rho = float(stats.spearmanr(x[known], y[known]).statistic)
            if abs(rho) > SUSPICIOUS[target]:
                found.append(Suspect(name, target, horizon, rho))
    return sorted(found, key=lambda s: -abs(s.correlation))


def _positive_controls(data: Dataset, table: Inputs) -> list[str]:
    """Plants two kinds of leak and requires that `suspects` reports both; returns their names."""
    if not suspects(data, table, "bid", past_labels(data)):
        raise LeakError("labels shifted into the past went unnoticed: the leak check is blind on this data")
    rng = np.random.default_rng(_SEED)
    for target in TARGETS:
        label = future_labels(data, target)
        noise = rng.normal(0, 0.1 * label[:, -1].std(), len(data))
        planted = (label[:, -1] + noise).astype(np.float32)[:, None]
        if not suspects(data, planted, target, label, ("planted",)):
            raise LeakError(f"a planted {target} of the future went unnoticed: the leak check is blind on this data")
    return ["shifted labels", "planted bid", "planted vol"]


def assert_future_unknown(events: pl.DataFrame, config: EngineConfig, share: float = 0.7) -> int:
    """Folds events twice, the second time with everything after a cut scrambled: rows up to it must not change.

    Returns:
        How many rows were compared.

    Raises:
        LeakError: names the first feature that changed.
    """
    cut = int(len(events) * share)
    _, rows = fold(EngineState.empty(config), events)
    _, other = fold(EngineState.empty(config), pl.concat([events[:cut], scramble(events[cut:])]))
    epoch, seq = int(events[cut - 1, "epoch"]), int(events[cut - 1, "seq"])
    known = (pl.col("epoch") < epoch) | ((pl.col("epoch") == epoch) & (pl.col("seq") <= seq))
    before, after = rows.filter(known).select(FEATURES).to_numpy(), other.filter(known).select(FEATURES).to_numpy()
    return same(before, after)


def same(before: Array, after: Array) -> int:
    """Compares two matrices of features, NaN equal to NaN; returns the rows.

    Raises:
        LeakError: names the first feature that differs.
    """
    if before.shape != after.shape:
        raise LeakError(f"scrambling the future changes the number of rows from {len(before)} to {len(after)}")
    differs = ~((before == after) | (np.isnan(before) & np.isnan(after)))
    if differs.any():
        raise LeakError(f"feature {FEATURES[int(differs.any(axis=0).argmax())]} depends on events after its row")
    return len(before)


def scramble(events: pl.DataFrame) -> pl.DataFrame:
    """The same log positions and times with prices and quantities moved beyond recognition."""
    rng = np.random.default_rng(_SEED)
    factor = pl.Series(rng.uniform(0.5, 2.0, len(events)))
    moved = ("price", "qty", "bid", "bid_qty", "ask", "ask_qty")
    return events.with_columns(pl.col(name) * factor for name in moved)
