"""XGBoost's trees as one packed array of nodes that a compiled loop walks.

XGBoost's own `inplace_predict` sets up threads and proxies per call, which costs more than one row's walk. Here the
trees of all horizons lie in one array of 12-byte nodes, siblings side by side, and eight trees are walked at once so
that their memory reads overlap. Sums are made in 32 bits, tree by tree, as XGBoost makes them: results are equal bit
for bit.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from features.jit import jit
from forecast.model.inputs import Inputs
from lakehouse.errors import FatalError

LANES = 8
NODE = np.dtype([("threshold", "f4"), ("left", "i4"), ("feature", "i2"), ("default_right", "i2")], align=True)
# Objectives whose base score is stored on the scale of the answer, the margin being its logarithm.
_LOG_LINK = frozenset(("reg:gamma", "reg:tweedie", "count:poisson"))
Ints32 = npt.NDArray[np.int32]


class Forest(NamedTuple):
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
    leaves: Inputs
    roots: Ints32
    depths: Ints32
    groups: Ints32
    bases: Inputs

    def save(self, file: Path) -> None:
        """Writes the arrays, without pickles; equal forests give equal bytes."""
        arrays: dict[str, Any] = self._asdict()
        np.savez(file, **arrays)


def load(file: Path, inputs: int) -> Forest:
    """What `Forest.save` wrote, checked so that `walk` reads nothing beside it.

    Args:
        inputs: number of columns of the table that the trees read.

    Raises:
        FatalError: there is no such file, it is damaged, or it is no forest over that many inputs.
    """
    try:
        with np.load(file, allow_pickle=False) as arrays:
            found = Forest(**arrays)
        _check(found, inputs)
    except (OSError, ValueError, TypeError, EOFError, BadZipFile) as error:
        raise FatalError(f"no readable trees in {file}: {error!r}; download the model again") from error
    return found


def _check(found: Forest, inputs: int) -> None:
    """Compiled code checks no index: what it follows must lie inside the arrays.

    Raises:
        ValueError: something does not.
    """
    kinds = [(found.nodes, NODE), (found.leaves, np.float32), (found.bases, np.float32)]
    kinds += [(numbers, np.int32) for numbers in (found.roots, found.depths, found.groups)]
    if any(array.dtype != kind or array.ndim != 1 for array, kind in kinds):
        raise ValueError("an array is of another type")
    count, left, feature = len(found.nodes), found.nodes["left"], found.nodes["feature"]
    # Children lie side by side; a leaf, whose threshold nothing reaches, leads to itself.
    right = left + ((found.nodes["threshold"] < np.inf) | (found.nodes["default_right"] != 0))
    inside = (
        len(found.leaves) == count
        and len(found.roots) == LANES * len(found.depths)
        and len(found.groups) == len(found.bases) + 1
        and found.groups[0] == 0
        and found.groups[-1] == len(found.depths)
        and bool((np.diff(found.groups) >= 0).all())
        and all(bool(((at >= 0) & (at < count)).all()) for at in (left, right, found.roots))
        and bool(((found.depths >= 0) & (found.depths <= count)).all())
        and bool(((feature >= 0) & (feature < inputs)).all())
    )
    if not inside:
        raise ValueError("an index leads outside the arrays")


def pack(models: Sequence[bytes]) -> Forest:
    """The trees of single-output XGBoost models, each in XGBoost's JSON format, as one `Forest`.

    Raises:
        FatalError: a model is no sum of trees with numerical splits.
    """
    learners: list[dict[str, Any]] = [json.loads(model)["learner"] for model in models]
    parts, groups, first = [], [0], 0
    for learner in learners:
        try:
            trees = learner["gradient_booster"]["model"]["trees"]
        except KeyError:
            raise FatalError("the XGBoost model is not a sum of trees: train with booster gbtree") from None
        if any(any(tree["split_type"]) for tree in trees):
            raise FatalError("the XGBoost model has categorical splits: train on numerical inputs")
        parts.append(_pack_trees(trees, first))
        first += len(parts[-1][0])
        groups.append(groups[-1] + len(parts[-1][2]) // LANES)
    nodes, leaves, roots, depths = (np.concatenate(column) for column in zip(*parts, strict=True))
    bases = np.array([_base_margin(learner) for learner in learners], np.float32)
    return Forest(nodes, leaves, roots, depths.reshape(-1, LANES).max(axis=1), np.array(groups, dtype=np.int32), bases)


def _pack_trees(trees: Sequence[dict[str, Any]], first: int) -> tuple[Any, Inputs, Ints32, Ints32]:
    """Nodes, leaves, roots and depths of one output's trees, whose nodes are numbered from ``first``."""
    packed = [_pack_tree(tree) for tree in trees]
    packed += [_LEAF] * (-len(packed) % LANES)
    sizes = np.array([len(nodes) for nodes, _, _ in packed])
    roots = first + np.concatenate([[0], np.cumsum(sizes)[:-1]])
    nodes, leaves = np.concatenate([p[0] for p in packed]), np.concatenate([p[1] for p in packed])
    nodes["left"] += np.repeat(roots, sizes).astype(np.int32)
    return nodes, leaves, roots.astype(np.int32), np.array([depth for _, _, depth in packed], np.int32)


def _pack_tree(tree: dict[str, Any]) -> tuple[Any, Inputs, int]:
    """Nodes, leaves and depth of one tree: its root first, then pair by pair the children of each level."""
    left, right = np.array(tree["left_children"]), np.array(tree["right_children"])
    levels, level = [], np.array([0])
    while len(level):
        levels.append(level)
        inner = level[left[level] >= 0]
        level = np.column_stack([left[inner], right[inner]]).ravel()
    order = np.concatenate(levels)
    leaf = left[order] < 0
    values = np.array(tree["split_conditions"], np.float32)[order]
    nodes = np.empty(len(order), NODE)
    nodes["threshold"] = np.where(leaf, np.float32(np.inf), values)
    nodes["left"] = np.where(leaf, np.arange(len(order)), 2 * np.cumsum(~leaf) - 1)
    nodes["feature"] = np.where(leaf, 0, np.array(tree["split_indices"])[order])
    nodes["default_right"] = ~leaf & (np.array(tree["default_left"])[order] == 0)
    return nodes, np.where(leaf, values, np.float32(0.0)), len(levels) - 1


# A tree that adds nothing: fills the last group of an output.
_LEAF = (np.array([(np.inf, 0, 0, 0)], NODE), np.zeros(1, np.float32), 0)


def _base_margin(learner: dict[str, Any]) -> np.float32:
    score = np.float32(learner["learner_model_param"]["base_score"].strip("[]"))
    return np.log(score) if learner["objective"]["name"] in _LOG_LINK else score


@jit
def walk(forest: Forest, table: Inputs, out: Inputs) -> None:
    """Raw margins of inputs (rows, K) into ``out`` (rows, outputs): eight trees at once, added one after the other."""
    at = np.empty(LANES, np.int32)
    for output in range(len(forest.bases)):
        out[:, output] = forest.bases[output]
        for group in range(forest.groups[output], forest.groups[output + 1]):
            for row in range(len(table)):
                for lane in range(LANES):
                    at[lane] = forest.roots[LANES * group + lane]
                for _ in range(forest.depths[group]):
                    for lane in range(LANES):
                        node = forest.nodes[at[lane]]
                        value = table[row, node["feature"]]
                        # Missing compares false both ways; leaves (threshold infinity) stay where they are.
                        right = value >= node["threshold"] or (value != value and node["default_right"] != 0)
                        at[lane] = node["left"] + right
                for lane in range(LANES):
                    out[row, output] += forest.leaves[at[lane]]
