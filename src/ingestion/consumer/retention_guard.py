"""Rejects events of days that retention removed from QuestDB, with the remedy."""

import time
from collections.abc import Callable, Mapping
from datetime import date

import polars as pl

from ingestion.kafka_log.batches import DeadLetter, TopicBatch
from lakehouse.errors import PoisonError
from lakehouse.retention import REFRESH_S, REMEDY, behind

Days = Mapping[str, frozenset[date]]
_TABLES = {"trade": "bronze_trades", "quote": "bronze_quotes"}


class RetentionGuard:
    """Knows the removed days; queries them again every `REFRESH_S`.

    Args:
        ask: returns the removed days per table.
        clock: monotonic seconds.
    """

    def __init__(self, ask: Callable[[], Days], clock: Callable[[], float] = time.monotonic) -> None:
        self._ask = ask
        self._clock = clock
        self._asked = -REFRESH_S
        self._days: Days = {}

    def split(self, part: TopicBatch) -> tuple[TopicBatch, list[DeadLetter]]:
        """The part without events of removed days, and those events as dead letters."""
        if self._clock() - self._asked >= REFRESH_S:
            self._asked, self._days = self._clock(), self._ask()
        if not any(self._days.get(table) for table in _TABLES.values()):
            return part, []
        late = pl.repeat(False, part.events.height, eager=True)
        for kind, table in _TABLES.items():
            late |= (part.events["type"] == kind) & behind(part.events["ts"], self._days.get(table, frozenset()))
        if not late.any():
            return part, []
        refused = part.events.filter(late).select("row", "ts").iter_rows()
        letters = [part.dead(row, PoisonError("behind_retention", REMEDY.format(day=ts.date()))) for row, ts in refused]
        return TopicBatch(part.topic, part.events.filter(~late), part.raws), letters
