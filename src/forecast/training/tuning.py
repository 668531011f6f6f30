"""Hyperparameter search with Optuna within a budget, with median pruning after each fold."""

import logging
import time
from dataclasses import replace

import numpy as np
import optuna
from optuna.trial import TrialState

from forecast.data.dataset import Dataset
from forecast.model.baselines import row_scale
from forecast.model.losses import loss, over
from forecast.model.targets import Target
from forecast.training import gate, walkforward
from forecast.training.fitting import Tuning
from forecast.training.gate import Candidate
from forecast.training.walkforward import Schedule

log = logging.getLogger("forecast.training.tuning")
# Tuned on the older part only: rows evaluated later must not influence the settings.
OLDER_SHARE = 0.5
SEARCHED = ("depth", "rate", "leaf_rows", "column_share", "ridge")
_INNER = Schedule(folds=3, burn_in=0, start=0.4)


def parse_budget(text: str) -> tuple[int | None, float | None]:
    """``20`` is trials, ``90s`` seconds; ``0`` none: (trials, seconds), one of them None.

    Raises:
        ValueError: it is neither.
    """
    if text.endswith("s"):
        return None, float(text[:-1])
    return int(text), None


def search(data: Dataset, target: Target, base: Tuning, trials: int | None, seconds: float | None) -> Tuning:
    """The best settings found on the older half of the dataset; ``base`` is the first trial, so never worse there.

    Args:
        trials: how many settings to try; None: as many as the time allows.
        seconds: a trial that is not done by then is given up; with none done, ``base`` stays.
    """
    deadline = time.monotonic() + seconds if seconds else np.inf
    older = data.head(int(len(data) * OLDER_SHARE))
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        sampler=optuna.samplers.TPESampler(seed=base.seed),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=3),
    )
    study.enqueue_trial({key: getattr(base, key) for key in SEARCHED})

    def objective(trial: optuna.Trial) -> float:
        return _mean_loss(older, target, _suggest(trial, base), trial, deadline)

    study.optimize(objective, n_trials=trials, timeout=seconds)
    done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if not done:
        log.warning("%s: no trial was done within %s s, the settings stay as they are", target, seconds)
        return base
    best = min(done, key=lambda trial: trial.value or np.inf)
    log.info(
        "%s: %d trials, %d given up early; loss over rule %.4f as it was, %.4f with %s",
        *(target, len(study.trials), len(study.trials) - len(done), done[0].value, best.value, best.params),
    )
    return replace(base, **best.params)


def _suggest(trial: optuna.Trial, base: Tuning) -> Tuning:
    return replace(
        base,
        depth=trial.suggest_int("depth", 3, 7),
        rate=trial.suggest_float("rate", 0.02, 0.2, log=True),
        leaf_rows=trial.suggest_float("leaf_rows", 10.0, 400.0, log=True),
        column_share=trial.suggest_float("column_share", 0.3, 1.0),
        ridge=trial.suggest_float("ridge", 1.0, 200.0, log=True),
    )


def _mean_loss(data: Dataset, target: Target, tuning: Tuning, trial: optuna.Trial, deadline: float) -> float:
    """Loss of the boosted model over the rule's, mean over inner folds and horizons; reported fold by fold."""
    ratios: list[float] = []
    scale = row_scale(data.rows())
    for step, fold in enumerate(walkforward.folds(data, target, _INNER, tuning, ("xgboost",))):
        truth = data.truth[target][fold.index]
        value = gate.values(target, fold, Candidate("xgboost", (1.0, 1.0)), scale[fold.index])
        losses, rule = loss(target, truth, value), loss(target, truth, fold.rule)
        ratios.append(float(over(losses.mean(axis=0), rule.mean(axis=0)).mean()))
        trial.report(float(np.mean(ratios)), step)
        if trial.should_prune() or time.monotonic() > deadline:
            raise optuna.TrialPruned
    return float(np.mean(ratios))
