"""A recorded market as a ledger: rows of Parquet files, shifted in time and repeated endlessly."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import polars as pl

from ingestion.simulator.blocks import Quotes, Trades
from ingestion.simulator.pairs import PAIRS, Pair
from lakehouse.arrays import Floats, Ints
from lakehouse.errors import FatalError

_DAY_US = 86_400_000_000
_QUOTE_COLUMNS = ("bid", "bid_qty", "ask", "ask_qty")
_QTY_DIGITS = 8
_MAX_DIGITS = 12
# Ticks of a price stay exact as floats below this.
_MAX_TICKS = 2.0**53
# How far a price may lie off its rounded self, relative to it.
_EXACT = 1e-9


class Replay:
    """The trades, and quotes if there are any, of one symbol; ids are dense by row and go on as the file begins anew.

    Args:
        trades: ``ts price qty [side]``; a missing side is that of the price's move (tick rule).
        quotes: ``ts bid bid_qty ask ask_qty``; without them the ticker stays silent.
        symbol: the name it gets on the exchange.
        anchor_us: when the recording begins, µs since 1970.
        speed: how much faster than recorded.

    Raises:
        FatalError: a column is missing, or a row is no trade or quote.
    """

    def __init__(
        self, trades: pl.DataFrame, quotes: pl.DataFrame | None, symbol: str, anchor_us: int, speed: float = 1.0
    ) -> None:
        trades = _checked(trades, ("price", "qty"), "trades")
        quotes = _checked(_no_quotes(trades) if quotes is None else quotes, _QUOTE_COLUMNS, "quotes")
        self.genesis_us = anchor_us
        begin, end = _span(trades, quotes)
        pair = _pair(symbol, np.concatenate([trades["price"], quotes["bid"], quotes["ask"]]))
        self.pairs = {symbol: pair}
        self._period = int((end - begin) / speed) + 1_000_000
        self._trades = _trades(trades, pair, _moved(trades, begin, speed))
        self._quotes = _quotes(quotes, trades, pair, _moved(quotes, begin, speed))

    def trades_between(self, _symbol: str, start_us: int, stop_us: int) -> Trades:
        """Trades with ``start_us <= ts < stop_us``."""
        parts = [self._trades.cut(0, 0)]
        for number, offset in self._rounds(start_us, stop_us):
            rows = self._trades.between(start_us - offset, stop_us - offset)
            ids = rows.trade_id + number * len(self._trades)
            parts.append(replace(rows, trade_id=ids, ts=rows.ts + offset))
        return Trades.join(parts)

    def quotes_between(self, _symbol: str, start_us: int, stop_us: int) -> Quotes:
        """Quote changes with ``start_us <= ts < stop_us``."""
        parts = [self._quotes.cut(0, 0)]
        for _, offset in self._rounds(start_us, stop_us):
            rows = self._quotes.between(start_us - offset, stop_us - offset)
            parts.append(replace(rows, ts=rows.ts + offset))
        return Quotes.join(parts)

    def _rounds(self, start_us: int, stop_us: int) -> Iterator[tuple[int, int]]:
        """The repetitions that the span touches: their number and when they begin."""
        first = max(0, start_us - self.genesis_us) // self._period
        for number in range(first, (stop_us - 1 - self.genesis_us) // self._period + 1):
            yield number, self.genesis_us + number * self._period


def _no_quotes(trades: pl.DataFrame) -> pl.DataFrame:
    return pl.DataFrame(schema={"ts": trades.schema["ts"]} | dict.fromkeys(_QUOTE_COLUMNS, pl.Float64))


def _checked(frame: pl.DataFrame, numbers: tuple[str, ...], what: str) -> pl.DataFrame:
    """The frame in order of time, its numbers as floats.

    Raises:
        FatalError: a column is missing or holds something else, a time is missing, or a number is not finite and above
            0 (a size may be 0).
    """
    missing = [name for name in ("ts", *numbers) if name not in frame.columns]
    if missing:
        raise FatalError(f"the file of {what} has no column {', '.join(missing)}; it has {', '.join(frame.columns)}")
    try:
        if not isinstance(frame.schema["ts"], pl.Datetime):
            raise pl.exceptions.SchemaError("ts")
        frame = frame.with_columns(pl.col(*numbers).cast(pl.Float64), pl.col("ts").cast(pl.Datetime("us", "UTC")))
    except pl.exceptions.PolarsError as error:
        found = ", ".join(f"{name} {frame.schema[name]}" for name in ("ts", *numbers))
        raise FatalError(
            f"the file of {what} needs ts as datetimes and other columns as numbers, it has {found}"
        ) from error
    good = [pl.col(n).is_finite() & (pl.col(n) >= 0 if n.endswith("_qty") else pl.col(n) > 0) for n in numbers]
    bad = frame.with_row_index("row").filter(~pl.all_horizontal(*good, pl.col("ts").is_not_null()).fill_null(False))
    if bad.height:
        raise FatalError(f"the file of {what}: {bad.height} invalid rows, the first is {bad.row(0, named=True)}")
    return frame.sort("ts", maintain_order=True)


def _span(trades: pl.DataFrame, quotes: pl.DataFrame) -> tuple[int, int]:
    ts = pl.concat([trades["ts"], quotes["ts"]]).dt.epoch("us")
    if ts.is_empty():
        raise FatalError("the files hold no rows")
    return int(ts.min()), int(ts.max())  # type: ignore[arg-type]


def _moved(frame: pl.DataFrame, begin_us: int, speed: float) -> Ints:
    """Times since the beginning of the recording, sped up, in µs."""
    moved: Ints = ((frame["ts"].dt.epoch("us").to_numpy() - begin_us) / speed).astype(np.int64)
    return moved


def _pair(symbol: str, prices: Floats) -> Pair:
    """A pair with just the decimals that the prices need."""
    digits, most = 0, float(prices.max())
    while (
        digits < _MAX_DIGITS
        and most * 10.0 ** (digits + 1) < _MAX_TICKS
        and (np.abs(np.round(prices, digits) - prices) > _EXACT * prices).any()
    ):
        digits += 1
    altname = symbol.replace("/", "")
    pair = PAIRS.get(symbol) or Pair(symbol, altname, altname, digits, _QTY_DIGITS, digits, 1.0, 0.0, 0.0, 0.0, 0.0)
    return replace(pair, price_digits=digits, qty_digits=_QTY_DIGITS, rest_digits=max(digits, pair.rest_digits))


def _ticks(values: pl.Series, digits: int) -> Ints:
    ticks: Ints = np.round(values.to_numpy() * 10**digits).astype(np.int64)
    return ticks


def _trades(frame: pl.DataFrame, pair: Pair, ts: Ints) -> Trades:
    side = pl.col("side").cast(pl.String) if "side" in frame.columns else pl.lit(None, pl.String)
    move = pl.col("price").diff().replace(0.0, None).forward_fill().fill_null(1.0)
    buy = frame.select(buy=(side == "buy").fill_null(move > 0))["buy"].to_numpy()
    price, qty = _ticks(frame["price"], pair.price_digits), np.maximum(1, _ticks(frame["qty"], pair.qty_digits))
    return Trades(np.arange(1, len(ts) + 1), ts, price, qty, buy, np.ones(len(ts), bool))


def _quotes(frame: pl.DataFrame, trades: pl.DataFrame, pair: Pair, ts: Ints) -> Quotes:
    """The quotes beside the figures of the 24 h of recorded time before them; the bid stands in where none are."""
    quote_us, trade_us = (f["ts"].dt.epoch("us").to_numpy() for f in (frame, trades))
    first, done = (np.searchsorted(trade_us, quote_us - back, "right") for back in (_DAY_US, 0))
    bid, price = _ticks(frame["bid"], pair.price_digits), _ticks(trades["price"], pair.price_digits)
    qty = _ticks(trades["qty"], pair.qty_digits)
    volume, notional = (np.concatenate([[0.0], np.cumsum(values)]) for values in (qty, qty * price.astype(np.float64)))
    volume, notional = volume[done] - volume[first], notional[done] - notional[first]
    traded = done > first
    last = np.where(traded, np.append(price, 0)[done - 1], bid)
    opened = np.where(traded, np.append(price, 0)[first], bid)
    edges = trades.select(
        low=pl.col("price").rolling_min_by("ts", "24h"), high=pl.col("price").rolling_max_by("ts", "24h")
    )
    low, high = (np.append(_ticks(edges[name], pair.price_digits), 0)[done - 1] for name in ("low", "high"))
    return Quotes(
        ts=ts,
        bid=bid,
        bid_qty=_ticks(frame["bid_qty"], pair.qty_digits),
        ask=_ticks(frame["ask"], pair.price_digits),
        ask_qty=_ticks(frame["ask_qty"], pair.qty_digits),
        last=last,
        volume=np.round(volume).astype(np.int64),
        vwap=np.where(traded, np.round(notional / np.maximum(volume, 1)), bid).astype(np.int64),
        low=np.where(traded, low, bid),
        high=np.where(traded, high, bid),
        change=last - opened,
        change_pct=np.round(1e4 * (last - opened) / opened).astype(np.int64),
        trades=(done - first).astype(np.int64),
    )
