"""Rebuilds a symbol's state from bronze before the consumer processes its next event."""

import logging
from collections.abc import Mapping
from datetime import datetime

import polars as pl

from features.engine import EngineState, fold
from features.spec import LEAD_IN
from ingestion.completeness.interval_set import IntervalSet
from ingestion.consumer.first_delivery import HeldTrades, RedeliveredTrades
from ingestion.kafka_log.position import Position
from lakehouse.stores import bronze
from lakehouse.stores.bronze import text
from lakehouse.stores.questdb import QuestDB

log = logging.getLogger(__name__)


def held(questdb: QuestDB, symbol: str, positions: Mapping[str, Position]) -> HeldTrades:
    """The trades of a symbol that bronze holds.

    Args:
        positions: per origin, the position of the symbol's partition.
    """
    redelivered = {}
    for origin, place in positions.items():
        mine = f"symbol = {text(symbol)} AND origin = {text(origin)} AND epoch = {place.epoch}"
        found = questdb.frame(f"SELECT seq, trade_id FROM bronze_trades WHERE {mine} AND seq >= {place.offset}").sort(
            "seq"
        )
        if found.height:
            redelivered[origin] = RedeliveredTrades(found["seq"].to_numpy(), found["trade_id"].to_numpy())
    return HeldTrades(held_ids(questdb, symbol), redelivered)


def held_ids(questdb: QuestDB, symbol: str) -> IntervalSet:
    """All trade ids of a symbol in bronze; an hour without missing ids costs one row to read."""
    hours = questdb.frame(
        "SELECT ts, min(trade_id) first, max(trade_id) last, count_distinct(trade_id) ids "
        f"FROM bronze_trades WHERE symbol = {text(symbol)} SAMPLE BY 1h"
    )
    whole = pl.col("last") - pl.col("first") + 1 == pl.col("ids")
    dense = hours.filter(whole).sort("first")
    ids = IntervalSet()
    ids.add_spans(dense["first"].to_numpy(), dense["last"].to_numpy())
    for since, until in _runs(hours.filter(~whole)["ts"].sort()):
        query = f"SELECT trade_id FROM bronze_trades WHERE {bronze.within(symbol, since, until)}"
        ids.add(questdb.frame(query)["trade_id"].to_numpy())
    return ids


def _runs(hours: pl.Series) -> list[tuple[datetime, datetime]]:
    """Merges consecutive hours into (start, end) spans of at most a day."""
    ends = hours.dt.offset_by("1h")
    run = ((hours != ends.shift(1)).fill_null(True).cum_sum()).alias("run")
    spans = pl.DataFrame({"start": hours, "end": ends, "run": run, "day": hours.dt.truncate("1d")})
    found = spans.group_by("run", "day", maintain_order=True).agg(pl.col("start").min(), pl.col("end").max())
    return list(found.select("start", "end").iter_rows())


def replay(questdb: QuestDB, symbol: str, place: Position, state: EngineState) -> int:
    """Folds the tail of bronze below ``place`` into ``state``; discards the rows, which silver already has.

    Returns:
        The number of events folded.
    """
    count = 0
    for piece in bronze.in_log_order(questdb, symbol, place.epoch, place.offset, LEAD_IN):
        fold(state, piece)
        count += piece.height
    return count
