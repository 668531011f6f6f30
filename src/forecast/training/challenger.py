"""Builds a challenger and compares it with the champion and the best baseline on recent rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from forecast.data.dataset import Dataset, overlap_rows
from forecast.model import inputs
from forecast.model.baselines import Rule
from forecast.model.correction import Correction
from forecast.model.forecaster import Forecaster
from forecast.model.losses import NO_LOSS, diebold_mariano, loss, over
from forecast.model.targets import MICROS, Array, Target
from forecast.training import walkforward
from forecast.training.backtest import Backtest
from forecast.training.fitting import Tuning
from lakehouse.settings import HORIZONS_S

MAX_P = 0.05
# A verdict needs recent rows that span this many non-overlapping horizons.
MIN_INDEPENDENT = 60


def make(data: Dataset, result: Backtest, tuning: Tuning) -> Forecaster:
    """The model to serve now: fitted to all rows, with the gate's choice at each horizon."""
    table = inputs.table(data.rows())
    served = [decision.candidate for decision in result.next]
    library = next((c.model for c in served if c.model in walkforward.LIBRARIES), "xgboost")
    chosen = next(name for name in walkforward.LIBRARIES if name == library)
    corrected = any(c.shares is not None for c in served)
    everything = np.arange(len(data))
    fitted = walkforward.fit(data, table, everything, result.target, tuning, (chosen,) if corrected else ())
    rules = tuple(fitted.rules[c.model][j] if c.shares is None else fitted.best[j] for j, c in enumerate(served))
    shares = tuple(c.shares or (0.0, 0.0) for c in served)
    correction = Correction(result.target, chosen, inputs.NAMES, fitted.linear, fitted.boosters.get(chosen, ()), shares)
    info: dict[str, Any] = {
        "dataset": data.hash(),
        "rows": len(data),
        "trained_from": int(data.ts[0]),
        "trained_until": int(data.ts[-1]),
        "gate": [decision.to_dict() for decision in result.next],
    }
    return Forecaster(
        _name(chosen, rules, shares),
        result.target,
        data.spec,
        data.columns,
        rules,
        result.calibration,
        correction if corrected else None,
        info,
    )


def _name(library: str, rules: Sequence[Rule], shares: Sequence[tuple[float, float]]) -> str:
    """What the model is, in a word."""
    if any(on_margin for _, on_margin in shares):
        return library
    if any(on_linear for on_linear, _ in shares):
        return "linear"
    kinds = {rule.kind for rule in rules}
    return kinds.pop() if len(kinds) == 1 else "rules"


@dataclass(frozen=True)
class Verdict:
    """Whether the challenger should take over, with the figures and the reason in words."""

    promote: bool
    reason: str
    figures: dict[str, Any]


@dataclass(frozen=True)
class Recent:
    """The last fold out of sample: which rows, what would have been served, what each rule said (rows, horizons)."""

    target: Target
    index: npt.NDArray[np.int64]
    served: Array
    rules: dict[str, Array]

    def save(self, path: Path) -> None:
        """Writes one ``.npz`` file without pickles."""
        rules: dict[str, Any] = {f"rule_{name}": values for name, values in self.rules.items()}
        np.savez(path, target=self.target, index=self.index, served=self.served, **rules)

    @staticmethod
    def load(path: Path, target: Target) -> "Recent":
        """What `save` wrote."""
        with np.load(path, allow_pickle=False) as held:
            rules = {name.removeprefix("rule_"): held[name] for name in held.files if name.startswith("rule_")}
            return Recent(target, held["index"], held["served"], rules)


def recent(result: Backtest) -> Recent:
    """The newest out-of-sample rows of an evaluation."""
    fold = result.folds[-1]
    return Recent(result.target, fold.index, result.served[-len(fold.index) :], fold.rules)


def judge(data: Dataset, newest: Recent, champion: Forecaster) -> Verdict:
    """Compares what the challenger's recipe served out of sample with the champion and the best rule, same rows.

    The rows are those after the champion's own training where they are enough; else the last fold, of which the
    champion may have seen part: that can only favour the champion.
    """
    least = MIN_INDEPENDENT * overlap_rows(data, HORIZONS_S[-1])
    since = int(champion.info.get("trained_until", 0)) + HORIZONS_S[-1] * MICROS
    unseen = data.ts[newest.index] > since
    keep = unseen if unseen.sum() >= least else np.ones_like(unseen)
    index = newest.index[keep]
    found: dict[str, Any] = {"rows": len(index), "from": int(data.ts[index[0]]), "to": int(data.ts[index[-1]])}
    if len(index) < least:
        return Verdict(False, f"only {len(index)} recent rows: too little history for a verdict", found)
    truth = data.truth[newest.target][index]
    ours = loss(newest.target, truth, newest.served[keep])
    rules = {name: loss(newest.target, truth, value[keep]) for name, value in newest.rules.items()}
    best = np.min([losses.mean(axis=0) for losses in rules.values()], axis=0)
    found["loss_over_best_rule"] = over(ours.mean(axis=0), best).tolist()
    against: dict[str, Array] = {"the best rule": _closest(rules)}
    if champion.spec == data.spec:
        theirs = loss(newest.target, truth, champion.predict(data.matrix[index]))
        found["loss_over_champion"] = over(ours.mean(axis=0), theirs.mean(axis=0)).tolist()
        against["the champion"] = theirs
    return _verdict(data, ours, against, np.maximum(best, NO_LOSS), found)


def _closest(rules: dict[str, Array]) -> Array:
    """Losses of the best rule per horizon on these rows."""
    names = list(rules)
    winners = np.array([rules[name].mean(axis=0) for name in names]).argmin(axis=0)
    return np.column_stack([rules[names[winner]][:, j] for j, winner in enumerate(winners)])


def _verdict(data: Dataset, ours: Array, against: dict[str, Array], unit: Array, found: dict[str, Any]) -> Verdict:
    """Promotes only a challenger significantly better than each opponent, over all horizons together."""
    overlap = int(np.ceil(overlap_rows(data, HORIZONS_S[-1])))
    for name, theirs in against.items():
        test = diebold_mariano((ours / unit).mean(axis=1), (theirs / unit).mean(axis=1), overlap)
        p = test.p / 2 if test.mean < 0 else 1 - test.p / 2
        found |= {f"gain over {name}": -test.mean, f"p against {name}": p}
        if p > MAX_P:
            return Verdict(False, f"does not clearly beat {name} (gain {-test.mean:.4f}, p {p:.3f})", found)
    return Verdict(True, f"beats {' and '.join(against)} on {found['rows']} recent rows", found)
