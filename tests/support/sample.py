"""Makes the sample in tests/data out of the simulated market: `python -m tests.support.sample`."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl

from ingestion.simulator.market import Market
from tests.support.recordings import SAMPLE

START = datetime(2026, 1, 5, tzinfo=UTC)
SYMBOL = "BTC/USD"
_SEED = 7


def events(events_per_s: float, span: timedelta) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Trades and quotes of a span, as a client would have recorded them."""
    market = Market(_SEED, events_per_s, START - timedelta(days=1))
    pair = market.pairs[SYMBOL]
    found = (make(SYMBOL, START, START + span).columns(pair) for make in (market.trades, market.quotes))
    frames = [
        pl.DataFrame(x).with_columns(pl.col("ts").dt.replace_time_zone("UTC"), symbol=pl.lit(SYMBOL)) for x in found
    ]
    return frames[0], frames[1]


def bars() -> pl.DataFrame:
    """One-minute bars of a thinner market: minutes with trades only."""
    trades, _ = events(0.2, timedelta(minutes=6000))
    price = pl.col("price")
    minutes = trades.group_by(pl.col("ts").dt.truncate("1m"), maintain_order=True)
    return minutes.agg(
        price.first().alias("open"), price.max().alias("high"), price.min().alias("low"), price.last().alias("close"),
        pl.col("qty").sum().round(8).alias("volume"),
    )  # fmt: skip


def write(folder: Path) -> None:
    """Writes every file of the sample."""
    rows = SAMPLE.rows
    trades, quotes = events(4.0, timedelta(minutes=60))
    plain = trades.select("ts", "symbol", "trade_id", "price", "qty", "side")
    tables = {
        "trades": plain,
        "quotes": quotes.select("ts", "symbol", "bid", "bid_qty", "ask", "ask_qty"),
        "sparse_trades": plain.gather_every(3).with_columns(symbol=pl.lit("BTC/JPY")),
        "bars": bars(),
    }
    for name, frame in tables.items():
        frame.head(rows[name]).write_parquet(folder / f"{name}.parquet", compression="zstd")
    iso = pl.col("ts").dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ")
    spaced = pl.col("ts").dt.strftime("%Y-%m-%d %H:%M:%S%.6f")
    zoned = spaced + "+00:00"
    ticker = (
        "symbol",
        "bid",
        "bid_qty",
        "ask",
        "ask_qty",
        "last",
        "volume",
        "vwap",
        "low",
        "high",
        "change",
        "change_pct",
    )
    csvs = {
        "anonymous_trades": trades.select(
            pl.col("ts").dt.epoch("ms").alias("ts_ms"), "side", "price", amount="qty", ts=zoned
        ),
        "rest_trades": trades.select(
            "price", pl.col("qty").alias("amount"), (pl.col("ts").dt.epoch("us") / 1e6).alias("time"),
            pl.col("side").str.head(1), pl.col("ord_type").str.head(1).alias("type"), pl.lit("").alias("misc"),
            pl.col("trade_id").alias("id"), zoned.alias("ts"),
        ),
        "ws_trades": trades.select(iso.alias("ts_event"), "symbol", "price", "qty", "side", "ord_type", "trade_id"),
        "ws_quotes": quotes.select(spaced.alias("timestamp"), *ticker),
    }  # fmt: skip
    for name, frame in csvs.items():
        frame.head(rows[name]).write_csv(folder / f"{name}.csv")


if __name__ == "__main__":
    write(SAMPLE.trades.parent)
