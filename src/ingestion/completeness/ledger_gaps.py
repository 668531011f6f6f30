"""Reads missing trade ids from the lake's ledger, including those from before the producer started."""

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta

import numpy as np

from ingestion.completeness.id_gaps import Hole
from lakehouse.stores.bronze import within
from lakehouse.stores.questdb import QuestDB

log = logging.getLogger(__name__)

SOONEST_S, EVERY_S = 30.0, 600.0
MAX_HOLE_IDS = 2_000_000
_MINUTE = timedelta(minutes=1)


def open_holes(questdb: QuestDB, symbol: str) -> list[Hole]:
    """The holes in the ids of a symbol in bronze, oldest first, as of what the consumer has written by now.

    A hole of more than `MAX_HOLE_IDS` ids is history that was never requested: it is logged and left to the backfill.

    Raises:
        RetryableError: QuestDB is down.
    """
    flagged = questdb.rows(
        "SELECT ts, holes_inside, holes_before, first_id FROM bronze_completeness "
        "WHERE symbol = %s AND (holes_inside > 0 OR holes_before > 0)",
        (symbol,),
    )
    found: list[Hole] = []
    for minute, inside, before, first_id in flagged:
        ids = _ids(questdb, symbol, minute)
        if before > 0:
            ids = _before(questdb, symbol, minute, first_id) + ids
        if inside > 0 or before > 0:
            found += holes_between(ids)
    large = [hole for hole in found if hole.size > MAX_HOLE_IDS]
    for hole in large:
        log.warning("%s: ids %d..%d are not in the lake: `tradelake backfill`", symbol, hole.first, hole.last)
    return [hole for hole in found if hole.size <= MAX_HOLE_IDS]


def holes_between(seen: Sequence[tuple[int, datetime]]) -> list[Hole]:
    """The holes between the given (id, time) pairs; pure.

    >>> at = datetime(2026, 9, 25, tzinfo=UTC)
    >>> [(hole.first, hole.last) for hole in holes_between([(7, at), (4, at), (5, at)])]
    [(6, 6)]
    """
    ordered = sorted(seen)
    ids = np.array([trade_id for trade_id, _ in ordered], np.int64)
    breaks = np.flatnonzero(np.diff(ids) > 1)
    return [
        Hole(ordered[i][0] + 1, ordered[i + 1][0] - 1, ordered[i][1], ordered[i + 1][1], 0.0) for i in breaks.tolist()
    ]


def _ids(questdb: QuestDB, symbol: str, minute: datetime) -> list[tuple[int, datetime]]:
    """Ids of a minute and just around it: at its edges, the order of ids and of times can differ by a microsecond."""
    return questdb.rows(
        f"SELECT trade_id, ts FROM bronze_trades WHERE {within(symbol, minute, minute + _MINUTE)} AND trade_id >= 0"
    )


def _before(questdb: QuestDB, symbol: str, minute: datetime, first_id: int) -> list[tuple[int, datetime]]:
    """The highest id below ``first_id`` in the symbol's minute before this one."""
    return questdb.rows(
        "SELECT trade_id, ts FROM bronze_trades WHERE symbol = %s AND ts < %s AND trade_id >= 0 AND trade_id < %s "
        "ORDER BY ts DESC LIMIT 1",
        (symbol, minute, first_id),
    )
