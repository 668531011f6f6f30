"""Chooses per horizon what is served: a correction only where it beat the best rule on earlier folds; pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from forecast.model.correction import Library, apply
from forecast.model.losses import NO_LOSS, diebold_mariano, loss, over
from forecast.model.targets import Array, Target
from forecast.training.folds import Fold

# Shares of (linear part, booster's margin) that may be served. A forecast return gets half at most:
# the signal is so weak that its fitted size is always too large.
STRAIGHT: dict[Target, tuple[tuple[float, float], ...]] = {"vol": ((0.5, 0.0), (1.0, 0.0)), "bid": ((0.5, 0.0),)}
BOOSTED: dict[Target, tuple[tuple[float, float], ...]] = {
    "vol": ((0.5, 0.5), (1.0, 0.5), (1.0, 1.0)),
    "bid": ((0.5, 0.5),),
}
MIN_GAIN = 0.005
# Volatility is forecastable, so moderate evidence suffices. Returns mostly are not: with many corrections, horizons and
# folds, one wins by chance, so the bid needs far stronger evidence, from more than one fold.
MAX_P = {"vol": 0.10, "bid": 0.002}
MIN_FOLDS = {"vol": 1, "bid": 3}
RIVAL_GAIN = 0.005


@dataclass(frozen=True)
class Candidate:
    """A candidate for serving at one horizon: a rule by name, or a model with its shares."""

    model: str
    shares: tuple[float, float] | None = None

    @property
    def name(self) -> str:
        """E.g. ``ewma`` or ``xgboost 1.0/0.5``."""
        return self.model if self.shares is None else f"{self.model} {self.shares[0]:g}/{self.shares[1]:g}"


@dataclass(frozen=True)
class Decision:
    """What is served at one horizon of one fold, and why.

    Attributes:
        gain: relative improvement of the best correction over the best rule on the evidence; NaN without evidence.
        p: one-sided p-value of that improvement (Diebold-Mariano, HAC).
    """

    candidate: Candidate
    gain: float
    p: float
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """JSON-able values."""
        figures = {"gain": self.gain, "p": self.p}
        known = {key: (value if np.isfinite(value) else None) for key, value in figures.items()}
        return {"serve": self.candidate.name, **known, "reason": self.reason}


@dataclass(frozen=True)
class Evidence:
    """Losses of every candidate on one fold, each of shape (rows, horizons)."""

    rules: Mapping[str, Array]
    corrections: Mapping[Candidate, Array]


def candidates(target: Target, fold: Fold) -> list[Candidate]:
    """The corrections that this fold's parts allow."""
    straight = [Candidate("linear", shares) for shares in STRAIGHT[target]]
    return straight + [Candidate(name, shares) for name in fold.margins for shares in BOOSTED[target]]


def values(target: Target, fold: Fold, candidate: Candidate, scale: Array) -> Array:
    """What a candidate forecasts on a fold, shape (rows, horizons)."""
    if candidate.shares is None:
        return fold.rules.get(candidate.model, fold.rule)
    on_linear, on_margin = candidate.shares
    correction = on_linear * fold.linear
    if on_margin:
        margin = next(value for name, value in fold.margins.items() if name == candidate.model)
        correction = np.asarray(correction + on_margin * margin)
    return apply(target, fold.rule, scale, correction)


def weigh(target: Target, fold: Fold, truth: Array, scale: Array, known: int) -> Evidence:
    """Losses of all candidates on the first ``known`` rows of a fold, whose truth precedes the next fold."""

    def losses(value: Array) -> Array:
        return loss(target, truth[:known], value[:known]).astype(np.float32)

    corrections = {c: losses(values(target, fold, c, scale)) for c in candidates(target, fold)}
    return Evidence({name: losses(value) for name, value in fold.rules.items()}, corrections)


def pick_library(target: Target, evidence: Sequence[Evidence]) -> Library:
    """The library whose boosters may be served: XGBoost, unless LightGBM's overall loss is clearly smaller."""
    if not evidence:
        return "xgboost"
    means: dict[str, float] = {}
    for candidate in evidence[0].corrections:
        if candidate.shares == BOOSTED[target][-1]:
            joined = np.concatenate([e.corrections[candidate] for e in evidence])
            rules = np.concatenate([e.rules[next(iter(e.rules))] for e in evidence])
            means[candidate.model] = float(over(joined.mean(axis=0), rules.mean(axis=0)).mean())
    rival, usual = means.get("lightgbm", np.inf), means.get("xgboost", np.inf)
    return "lightgbm" if rival < usual * (1 - RIVAL_GAIN) else "xgboost"


def decide(
    target: Target,
    evidence: Sequence[Evidence],
    horizon: int,
    overlap: int,
    first_rule: str,
    library: Library,
    corrected: bool = False,
) -> Decision:
    """What to serve at one horizon, from earlier folds only.

    First the rule: the one that was best on the training part, unless another clearly beat it on the earlier folds.
    Then the model: the best correction, if it clearly beat that rule there. Clearly: by `MIN_GAIN` and `MAX_P`, on
    `MIN_FOLDS` of them at least.
    A volatility correction that is already served stays while its gain holds, even if no longer significant: one noisy
    stretch is no reason to revert.

    Args:
        evidence: earlier folds, oldest first. overlap: rows that share one horizon.
        first_rule: name of the rule that was best on the training part. library: whose boosters may be served.
        corrected: whether a correction was served in the newest of the earlier folds.
    """
    if not evidence:
        return Decision(Candidate(first_rule), np.nan, np.nan, "no earlier fold: best rule by the training part")
    rules = {name: _joined([e.rules[name] for e in evidence], horizon) for name in evidence[0].rules}
    rival = min(rules, key=lambda name: float(rules[name].mean()))
    gain, p = _gain(rules[rival], rules[first_rule], overlap)
    rule = rival if _clear(target, gain, p) else first_rule
    allowed = [c for c in evidence[0].corrections if c.model in ("linear", library)]
    corrections = {c: _joined([e.corrections[c] for e in evidence], horizon) for c in allowed}
    best = min(corrections, key=lambda c: float(corrections[c].mean()))
    gain, p = _gain(corrections[best], rules[rule], overlap)
    if corrected and target == "vol" and gain >= MIN_GAIN:
        return Decision(best, gain, p, f"{best.name} is still ahead of {rule} on {len(evidence)} earlier folds")
    if _clear(target, gain, p) and len(evidence) >= MIN_FOLDS[target]:
        return Decision(best, gain, p, f"{best.name} beat {rule} on {len(evidence)} earlier fold(s)")
    return Decision(Candidate(rule), gain, p, f"{best.name} did not clearly beat {rule}: the rule stays")


def _joined(parts: Sequence[Array], horizon: int) -> Array:
    return np.concatenate([part[:, horizon] for part in parts]).astype(np.float64)


def _gain(losses: Array, other: Array, overlap: int) -> tuple[float, float]:
    """Relative improvement over another's losses, and its one-sided p-value; none over one that lost nothing."""
    if other.mean() <= NO_LOSS:
        return 0.0, 1.0
    test = diebold_mariano(losses, other, overlap)
    return -test.mean / float(other.mean()), test.p / 2 if test.mean < 0 else 1 - test.p / 2


def _clear(target: Target, gain: float, p: float) -> bool:
    return gain >= MIN_GAIN and p <= MAX_P[target]
