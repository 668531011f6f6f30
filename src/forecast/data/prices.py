"""Reads a symbol's prices from bronze; labels and scores are computed from them."""

from datetime import datetime

from forecast.data.dataset import price_path
from forecast.model.targets import PricePath
from lakehouse.stores import bronze
from lakehouse.stores.questdb import QuestDB


def read_path(database: QuestDB, symbol: str, start: datetime, end: datetime) -> PricePath:
    """The symbol's prices by events with ``start <= ts < end`` (UTC), in time order, ties in log order.

    Raises:
        RetryableError: QuestDB is away.
    """
    events = bronze.events(database, bronze.within(symbol, start, end))
    return price_path(events.sort("ts", "epoch", "seq"))
