"""Fits rules, linear parts and boosters to labelled rows, with early stopping on the newest ones."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import lightgbm
import numpy as np
import xgboost

from features.spec import HALF_LIVES_MIN
from forecast.model import baselines, linear
from forecast.model.baselines import RULES, Rule, RuleKind
from forecast.model.correction import Library
from forecast.model.inputs import MINUTES, NAMES, Inputs
from forecast.model.linear import Linear
from forecast.model.losses import loss, qlike
from forecast.model.rows import FeatureRows
from forecast.model.targets import Array, Target
from lakehouse.settings import HORIZONS_S

_MAX_RATIO = 50.0
_MIN_RATIO = 1e-4
_MAX_RETURN = 8.0
_LINEAR_EXCLUDED = ("dow", *MINUTES)
_NEEDS = {"persistence": "last", "ewma": "ewma_rv_5m", "last": "rv_5m", "har": "rv_24h", "tod": "rv_tod"}
_MIN_KNOWN = 0.5
_LAST_WINDOWS = ("rv_1m", "rv_5m", "rv_15m", "rv_1h")


@dataclass(frozen=True)
class Tuning:
    """Hyperparameters; the defaults were found on the data sets in docs/forecasting.md.

    Attributes:
        leaf_rows, ridge: minimum weight of a leaf and L2 penalty of its value, in independent rows.
        prior_rows: ridge penalty of the linear part, in independent rows.
        rows: maximum of training rows per booster (evenly thinned). newest: share held out for early stopping.
    """

    depth: int = 5
    rate: float = 0.06
    trees: int = 300
    leaf_rows: float = 60.0
    row_share: float = 0.7
    column_share: float = 0.5
    ridge: float = 20.0
    prior_rows: float = 600.0
    rows: int = 80_000
    newest: float = 0.15
    patience: int = 20
    seed: int = 7
    threads: int = 2


def scaled(tuning: Tuning, overlap: float) -> Tuning:
    """Row counts scaled from independent rows to rows of which ``overlap`` share one horizon."""
    more = {name: getattr(tuning, name) * overlap for name in ("leaf_rows", "ridge", "prior_rows")}
    return replace(tuning, **more)


def fit_rule(kind: RuleKind, target: Target, rows: FeatureRows, truth: Array) -> tuple[Rule, ...]:
    """A kind of rule tuned per horizon on these rows; truth of shape (rows, horizons), without NaN."""
    if kind == "persistence":
        return baselines.default_rules(target)
    if kind == "har":
        return _fit_har(rows, truth)
    parameters: list[dict[str, Any]] = [{"half_life_min": half_life} for half_life in HALF_LIVES_MIN]
    if kind == "last":
        parameters = [{"window": window} for window in _LAST_WINDOWS]
    options = [tuple(Rule(kind, p) for _ in HORIZONS_S) for p in parameters]
    losses = np.array([qlike(truth, baselines.predict(rules, rows)).mean(axis=0) for rules in options])
    return tuple(options[int(best)][j] for j, best in enumerate(losses.argmin(axis=0)))


def _fit_har(rows: FeatureRows, truth: Array) -> tuple[Rule, ...]:
    """HAR in logs (Corsi 2009) by least squares; the intercept takes the mean of exp(residual) (Duan 1983)."""
    design = np.column_stack([np.ones(len(rows)), baselines.har_terms(rows)])
    rules = []
    for j in range(len(HORIZONS_S)):
        value = 2 * np.log(truth[:, j])
        coefficients = np.linalg.lstsq(design, value, rcond=None)[0]
        coefficients[0] += np.log(np.mean(np.exp(value - design @ coefficients)))
        rules.append(Rule("har", {"coefficients": [float(c) for c in coefficients]}))
    return tuple(rules)


def fit_rules(target: Target, rows: FeatureRows, truth: Array) -> dict[str, tuple[Rule, ...]]:
    """Every kind of rule tuned on these rows, by name."""
    return {kind: fit_rule(kind, target, rows, truth) for kind in RULES[target]}


def best_rules(
    target: Target, rules: Mapping[str, Sequence[Rule]], rows: FeatureRows, truth: Array
) -> tuple[Rule, ...]:
    """Per horizon the rule with the smallest mean loss on these rows.

    A rule whose longest window is unknown in most of them cannot be judged by them and is left out: HAR and time of
    day win in hindsight on a few hours, and lose afterwards.
    """
    named = [r for kind, r in rules.items() if np.isfinite(rows[_NEEDS[kind]]).mean() > _MIN_KNOWN]
    means = np.array([loss(target, truth, baselines.predict(r, rows)).mean(axis=0) for r in named])
    return tuple(named[int(best)][j] for j, best in enumerate(means.argmin(axis=0)))


def labels(target: Target, truth: Array, rule: Array, scale: Array) -> Array:
    """Labels of the correction: truth over rule as variances, or the log return in units of ``scale``."""
    if target == "vol":
        return np.clip((truth / rule) ** 2, _MIN_RATIO, _MAX_RATIO)
    return np.clip(np.log(truth / rule) / scale, -_MAX_RETURN, _MAX_RETURN)


def fit_linear(target: Target, table: Inputs, label: Array, prior_rows: float) -> Linear:
    """The linear correction for one horizon."""
    columns = tuple(i for i, name in enumerate(NAMES) if name not in _LINEAR_EXCLUDED)
    fit = linear.fit_gamma if target == "vol" else linear.fit_ridge
    return fit(table, columns, label, prior_rows)


@dataclass(frozen=True)
class Sample:
    """Rows for a booster: inputs, labels, and the margin it starts from; same length."""

    table: Inputs
    label: Array
    start: Array


def fit_booster(library: Library, target: Target, fit: Sample, stop: Sample, tuning: Tuning) -> Any:
    """One booster for one horizon; its raw margin is added to ``start``.

    Early stopping on ``stop``, the newest rows, finds the number of trees; a second fit then includes these rows.
    """
    return (_fit_xgboost if library == "xgboost" else _fit_lightgbm)(target, fit, stop, tuning)


def residual(target: Target, label: Array, start: Array) -> Array:
    """The booster's label, what ``start`` leaves unexplained; its own margin begins at 0."""
    if target == "vol":
        return np.clip(label * np.exp(-start), _MIN_RATIO, _MAX_RATIO)
    return np.asarray(label - start)


def _residual(target: Target, sample: Sample) -> Array:
    return residual(target, sample.label, sample.start)


def _together(target: Target, *samples: Sample) -> tuple[Inputs, Array]:
    """Inputs and labels of all samples, in their order."""
    tables, rest = [sample.table for sample in samples], [_residual(target, sample) for sample in samples]
    return np.concatenate(tables), np.concatenate(rest)


def xgboost_parameters(target: Target, tuning: Tuning) -> dict[str, Any]:
    """XGBoost's settings for a booster of one horizon."""
    return {
        "objective": "reg:gamma" if target == "vol" else "reg:squarederror",
        "eval_metric": "gamma-deviance" if target == "vol" else "rmse",
        "base_score": 1.0 if target == "vol" else 0.0,
        "max_depth": tuning.depth,
        "eta": tuning.rate,
        "min_child_weight": tuning.leaf_rows,
        "subsample": tuning.row_share,
        "colsample_bytree": tuning.column_share,
        "reg_lambda": tuning.ridge,
        "max_bin": 128,
        "nthread": 1,
        "seed": tuning.seed,
    }


def _fit_xgboost(target: Target, fit: Sample, stop: Sample, tuning: Tuning) -> xgboost.Booster:
    parameters = xgboost_parameters(target, tuning)
    data = xgboost.QuantileDMatrix(fit.table, _residual(target, fit), max_bin=128, nthread=1)
    held = xgboost.QuantileDMatrix(stop.table, _residual(target, stop), ref=data, max_bin=128, nthread=1)
    booster = xgboost.train(
        parameters,
        data,
        tuning.trees,
        evals=[(held, "newest")],
        early_stopping_rounds=tuning.patience,
        verbose_eval=False,
    )
    whole = xgboost.QuantileDMatrix(*_together(target, fit, stop), max_bin=128, nthread=1)
    return xgboost.train(parameters, whole, booster.best_iteration + 1)


def _fit_lightgbm(target: Target, fit: Sample, stop: Sample, tuning: Tuning) -> lightgbm.Booster:
    parameters = {
        "objective": "gamma" if target == "vol" else "regression",
        "boost_from_average": False,
        "num_leaves": 2**tuning.depth - 1,
        "learning_rate": tuning.rate,
        "min_data_in_leaf": int(tuning.leaf_rows),
        "bagging_fraction": tuning.row_share,
        "bagging_freq": 1,
        "feature_fraction": tuning.column_share,
        "lambda_l2": tuning.ridge,
        "max_bin": 127,
        "num_threads": 1,
        "seed": tuning.seed,
        "deterministic": True,
        "force_row_wise": True,
        "verbosity": -1,
    }
    data = lightgbm.Dataset(fit.table, _residual(target, fit), params={"max_bin": 127, "verbosity": -1})
    held = lightgbm.Dataset(stop.table, _residual(target, stop), reference=data)
    stopper = lightgbm.early_stopping(tuning.patience, verbose=False)
    booster = lightgbm.train(parameters, data, tuning.trees, valid_sets=[held], callbacks=[stopper])
    table, label = _together(target, fit, stop)
    whole = lightgbm.Dataset(table, label, params={"max_bin": 127, "verbosity": -1})
    return lightgbm.train(parameters, whole, booster.best_iteration)
