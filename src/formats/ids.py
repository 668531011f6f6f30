"""Trade ids of a file: dense, sparse or none; and ids for the rows that have none, which rise with their time; pure."""

from typing import Literal

import numpy as np
import numpy.typing as npt
import polars as pl

IdKind = Literal["dense", "sparse", "none"]
# So many trades may share a microsecond before their ids reach into the next one's.
SLOTS = 4096
# Without ids in more than this share of its rows a file counts as one without ids; below it such rows are bad.
MAX_MISSING = 0.01


class Density:
    """Follows the ids of a file, a piece at a time.

    Dense: positive ids without a hole, oldest or newest first. A file whose ids jump back from one piece to another
    counts as not dense, which only means that less is proved about it.

    >>> ids = Density()
    >>> ids.offer(np.array([7, 9, 8])); ids.offer(np.array([10])); ids.dense
    True
    >>> ids.offer(np.array([12])); ids.dense
    False
    """

    def __init__(self) -> None:
        self._top: int | None = None
        self._bottom: int | None = None
        self.dense = True

    def offer(self, ids: npt.NDArray[np.int64]) -> None:
        """Takes the next piece in."""
        if not ids.size:
            return
        first, last = int(ids.min()), int(ids.max())
        steps = np.diff(ids)
        # Most files need no sorting.
        whole = bool((steps == 1).all() or (steps == -1).all()) or np.unique(ids).size == last - first + 1
        if self._top is None or self._bottom is None:
            follows = True
        else:
            follows = first == self._top + 1 or last == self._bottom - 1
        self.dense &= first > 0 and whole and follows
        self._bottom, self._top = first, last


def whole_numbers(column: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """Ids as 64-bit integers; null for what is none: empty, 0, floats (which have lost digits), UUIDs, text."""
    if not dtype.is_integer() and dtype != pl.String:
        return pl.lit(None, pl.Int64)
    bare = column.str.strip_chars() if dtype == pl.String else column
    number = bare.cast(pl.Int64, strict=False)
    # Those below 0 are what the lake itself gives to trades without one.
    return pl.when(number > 0).then(number)


def negative_ids(ts_us: npt.NDArray[np.int64], place: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Ids below zero for rows without one, from nothing but their time and their place among those that share it.

    So they rise with time in every file and across files, are the same on every run, and a file that has grown, or one
    that overlaps another of the same market, gives the rows they share the same ids.

    >>> negative_ids(np.array([1_709_640_000_000_000] * 2), np.array([0, 1])).tolist()
    [-2220686516854775808, -2220686516854775807]
    """
    return ts_us * SLOTS + place + np.int64(np.iinfo(np.int64).min)


def places(ts_us: npt.NDArray[np.int64], newest_first: bool) -> npt.NDArray[np.int64]:
    """For each row, how many rows of the same time happened before it; in a newest-first file those stand below it."""
    order = np.argsort(ts_us, kind="stable")
    ordered = ts_us[order]
    starts = np.r_[True, ordered[1:] != ordered[:-1]] if ordered.size else np.zeros(0, bool)
    first = np.flatnonzero(starts)
    counts = np.diff(np.r_[first, ordered.size])
    place = np.arange(ordered.size) - np.repeat(first, counts)
    if newest_first:
        place = np.repeat(counts, counts) - 1 - place
    found = np.empty(ts_us.size, np.int64)
    found[order] = place
    return found
