"""Detects whether a file's trade ids are dense, so that a missing id means a missing trade; pure."""

import numpy as np
import numpy.typing as npt


class Density:
    """Checks the ids of a file, chunk by chunk.

    Dense ids are positive and consecutive. A file whose ids jump back between chunks counts as not dense; its
    completeness is then not checked.

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
        """Adds the next chunk of ids."""
        if not ids.size:
            return
        unique = np.unique(ids)
        whole = unique.size == unique[-1] - unique[0] + 1
        follows = self._top is None or unique[0] == self._top + 1
        self.dense &= bool(unique[0] > 0 and whole and follows)
        self._top = int(unique[-1])
