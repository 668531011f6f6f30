"""Feature drift against a model's training rows, as population stability indices; pure."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from features.spec import FEATURES
from forecast.data.dataset import Dataset
from forecast.model.targets import Array

# The file of training histograms within a version's report.
FILE = "training_set.json"
BINS = 10
# Not monitored: prices drift by nature, and models read only their ratios.
MEASURED = frozenset(feature.name for feature in FEATURES if feature.unit != "quote currency")


@dataclass(frozen=True, slots=True)
class Spread:
    """Histogram of one feature: rows per bin between ``edges`` (deciles), rows of unknown value last."""

    edges: tuple[float, ...]
    rows: tuple[int, ...]


# Per symbol, per feature.
Shape = Mapping[str, Mapping[str, Spread]]


def spread(values: Array) -> Spread:
    """The histogram of values over their own deciles."""
    known = values[np.isfinite(values)]
    edges = np.unique(np.quantile(known, np.linspace(0, 1, BINS + 1)[1:-1])) if known.size else np.empty(0)
    return Spread(tuple(edges.tolist()), tuple(_counts(edges, values).tolist()))


def psi(reference: Spread, values: Array) -> float:
    """Population stability index of one feature: sum over bins of (q - p) * ln(q / p), shares smoothed by half a row.

    Below 0.1 nothing has moved, above 0.25 much has (Siddiqi, Credit Risk Scorecards, 2006).
    """
    p, q = (rows / rows.sum() for rows in (np.array(reference.rows) + 0.5, _counts(reference.edges, values) + 0.5))
    return float(np.sum((q - p) * np.log(q / p)))


def shape(data: Dataset) -> dict[str, dict[str, Spread]]:
    """Histograms of every feature but prices, per symbol of a training set."""
    return {
        str(symbol): {
            name: spread(data.matrix[data.symbols == symbol, i])
            for i, name in enumerate(data.columns)
            if name in MEASURED
        }
        for symbol in np.unique(data.symbols)
    }


def dump(found: Shape) -> str:
    """As JSON."""
    return json.dumps({symbol: {n: asdict(held) for n, held in of.items()} for symbol, of in found.items()})


def load(text: str) -> dict[str, dict[str, Spread]]:
    """What `dump` wrote."""
    return {
        symbol: {name: Spread(tuple(held["edges"]), tuple(held["rows"])) for name, held in of.items()}
        for symbol, of in json.loads(text).items()
    }


def _counts(edges: Array | tuple[float, ...], values: Array) -> npt.NDArray[np.int64]:
    bins = np.where(np.isfinite(values), np.searchsorted(edges, values, side="right"), len(edges) + 1)
    return np.bincount(bins, minlength=len(edges) + 2)
