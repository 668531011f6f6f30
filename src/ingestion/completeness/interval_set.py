"""Sets of integers stored as sorted intervals, for the trade ids that a symbol holds or lacks."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.int64]


class IntervalSet:
    """A set of 64-bit integers as disjoint, sorted, closed intervals; dense ids cost next to nothing.

    >>> held = IntervalSet.of(np.array([1, 2, 3, 7]))
    >>> held.contains(np.array([2, 4, 7])).tolist()
    [True, False, True]
    >>> held.add(np.array([4]))
    >>> list(held), len(held)
    ([(1, 4), (7, 7)], 5)
    """

    def __init__(self) -> None:
        self._starts: Ids = np.empty(0, np.int64)
        self._ends: Ids = np.empty(0, np.int64)

    @classmethod
    def of(cls, ids: Ids) -> "IntervalSet":
        """The set of these ids, in any order, repeated or not."""
        made = cls()
        made.add(ids)
        return made

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """The intervals as (first, last), ascending."""
        return zip(self._starts.tolist(), self._ends.tolist(), strict=True)

    def __len__(self) -> int:
        """How many ids are in the set."""
        return int((self._ends - self._starts).sum()) + self._starts.size

    def contains(self, ids: Ids) -> npt.NDArray[np.bool_]:
        """For each id, whether the set has it."""
        if not self._starts.size:
            return np.zeros(ids.shape, np.bool_)
        place = np.searchsorted(self._starts, ids, "right") - 1
        held: npt.NDArray[np.bool_] = (place >= 0) & (ids <= self._ends[place])
        return held

    def add(self, ids: Ids) -> None:
        """Adds ids to the set."""
        if ids.size:
            ids = np.unique(ids)
            breaks = np.flatnonzero(np.diff(ids) > 1)
            self.add_spans(ids[np.r_[0, breaks + 1]], ids[np.r_[breaks, ids.size - 1]])

    def add_spans(self, starts: Ids, ends: Ids) -> None:
        """Adds closed intervals, ``starts`` ascending; merges those that overlap or touch."""
        if not starts.size:
            return
        # Intervals that end before the new ones stay unchanged: appending at the end is the usual case.
        keep = int(np.searchsorted(self._ends, starts[0] - 1))
        first = np.concatenate((self._starts[keep:], starts))
        last = np.concatenate((self._ends[keep:], ends))
        order = np.argsort(first, kind="stable")
        first, last = first[order], np.maximum.accumulate(last[order])
        opens = np.r_[True, first[1:] > last[:-1] + 1]
        closes = np.r_[opens[1:], True]
        self._starts = np.concatenate((self._starts[:keep], first[opens]))
        self._ends = np.concatenate((self._ends[:keep], last[closes]))

    def holes(self) -> list[tuple[int, int]]:
        """The intervals missing between the first and the last id of the set."""
        return list(zip((self._ends[:-1] + 1).tolist(), (self._starts[1:] - 1).tolist(), strict=True))
