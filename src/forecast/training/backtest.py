"""Walk-forward backtest of one target: the gate chooses by earlier folds, and its choices are scored out of sample."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from forecast.data.dataset import Dataset, overlap_rows
from forecast.model import baselines, intervals
from forecast.model.correction import Library
from forecast.model.intervals import Calibration
from forecast.model.targets import MICROS, Array, Target, Times, floors
from forecast.training import gate, metrics, walkforward
from forecast.training.fitting import Tuning
from forecast.training.folds import Fold
from forecast.training.gate import Candidate, Decision, Evidence
from forecast.training.metrics import Series
from forecast.training.walkforward import Schedule
from lakehouse.settings import HORIZONS_S

SERVED = "champion"


@dataclass(frozen=True)
class Backtest:
    """What one target's walk-forward gave.

    Attributes:
        index: judged rows of the dataset, in time order (burn-in folds are not among them).
        served: what the gate would have served, shape (rows, horizons).
        models: every model's and rule's forecasts, same shape.
        ends: the served intervals: lower, upper, lower_95, upper_95.
        decisions: per judged fold, per horizon.
        next: what the gate would serve now, per horizon.
        calibration: the state of the intervals after the last row.
        deviation: standard deviation of the log errors in the burn-in, per horizon.
    """

    target: Target
    index: np.ndarray
    served: Array
    models: Mapping[str, Array]
    ends: tuple[Array, Array, Array, Array]
    decisions: tuple[tuple[Decision, ...], ...]
    next: tuple[Decision, ...]
    calibration: Calibration
    deviation: Array
    folds: tuple[Fold, ...]


def run(
    data: Dataset,
    target: Target,
    plan: Schedule,
    tuning: Tuning,
    progress: Callable[[str], None] = lambda _: None,
    libraries: tuple[Library, ...] = walkforward.LIBRARIES,
) -> Backtest:
    """Walks forward over the dataset, deciding each fold by the folds before it."""
    folds = list(walkforward.folds(data, target, plan, tuning, libraries, progress))
    scale = baselines.row_scale(data.rows())
    truth = data.truth[target]
    overlaps = [int(np.ceil(overlap_rows(data, horizon))) for horizon in HORIZONS_S]
    evidence: list[Evidence] = []
    decisions: list[tuple[Decision, ...]] = []
    served: list[Array] = []
    for fold in folds:
        choice = _decide(target, evidence, overlaps, fold, decisions)
        decisions.append(choice)
        served.append(_serve(target, fold, choice, scale[fold.index]))
        known = fold.index[data.ts[fold.index] <= data.ts[fold.index[-1]] - plan.embargo_s * MICROS]
        evidence.append(gate.weigh(target, fold, truth[fold.index], scale[fold.index], len(known)))
    last = _decide(target, evidence, overlaps, folds[-1], decisions)
    early = sum(fold.number < 0 for fold in folds)
    return _judge(data, target, folds, served, scale, tuple(decisions[early:]), last)


def _decide(
    target: Target,
    evidence: list[Evidence],
    overlaps: list[int],
    fold: Fold,
    before: list[tuple[Decision, ...]],
) -> tuple[Decision, ...]:
    firsts, library = [rule.kind for rule in fold.fitted.best], gate.pick_library(target, evidence)
    corrected = [d.candidate.shares is not None for d in before[-1]] if before else [False] * len(HORIZONS_S)
    return tuple(
        gate.decide(target, evidence, j, overlaps[j], firsts[j], library, corrected[j]) for j in range(len(HORIZONS_S))
    )


def _serve(target: Target, fold: Fold, choice: tuple[Decision, ...], scale: Array) -> Array:
    made: dict[Candidate, Array] = {}
    columns = []
    for j, decision in enumerate(choice):
        candidate = decision.candidate
        if candidate not in made:
            made[candidate] = gate.values(target, fold, candidate, scale)
        columns.append(made[candidate][:, j])
    return np.column_stack(columns)


def _judge(
    data: Dataset,
    target: Target,
    folds: list[Fold],
    served: list[Array],
    scale: Array,
    decisions: tuple[tuple[Decision, ...], ...],
    last: tuple[Decision, ...],
) -> Backtest:
    """Intervals as they would have been served, and every model's forecasts of the judged folds side by side."""
    unit = baselines.error_scale(target, scale)
    every = np.concatenate([fold.index for fold in folds])
    values = np.concatenate(served)
    residuals = intervals.residual(data.truth[target][every], values, unit[every])
    begin = int(sum(len(fold.index) for fold in folds if fold.number < 0))
    first = intervals.fit(_due(residuals, data.ts[every], begin or max(len(residuals) // 10, 1)))
    quantiles, calibration = intervals.track(first, residuals[begin:], data.ts[every[begin:]], HORIZONS_S)
    least = floors() if target == "vol" else None
    ends = intervals.ends(quantiles, values[begin:], unit[every[begin:]], least)
    judged = [fold for fold in folds if fold.number >= 0]
    burn = np.log(data.truth[target][every[:begin]] / values[:begin]) if begin else residuals
    return Backtest(
        target,
        every[begin:],
        values[begin:],
        _models(target, judged, scale),
        ends,
        decisions,
        last,
        calibration,
        burn.std(axis=0),
        tuple(folds),
    )


def _due(residuals: Array, ts: Times, count: int) -> Array:
    """The residuals of the first ``count`` rows, NaN where their truth came only after the last of them."""
    horizons = np.asarray(HORIZONS_S, dtype=np.int64) * MICROS
    return np.where(ts[:count, None] + horizons <= ts[count - 1], residuals[:count], np.nan)


def _models(target: Target, folds: list[Fold], scale: Array) -> dict[str, Array]:
    """Forecasts of every rule and of every model with full shares."""
    named = [Candidate("linear", (1.0, 0.0)), *(Candidate(name, (1.0, 1.0)) for name in folds[0].margins)]
    models = {name: np.concatenate([fold.rules[name] for fold in folds]) for name in folds[0].rules}
    for candidate in named:
        parts = [gate.values(target, fold, candidate, scale[fold.index]) for fold in folds]
        models[candidate.model] = np.concatenate(parts)
    return models


def report(data: Dataset, result: Backtest) -> dict[str, Any]:
    """The figures per horizon in seconds, JSON-able."""
    return {str(h): _horizon(data, result, j) for j, h in enumerate(HORIZONS_S)}


def _horizon(data: Dataset, result: Backtest, j: int) -> dict[str, Any]:
    target, index = result.target, result.index
    overlap = int(np.ceil(overlap_rows(data, HORIZONS_S[j])))
    truth = data.truth[target][index, j]
    origin = baselines.reference_price(data.rows(index))

    def series(value: Array) -> Series:
        return Series(value, truth, origin, overlap)

    everyone = {name: series(value[:, j]) for name, value in result.models.items()}
    everyone[SERVED] = series(result.served[:, j])
    rules = {name: everyone[name] for name in result.folds[0].rules}
    best = metrics.best_rule(target, rules)
    models: dict[str, dict[str, Any]] = {}
    for name, one in everyone.items():
        models[name] = metrics.model_figures(target, one)
        models[name]["ratio"] = metrics.ratio(target, one, rules[best])
        if name != best:
            models[name] |= metrics.compare(target, one, rules[best], "best_baseline")
        if name != SERVED:
            models[name] |= metrics.compare(target, one, everyone[SERVED], "champion")
    ends = tuple(end[:, j] for end in result.ends)
    coverage = metrics.interval_figures(data.ts[index], everyone[SERVED], ends, result.deviation[j])  # type: ignore[arg-type]
    return {
        "n": len(index),
        "models": models,
        "best_baseline": best,
        "champion": result.next[j].candidate.name,
        "ratio": models[SERVED]["ratio"],
        "dm_p": models[SERVED].get("dm_p_best_baseline", 1.0),
        **coverage,
        "served": [fold[j].candidate.name for fold in result.decisions],
        "gate": [fold[j].to_dict() for fold in (*result.decisions, result.next)],
    }
