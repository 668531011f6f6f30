"""Reads the lake as polars frames by symbol and time span; on the command line it can write Parquet.

``python -m downstream.client ohlc|features|forecasts|scores --symbol BTC/USD [--from T] [--to T] [--out F.parquet]``
"""

import argparse
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

import polars as pl

from lakehouse.errors import FatalError, LakeError
from lakehouse.schema import GOLD_FORECAST_SCORES, GOLD_FORECASTS, OHLC_INTERVALS
from lakehouse.settings import Settings, load_settings
from lakehouse.stores.bronze import within
from lakehouse.stores.questdb import QuestDB
from lakehouse.times import parse_utc

KINDS = ("ohlc", "features", "forecasts", "scores")


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


def _time(value: str) -> datetime:
    try:
        return parse_utc(value)
    except ValueError:
        raise argparse.ArgumentTypeError(f"want a date or an RFC 3339 time in UTC, got {value!r}") from None


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m downstream.client", description="Read the lake as a table.")
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--symbol", required=True, help="as in SYMBOLS, e.g. BTC/USD")
    parser.add_argument("--from", dest="start", type=_time, help="start, UTC (default: an hour before --to)")
    parser.add_argument("--to", dest="end", type=_time, help="end, UTC, exclusive (default: now)")
    parser.add_argument("--interval", default="1m", choices=OHLC_INTERVALS, help="of candles")
    parser.add_argument("--out", type=Path, help="write Parquet to this path instead of printing the rows")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line; an error names the remedy and exits 1."""
    chosen = _parse(arguments)
    end = chosen.end or datetime.now(UTC)
    start = chosen.start or end - timedelta(hours=1)
    try:
        with Client() as client:
            more = {"interval": chosen.interval} if chosen.kind == "ohlc" else {}
            frame: pl.DataFrame = getattr(client, chosen.kind)(chosen.symbol, start, end, **more)
    except LakeError as error:
        sys.exit(str(error))
    if chosen.out is None:
        with pl.Config(tbl_rows=20, tbl_cols=12, tbl_hide_dataframe_shape=True):
            print(frame)
        print(f"{frame.height} rows")
    else:
        frame.write_parquet(chosen.out)
        print(f"{frame.height} rows in {chosen.out}")


if __name__ == "__main__":
    main()
