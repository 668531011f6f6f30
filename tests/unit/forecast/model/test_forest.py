"""A file of packed trees that would lead compiled code outside its arrays is refused."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from forecast.model.forest import LANES, NODE, Forest, load
from lakehouse.errors import FatalError

INPUTS = 3


def _stump() -> Forest:
    nodes = np.array([(0.5, 1, 2, 1), (np.inf, 1, 0, 0), (np.inf, 2, 0, 0)], NODE)
    zeros = np.zeros(LANES, np.int32)
    leaves = np.array([0, -1, 1], np.float32)
    return Forest(nodes, leaves, zeros, np.ones(1, np.int32), np.array([0, 1], np.int32), np.zeros(1, np.float32))


def test_a_saved_forest_is_read_back(tmp_path: Path) -> None:
    _stump().save(tmp_path / "forest.npz")
    found = load(tmp_path / "forest.npz", INPUTS)
    assert [a.tolist() for a in found] == [a.tolist() for a in _stump()]


def _left(forest: Forest) -> Forest:
    forest.nodes["left"][0] = 2
    return forest


def _feature(forest: Forest) -> Forest:
    forest.nodes["feature"][0] = INPUTS
    return forest


PLANTED: tuple[Callable[[Forest], Forest], ...] = (
    _left,
    _feature,
    lambda forest: forest._replace(roots=forest.roots + 3),
    lambda forest: forest._replace(roots=forest.roots[:-1]),
    lambda forest: forest._replace(groups=np.array([0, 2], np.int32)),
    lambda forest: forest._replace(depths=forest.depths + 99),
    lambda forest: forest._replace(leaves=forest.leaves[:-1]),
    lambda forest: forest._replace(leaves=forest.leaves.astype(np.float64)),
)


@pytest.mark.parametrize("plant", PLANTED)
def test_one_that_leads_outside_is_refused(plant: Callable[[Forest], Forest], tmp_path: Path) -> None:
    plant(_stump()).save(tmp_path / "forest.npz")
    with pytest.raises(FatalError, match="no readable trees"):
        load(tmp_path / "forest.npz", INPUTS)
