"""Days of trades, quotes and forecasts for tests of backups: believable, and the same for the same day."""

from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl

from downstream.archive.tables import LAKE_TABLES
from lakehouse.schema import BRONZE_QUOTES, BRONZE_TRADES, GOLD_FORECASTS, META_EPOCHS, META_RETENTION
from lakehouse.settings import Settings
from lakehouse.stores.questdb import QuestDB
from lakehouse.views import views

UTC_US = pl.Datetime("us", "UTC")
SYMBOLS = ("BTC/USD", "ETH/USD")


def trades(day: date, symbol: str = "BTC/USD", count: int = 500, first_id: int = 1) -> pl.DataFrame:
    """Trades spread over a UTC day, several of them at one time; the side is unknown for some."""
    rng = np.random.default_rng([day.toordinal(), len(symbol), count])
    start = datetime(day.year, day.month, day.day, tzinfo=UTC)
    steps = np.sort(rng.integers(0, 86_400 * 100, count)) * 10_000
    ids = np.arange(first_id, first_id + count)
    return pl.DataFrame(
        {
            "ts": pl.Series(steps).cast(pl.Duration("us")) + start,
            "symbol": symbol,
            "trade_id": ids,
            "price": 100.0 + np.round(np.cumsum(rng.normal(0, 0.1, count)), 1),
            "qty": np.round(rng.exponential(0.1, count) + 1e-8, 8),
            "side": [("buy", "sell", None)[k] for k in rng.integers(0, 3, count)],
            "source": "sim",
            "origin": "live",
            "epoch": pl.Series([1] * count, dtype=pl.Int64),
            "seq": ids,
        }
    ).with_columns(pl.col("ts").cast(UTC_US), received_at=pl.col("ts").cast(UTC_US) + timedelta(milliseconds=30))


def quotes(day: date, symbol: str = "BTC/USD", count: int = 300) -> pl.DataFrame:
    """Quotes over a UTC day, some without the 24 h figures."""
    base = trades(day, symbol, count).select("ts", "received_at", "symbol", "source", "origin", "epoch", "seq", "price")
    price = pl.col("price")
    return base.with_columns(
        bid=price - 0.1,
        ask=price + 0.1,
        bid_qty=1.0,
        ask_qty=pl.Series(np.arange(count) % 7 / 3),
        last=price,
        volume=pl.when(pl.col("seq") % 2 == 0).then(price * 3),
    ).drop("price")


def forecasts(day: date, symbol: str = "BTC/USD") -> pl.DataFrame:
    """A few forecasts of a day."""
    return (
        trades(day, symbol, 20)
        .select("ts", "symbol", "epoch", "seq", value="price", lower="price", upper="price", baseline="price")
        .with_columns(
            target=pl.lit("bid"), horizon_s=pl.lit(60, pl.Int32), model_version=pl.lit("bid/1"), spec=pl.lit("abc")
        )
    )


def fill(questdb: QuestDB, settings: Settings, days: list[date]) -> None:
    """Makes every table and view and writes the days."""
    questdb.migrate((*LAKE_TABLES, META_RETENTION), views(settings.feature_interval_ms))
    questdb.write(META_EPOCHS, pl.DataFrame({"ts": [datetime(1970, 1, 1, microsecond=1, tzinfo=UTC)], "epoch": [1]}))
    for number, day in enumerate(days):
        for symbol in SYMBOLS:
            questdb.write(BRONZE_TRADES, trades(day, symbol, first_id=1 + 500 * number))
            questdb.write(BRONZE_QUOTES, quotes(day, symbol))
            questdb.write(GOLD_FORECASTS, forecasts(day, symbol))
    questdb.wait_applied([table.name for table in LAKE_TABLES])


def contents(questdb: QuestDB, names: list[str]) -> dict[str, pl.DataFrame]:
    """Every row of the tables or views, in an order of their own."""
    return {name: questdb.frame(f"SELECT * FROM {name}").sort(pl.all()) for name in names}
