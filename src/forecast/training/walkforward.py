"""Walk-forward evaluation: each stretch is forecast by models fitted strictly before it, with an embargo between."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from forecast.data.dataset import Dataset, overlap_rows
from forecast.model import baselines, inputs, linear
from forecast.model.correction import Library, raw_margins
from forecast.model.inputs import Inputs
from forecast.model.linear import Linear
from forecast.model.targets import MICROS, Target, Times
from forecast.training import fitting
from forecast.training.fitting import Sample, Tuning
from forecast.training.folds import Fitted, Fold
from lakehouse.errors import LakeError
from lakehouse.settings import HORIZONS_S

LIBRARIES: tuple[Library, ...] = ("xgboost", "lightgbm")
# Embargo before the newest rows, which are held out for early stopping.
PURGE_S = 2.0 * HORIZONS_S[-1]


@dataclass(frozen=True)
class Schedule:
    """How the rows are cut, in time order.

    Attributes:
        folds: stretches whose forecasts are reported. burn_in: stretches before them that only inform the gate.
        start: share of the rows that is only trained on. embargo_s: time left out before each stretch; longer than
            the longest horizon, or the newest labels would reach into what is judged.
    """

    folds: int = 6
    burn_in: int = 1
    start: float = 0.25
    embargo_s: float = 900.0


def split(ts: Times, plan: Schedule) -> list[tuple[np.ndarray, np.ndarray]]:
    """Pairs (training rows, judged rows) in time order; training ends ``embargo_s`` before the judged rows begin.

    Each stretch holds as many rows as the next, but for rows of the same time, which stay together: cut by the clock,
    a recording with a long pause would have stretches without any row.

    Raises:
        LakeError: no stretch is left to judge.
    """
    cuts = np.linspace(len(ts) * plan.start, len(ts), plan.folds + plan.burn_in + 1)[:-1].astype(np.int64)
    edges = [*ts[cuts], ts[-1] + 1]
    pairs = [
        (np.flatnonzero(ts < begin - plan.embargo_s * MICROS), np.flatnonzero((ts >= begin) & (ts < end)))
        for begin, end in pairwise(edges)
    ]
    kept = [(train, judged) for train, judged in pairs if len(train) and len(judged)]
    if len(kept) <= plan.burn_in:
        raise LakeError(
            f"no stretch to evaluate: {len(ts)} rows over {(ts[-1] - ts[0]) / MICROS / 3600:.1f} h give {len(kept)}"
            f" with training rows {plan.embargo_s:g} s before them; want more than {plan.burn_in}: give more data"
        )
    return kept


def thin(index: np.ndarray, most: int) -> np.ndarray:
    """Evenly thinned to at most about ``most`` rows, the newest kept."""
    every = -(-len(index) // most)
    return index[::-1][::every][::-1]


def parted(ts: Times, tuning: Tuning) -> tuple[int, int]:
    """End of the boosters' training rows, and start of the newest ones, held out for early stopping."""
    keep = int(len(ts) * (1 - tuning.newest))
    return keep, int(np.searchsorted(ts, ts[keep] + PURGE_S * MICROS))


def fit(
    data: Dataset, table: Inputs, train: np.ndarray, target: Target, tuning: Tuning, libraries: Sequence[Library]
) -> Fitted:
    """Fits rules and corrections to the training rows, the horizons in parallel."""
    rows = thin(train, tuning.rows)
    features, truth = data.rows(rows), data.truth[target][rows]
    rules = fitting.fit_rules(target, features, truth)
    best = fitting.best_rules(target, rules, features, truth)
    scale = baselines.row_scale(features)
    label = fitting.labels(target, truth, baselines.predict(best, features), scale)
    seen = table[rows]
    taken = len(rows) / max(len(train), 1)
    keep, held = parted(data.ts[rows], tuning)

    def one(horizon: int) -> tuple[Linear, dict[Library, Any]]:
        own = fitting.scaled(tuning, max(1.0, overlap_rows(data, HORIZONS_S[horizon]) * taken))
        value = label[:, horizon]
        line = fitting.fit_linear(target, seen, value, own.prior_rows)
        start = line.predict(seen)
        older = Sample(seen[:keep], value[:keep], start[:keep])
        newer = Sample(seen[held:], value[held:], start[held:])
        return line, {name: fitting.fit_booster(name, target, older, newer, own) for name in libraries}

    with ThreadPoolExecutor(tuning.threads) as pool:
        parts = list(pool.map(one, range(len(HORIZONS_S))))
    boosters = {name: tuple(part[1][name] for part in parts) for name in libraries}
    return Fitted(rules, best, tuple(part[0] for part in parts), boosters)


def forecast(data: Dataset, table: Inputs, index: np.ndarray, fitted: Fitted, number: int) -> Fold:
    """The fitted parts applied to rows they have not seen."""
    features, seen = data.rows(index), table[index]
    margins = {name: raw_margins(boosters, seen) for name, boosters in fitted.boosters.items()}
    return Fold(
        number,
        index,
        baselines.predict(fitted.best, features),
        {name: baselines.predict(rules, features) for name, rules in fitted.rules.items()},
        linear.predict(fitted.linear, seen),
        margins,
        fitted,
    )


def folds(
    data: Dataset,
    target: Target,
    plan: Schedule,
    tuning: Tuning,
    libraries: Sequence[Library] = LIBRARIES,
    progress: Callable[[str], None] = lambda _: None,
) -> Iterator[Fold]:
    """The folds of one target in time order, the burn-in ones first (their numbers are below 0).

    Raises:
        LakeError: the rows are too few, or span too little time.
    """
    table = inputs.table(data.rows())
    pairs = split(data.ts, plan)
    for number, (train, judged) in enumerate(pairs):
        times = data.ts[thin(train, tuning.rows)]
        if libraries and parted(times, tuning)[1] == len(times):
            least_h = (PURGE_S / tuning.newest + plan.embargo_s) / plan.start / 3600
            raise LakeError(
                f"the rows span {(data.ts[-1] - data.ts[0]) / MICROS / 3600:.1f} h: too short for early stopping of the"
                f" boosters; want at least {least_h:.1f} h: give more data"
            )
        fitted = fit(data, table, train, target, tuning, libraries)
        yield forecast(data, table, judged, fitted, number - plan.burn_in)
        progress(f"{target}: fold {number + 1} of {len(pairs)}, {len(train)} rows learnt")
