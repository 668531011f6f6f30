"""Tells whether a file's trade ids are dense, so that holes among them would mean missing trades; pure."""

import numpy as np
import numpy.typing as npt


class Density:
    """Follows the ids of a file, a piece at a time.

    Dense: positive ids, each one above the last, none left out. A file whose ids jump back from one piece to another
    counts as not dense, which only means that less is proved about it.

    >>> ids = Density()
    >>> ids.offer(np.array([7, 9, 8])); ids.offer(np.array([10])); ids.dense
    True
    >>> ids.offer(np.array([12])); ids.dense
    False
    """

    def __init__(self) -> None:
        self._top: int | None = None
        self.dense = True

    def offer(self, ids: npt.NDArray[np.int64]) -> None:
        """Takes the next piece in."""
        if not ids.size:
            return
        unique = np.unique(ids)
        whole = unique.size == unique[-1] - unique[0] + 1
        follows = self._top is None or unique[0] == self._top + 1
        self.dense &= bool(unique[0] > 0 and whole and follows)
        self._top = int(unique[-1])
