"""Boosters as packed arrays walked by compiled code: one row through 1,500 trees in tens of microseconds.

XGBoost's own `inplace_predict` sets up threads and proxies per call, which costs more than the walk itself. Here the
trees of all horizons lie in one array of 12-byte nodes, siblings side by side, and eight trees are walked at once so
that their memory reads overlap. Sums are made in 32 bits, tree by tree, as XGBoost makes them; the result is compared
with XGBoost's own on random rows before it is used.
"""

import json
import logging
from collections import deque
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
import xgboost

from forecast.learned import Evaluator, Inputs, Learned
from forecast.targets import Array

log = logging.getLogger(__name__)
TOLERANCE = 1e-6
LANES = 8
# From so many rows on, XGBoost's own walk over blocks of rows on every core is the faster one.
NATIVE_ROWS = 24
NODE = np.dtype([("threshold", "f4"), ("left", "i4"), ("feature", "i2"), ("default_right", "i2")], align=True)
# Objectives whose base score is stored on the scale of the answer, the margin being its logarithm.
LOG_LINK = frozenset(("reg:gamma", "reg:tweedie", "count:poisson"))
Ints = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Forest:
    """Boosters of several outputs in one array.

    Attributes:
        nodes: `NODE` records; the right child follows the left one; a leaf leads to itself.
        leaves: value of each node that is a leaf.
        roots: first node of each tree, outputs one after the other, each padded to a multiple of `LANES`.
        depths: deepest level within each group of `LANES` trees.
        groups: first group of each output, and the end.
        bases: margin every sum starts from, per output.
    """

    nodes: npt.NDArray[np.void]
    leaves: Floats
    roots: Ints
    depths: Ints
    groups: Ints
    bases: Floats

    def margins(self, table: Inputs) -> Array:
        """Raw margins, shape (rows, outputs)."""
        out = np.empty((len(table), len(self.bases)), np.float32)
        _walk(self.nodes, self.leaves, self.roots, self.depths, self.groups, self.bases, table, out)
        return out.astype(np.float64)


def compile_trees(learned: Learned) -> Evaluator | None:
    """A faster evaluator of the model's boosters, or None where only the library can walk them.

    It is compared with the native boosters on random rows, some values missing; a difference is logged and refused.
    """
    if learned.library != "xgboost":
        return None
    try:
        forest = pack(learned.boosters)
    except (KeyError, ValueError) as error:
        log.warning("trees stay with XGBoost: not a plain forest of numerical splits: %r", error)
        return None
    table = _random_rows(learned, forest)
    native, ours = learned.margins(table), forest.margins(table)
    worst = float(np.max(np.abs(ours - native) / np.maximum(np.abs(native), np.abs(native).mean())))
    if not worst <= TOLERANCE:
        log.error("trees stay with XGBoost: compiled ones differ by %.1e, more than %.0e", worst, TOLERANCE)
        return None
    return lambda rows: forest.margins(rows) if len(rows) < NATIVE_ROWS else learned.margins(rows)


def pack(boosters: tuple[xgboost.Booster, ...]) -> Forest:
    """The trees of single-output boosters as one `Forest`.

    Raises:
        ValueError, KeyError: a booster is no sum of trees with numerical splits.
    """
    packer = _Packer()
    groups, bases = [0], []
    for booster in boosters:
        learner: dict[str, Any] = json.loads(booster.save_raw("json"))["learner"]
        bases.append(_base_margin(learner))
        for tree in learner["gradient_booster"]["model"]["trees"]:
            packer.add(tree)
        packer.pad()
        groups.append(len(packer.roots) // LANES)
    depths = np.array(packer.depths, np.int32).reshape(-1, LANES).max(axis=1)
    return Forest(
        np.array(packer.nodes, NODE),
        np.array(packer.leaves, np.float32),
        np.array(packer.roots, np.int32),
        depths,
        np.array(groups, np.int32),
        np.array(bases, np.float32),
    )


class _Packer:
    """Lays trees out breadth first, siblings side by side."""

    def __init__(self) -> None:
        self.nodes: list[tuple[float, int, int, int]] = []
        self.leaves: list[float] = []
        self.roots: list[int] = []
        self.depths: list[int] = []

    def add(self, tree: dict[str, Any]) -> None:
        """Takes one tree of XGBoost's JSON format."""
        if any(tree["split_type"]):
            raise ValueError("categorical split")
        left, right, conditions = tree["left_children"], tree["right_children"], tree["split_conditions"]
        root = self._reserve(1)
        depth = 0
        queue = deque([(0, root, 0)])
        while queue:
            node, place, level = queue.popleft()
            depth = max(depth, level)
            if left[node] < 0:
                self._leaf(place, conditions[node])
                continue
            children = self._reserve(2)
            default_right = int(not tree["default_left"][node])
            self.nodes[place] = (conditions[node], children, tree["split_indices"][node], default_right)
            queue.append((left[node], children, level + 1))
            queue.append((right[node], children + 1, level + 1))
        self.roots.append(root)
        self.depths.append(depth)

    def pad(self) -> None:
        """Fills the last group of an output with trees that are one leaf of 0."""
        while len(self.roots) % LANES:
            self.roots.append(self._reserve(1))
            self.depths.append(0)
            self._leaf(self.roots[-1], 0.0)

    def _reserve(self, count: int) -> int:
        place = len(self.nodes)
        self.nodes.extend([(0.0, 0, 0, 0)] * count)
        self.leaves.extend([0.0] * count)
        return place

    def _leaf(self, place: int, value: float) -> None:
        self.nodes[place] = (np.inf, place, 0, 0)
        self.leaves[place] = value


def _base_margin(learner: dict[str, Any]) -> np.float32:
    score = np.float32(learner["learner_model_param"]["base_score"].strip("[]"))
    return np.log(score) if learner["objective"]["name"] in LOG_LINK else score


def _random_rows(learned: Learned, forest: Forest, count: int = 256) -> Inputs:
    """Rows around the trees' own thresholds, a tenth of the values missing, and some exactly on a threshold."""
    rng = np.random.default_rng(11)
    table = rng.normal(0.0, 3.0, (count, len(learned.input_names))).astype(np.float32)
    inner = forest.nodes[np.isfinite(forest.nodes["threshold"])]
    picked = inner[rng.integers(0, len(inner), 20 * count)] if len(inner) else inner
    table[rng.integers(0, count, len(picked)), picked["feature"]] = picked["threshold"]
    table[rng.random(table.shape) < 0.1] = np.nan
    return table


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _walk(
    nodes: npt.NDArray[np.void],
    leaves: Floats,
    roots: Ints,
    depths: Ints,
    groups: Ints,
    bases: Floats,
    table: Inputs,
    out: Floats,
) -> None:
    at = np.empty(8, np.int32)
    for output in range(len(bases)):
        out[:, output] = bases[output]
        for group in range(groups[output], groups[output + 1]):
            for row in range(len(table)):
                for lane in range(8):
                    at[lane] = roots[8 * group + lane]
                for _ in range(depths[group]):
                    for lane in range(8):
                        node = nodes[at[lane]]
                        value = table[row, node["feature"]]
                        # Missing compares false both ways; leaves (threshold infinity) stay where they are.
                        right = value >= node["threshold"] or (value != value and node["default_right"] != 0)
                        at[lane] = node["left"] + right
                for lane in range(8):
                    out[row, output] += leaves[at[lane]]
