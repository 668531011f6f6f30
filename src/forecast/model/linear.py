"""The linear part of a correction, regularised towards zero: gamma regression for variances, ridge for returns."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from features.jit import inlined, jit
from forecast.model.inputs import Inputs
from forecast.model.targets import Array
from lakehouse.arrays import Ints

CLIP = 4.0
_ITERATIONS = 30
_TOLERANCE = 1e-5
_MAX_WEIGHT = 5.0


@dataclass(frozen=True)
class Linear:
    """intercept + Σ w·clip((x - mean)/sd, ±4); an unknown input counts as its mean.

    Attributes:
        columns: columns of the input table the weights belong to.
    """

    columns: tuple[int, ...]
    mean: Array
    sd: Array
    intercept: float
    weights: Array

    def predict(self, table: Inputs) -> Array:
        """The correction per row, from inputs of shape (rows, k)."""
        return predict((self,), table)[:, 0]

    def _scaled(self, table: Inputs) -> Array:
        out = np.empty((len(table), len(self.columns)))
        _fill_scaled(np.array(self.columns, dtype=np.int64), self.mean, self.sd, table, out)
        return out

    def to_dict(self) -> dict[str, Any]:
        """JSON-able values; floats round-trip exactly."""
        return {
            "columns": list(self.columns),
            "mean": self.mean.tolist(),
            "sd": self.sd.tolist(),
            "intercept": self.intercept,
            "weights": self.weights.tolist(),
        }

    @staticmethod
    def from_dict(body: dict[str, Any]) -> "Linear":
        """The inverse of `to_dict`."""
        return Linear(
            tuple(body["columns"]),
            np.asarray(body["mean"], dtype=np.float64),
            np.asarray(body["sd"], dtype=np.float64),
            float(body["intercept"]),
            np.asarray(body["weights"], dtype=np.float64),
        )


class Lines(NamedTuple):
    """Linear parts of several outputs over all inputs; one that an output does not read has weight 0 there.

    Attributes:
        mean, sd, weights: shape (outputs, inputs). intercept: shape (outputs,).
    """

    mean: Array
    sd: Array
    weights: Array
    intercept: Array


def stack(lines: Sequence[Linear], width: int) -> Lines:
    """The linear parts as the kernels take them, for inputs of this width."""
    shape = (len(lines), width)
    stacked = Lines(np.zeros(shape), np.ones(shape), np.zeros(shape), np.array([line.intercept for line in lines]))
    for j, line in enumerate(lines):
        columns = list(line.columns)
        stacked.mean[j, columns], stacked.sd[j, columns] = line.mean, line.sd
        stacked.weights[j, columns] = line.weights
    return stacked


def predict(lines: Sequence[Linear], table: Inputs) -> Array:
    """Each linear part's correction per row, shape (rows, len(lines))."""
    out = np.empty((len(table), len(lines)))
    fill_linear(stack(lines, table.shape[1]), np.ascontiguousarray(table), out)
    return out


@inlined
def _scaled_value(x: float, mean: float, sd: float) -> float:
    value = (np.float64(x) - mean) / sd
    return 0.0 if np.isnan(value) else min(max(value, -CLIP), CLIP)


@jit
def _fill_scaled(columns: Ints, mean: Array, sd: Array, table: Inputs, out: Array) -> None:
    for r in range(len(table)):
        for k in range(len(columns)):
            out[r, k] = _scaled_value(table[r, columns[k]], mean[k], sd[k])


@jit
def fill_linear(lines: Lines, table: Inputs, out: Array) -> None:
    """`predict`, into ``out`` of shape (rows, outputs)."""
    for r in range(len(table)):
        for j in range(len(lines.intercept)):
            value = lines.intercept[j]
            for k in range(table.shape[1]):
                if lines.weights[j, k] != 0.0:
                    value += lines.weights[j, k] * _scaled_value(table[r, k], lines.mean[j, k], lines.sd[j, k])
            out[r, j] = value


def _empty(table: Inputs, columns: tuple[int, ...]) -> Linear:
    """Means and deviations of the columns that vary in this table; weights 0."""
    part = table[:, columns].astype(np.float64)
    known = np.isfinite(part)
    count = np.maximum(known.sum(axis=0), 1)
    mean = np.where(known, part, 0.0).sum(axis=0) / count
    sd = np.sqrt((np.where(known, part - mean, 0.0) ** 2).sum(axis=0) / count)
    keep = sd > 1e-9
    return Linear(tuple(np.asarray(columns)[keep].tolist()), mean[keep], sd[keep], 0.0, np.zeros(int(keep.sum())))


def fit_gamma(table: Inputs, columns: tuple[int, ...], ratio: Array, prior_rows: float) -> Linear:
    """Minimises Σ ratio·exp(-f) + f + prior_rows·|w|²/2: QLIKE of the corrected rule, by damped Newton steps.

    Args:
        table: inputs, shape (rows, k).
        ratio: truth over rule, as variances, shape (rows,).
        prior_rows: strength of the pull towards no correction, in rows.
    """
    line = _empty(table, columns)
    design = np.column_stack([np.ones(len(table)), line._scaled(table)])
    penalty = np.full(design.shape[1], prior_rows)
    penalty[0] = 0.0
    weights = np.zeros(design.shape[1])
    weights[0] = np.log(ratio.mean())
    for _ in range(_ITERATIONS):
        surprise = np.minimum(ratio * np.exp(-design @ weights), np.exp(_MAX_WEIGHT))
        gradient = design.T @ (surprise - 1.0) - penalty * weights
        step = np.linalg.solve((design * surprise[:, None]).T @ design + np.diag(penalty + 1e-9), gradient)
        weights = weights + step / max(1.0, float(np.abs(step).max()))
        if np.abs(step).max() < _TOLERANCE:
            break
    return Linear(line.columns, line.mean, line.sd, float(weights[0]), weights[1:])


def fit_ridge(table: Inputs, columns: tuple[int, ...], value: Array, prior_rows: float) -> Linear:
    """Ridge regression without intercept (a mean return is not forecastable), shrunk towards 0.

    Args:
        value: scaled returns, shape (rows,). prior_rows: strength of the shrinkage, in rows.
    """
    line = _empty(table, columns)
    design = line._scaled(table)
    gram = design.T @ design + prior_rows * np.eye(design.shape[1])
    weights: Array = np.linalg.solve(gram, design.T @ value).astype(np.float64)
    return Linear(line.columns, line.mean, line.sd, 0.0, weights)
