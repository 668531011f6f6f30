"""Reads the lake as polars frames by symbol and time span."""

from datetime import datetime
from types import TracebackType
from typing import Self

import polars as pl

from lakehouse.errors import FatalError
from lakehouse.schema import GOLD_FORECAST_SCORES, GOLD_FORECASTS, OHLC_INTERVALS
from lakehouse.settings import Settings, load_settings
from lakehouse.stores.bronze import within
from lakehouse.stores.questdb import QuestDB


class Client:
    """Reads one lake; times are UTC microseconds, rows are in time order, spans are ``start <= ts < end``.

    Every method raises `RetryableError` while QuestDB is down and `FatalError` for what the lake does not have.

    Args:
        settings: the lake to read; by default the one described by the environment and `.env`.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        self._database = QuestDB(settings or load_settings())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections."""
        self._database.close()

    def ohlc(self, symbol: str, start: datetime, end: datetime, interval: str = "1m") -> pl.DataFrame:
        """Candles that begin in the span; ``closed`` is false on the running one.

        Args:
            interval: 1m, 5m, 15m, 1h or 1d.
        """
        if interval not in OHLC_INTERVALS:
            raise FatalError(f"no candles of {interval!r}: want one of {', '.join(OHLC_INTERVALS)}")
        return self._read(f"gold_candles_{interval}", symbol, start, end)

    def features(self, symbol: str, start: datetime, end: datetime) -> pl.DataFrame:
        """Feature rows for training: complete live rows, otherwise those of the newest rebuild."""
        return self._read("silver_training", symbol, start, end)

    def forecasts(self, symbol: str, start: datetime, end: datetime) -> pl.DataFrame:
        """Every forecast served, at the time of its feature row."""
        return self._read(GOLD_FORECASTS.name, symbol, start, end)

    def scores(self, symbol: str, start: datetime, end: datetime) -> pl.DataFrame:
        """Every scored forecast with what happened."""
        return self._read(GOLD_FORECAST_SCORES.name, symbol, start, end)

    def _read(self, table: str, symbol: str, start: datetime, end: datetime) -> pl.DataFrame:
        where = within(symbol, start, end)
        return self._database.frame(f"SELECT * FROM {table} WHERE {where} ORDER BY ts")
