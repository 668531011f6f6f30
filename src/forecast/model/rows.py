"""A feature matrix with named columns, and the kernels that read single features of a row."""

from collections.abc import Iterable, Sequence

import numpy as np

from features.jit import inlined
from forecast.model.targets import Array
from lakehouse.arrays import Ints

ABSENT = -1


class FeatureRows:
    """A feature matrix with its column names.

    Args:
        matrix: shape (rows, len(columns)); unknown values are NaN.
    """

    def __init__(self, matrix: Array, columns: Sequence[str]) -> None:
        self.matrix = np.ascontiguousarray(matrix, dtype=np.float64)
        self.columns = tuple(columns)

    def __len__(self) -> int:
        return len(self.matrix)

    def __getitem__(self, name: str) -> Array:
        """The column; all NaN where this feature set lacks it."""
        if name not in self.columns:
            return np.full(len(self.matrix), np.nan)
        return self.matrix[:, self.columns.index(name)]


def positions(columns: Sequence[str], names: Iterable[str]) -> Ints:
    """Where features stand in a row of these columns; `ABSENT` where the feature set lacks one."""
    index = {name: position for position, name in enumerate(columns)}
    return np.array([index.get(name, ABSENT) for name in names], dtype=np.int64)


@inlined
def value_at(row: Array, column: int) -> float:
    """The feature at a position; NaN where the feature set lacks it."""
    return row[column] if column >= 0 else np.nan


@inlined
def first_known(row: Array, columns: Ints) -> float:
    """The first of the features that is known, else the last of them."""
    value = np.nan
    for i in range(len(columns)):
        value = value_at(row, columns[i])
        if np.isfinite(value):
            break
    return value


@inlined
def at_least(value: float, least: float) -> float:
    """max(value, least); unknown stays unknown."""
    return least if value < least else value
