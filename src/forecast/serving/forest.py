"""Boosters as one packed array of nodes, for the compiled walk: read from XGBoost's JSON, kept on disk as arrays.

XGBoost's own `inplace_predict` sets up threads and proxies per call, which costs more than the walk itself. Here the
trees of all horizons lie in one array of 12-byte nodes, siblings side by side, and eight trees are walked at once so
that their memory reads overlap. Sums are made in 32 bits, tree by tree, as XGBoost makes them.
"""

import json
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from forecast.model.correction import Inputs
from forecast.model.targets import Array
from forecast.serving import kernel

LANES = kernel.LANES
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
        kernel.walk(self.trees, table, out)
        return out.astype(np.float64)

    @property
    def trees(self) -> kernel.Trees:
        """The arrays as the kernel takes them."""
        return kernel.Trees(self.nodes, self.leaves, self.roots, self.depths, self.groups, self.bases)

    def save(self, file: Path) -> None:
        """Writes the arrays, without pickles."""
        partial = file.with_suffix(".partial.npz")
        np.savez(partial, **asdict(self))
        partial.replace(file)

    @staticmethod
    def load(file: Path) -> "Forest":
        """What `save` wrote."""
        with np.load(file, allow_pickle=False) as held:
            return Forest(**held)


def pack(boosters: Sequence[Any]) -> Forest:
    """The trees of single-output XGBoost boosters as one `Forest`.

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
