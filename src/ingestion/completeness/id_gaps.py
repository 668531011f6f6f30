"""Tracks which of a symbol's dense trade ids were seen, which repeat and which are missing; pure."""

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Hole:
    """Ids ``first``..``last`` are missing between a trade at ``after`` and the next known one at ``before``.

    ``noticed`` is the time of detection, in seconds of the caller's monotonic clock.
    """

    first: int
    last: int
    after: datetime
    before: datetime
    noticed: float

    @property
    def size(self) -> int:
        """How many ids are missing."""
        return self.last - self.first + 1


class IdFilter:
    """The ids of one symbol: all of ``floor``..``top`` were seen, except those in ``holes``.

    The first id offered becomes the floor: older trades belong to the backfill, not to the live feed.

    >>> from datetime import UTC, datetime
    >>> now = datetime(2026, 9, 25, tzinfo=UTC)
    >>> seen = IdFilter()
    >>> [seen.offer(trade_id, now, 0.0) for trade_id in (7, 8, 8, 11, 9)]
    [True, True, False, True, True]
    >>> [(hole.first, hole.last) for hole in seen.holes]
    [(10, 10)]
    """

    def __init__(self) -> None:
        self.floor: int | None = None
        self.top: int | None = None
        self.top_ts: datetime | None = None
        self._holes: list[Hole] = []

    @property
    def holes(self) -> tuple[Hole, ...]:
        """The missing ranges, ascending and not adjacent."""
        return tuple(self._holes)

    @property
    def missing(self) -> int:
        """How many ids are missing."""
        return sum(hole.size for hole in self._holes)

    def offer(self, trade_id: int, ts: datetime, now: float) -> bool:
        """Records an id; True if it is new, False if it was seen before or lies below the floor."""
        if self.top is None or self.top_ts is None:
            self.floor = self.top = trade_id
            self.top_ts = ts
            return True
        if trade_id > self.top:
            if trade_id > self.top + 1:
                self._holes.append(Hole(self.top + 1, trade_id - 1, self.top_ts, ts, now))
            self.top, self.top_ts = trade_id, ts
            return True
        return self._fill(trade_id, ts)

    def hole_at(self, trade_id: int) -> Hole | None:
        """The hole that holds the id."""
        index = bisect_right(self._holes, trade_id, key=lambda hole: hole.first) - 1
        if index >= 0 and trade_id <= self._holes[index].last:
            return self._holes[index]
        return None

    def give_up(self, first: int, last: int) -> int:
        """Drops ids ``first``..``last``, which the exchange does not have, from the holes; returns how many."""
        before = self.missing
        kept: list[Hole] = []
        for hole in self._holes:
            if hole.last < first or hole.first > last:
                kept.append(hole)
                continue
            if hole.first < first:
                kept.append(Hole(hole.first, first - 1, hole.after, hole.before, hole.noticed))
            if hole.last > last:
                kept.append(Hole(last + 1, hole.last, hole.after, hole.before, hole.noticed))
        self._holes = kept
        return before - self.missing

    def _fill(self, trade_id: int, ts: datetime) -> bool:
        hole = self.hole_at(trade_id)
        if hole is None:
            return False
        index = self._holes.index(hole)
        left = Hole(hole.first, trade_id - 1, hole.after, ts, hole.noticed)
        right = Hole(trade_id + 1, hole.last, ts, hole.before, hole.noticed)
        self._holes[index : index + 1] = [part for part in (left, right) if part.size > 0]
        return True


def filter_of(seen: Iterable[tuple[int, datetime]], now: float) -> IdFilter:
    """Restores the filter of an earlier feed from the (id, time) pairs still in the log, in any order."""
    found = IdFilter()
    for trade_id, ts in sorted(seen):
        found.offer(trade_id, ts, now)
    return found
