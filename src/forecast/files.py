"""Reads a stranger's files of trades, quotes or minute bars; what is wrong is named by line and column."""

import logging
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl

from forecast.tape import NUMBER, Tape, open_tape
from lakehouse.errors import FatalError
from lakehouse.messages import EVENT_SCHEMA

log = logging.getLogger("forecast.files")
_TIME = pl.Datetime("us", "UTC")
# Kraken's downloads have no header.
_KRAKEN_TRADES = ("ts", "price", "qty")
_KRAKEN_OHLCVT = ("ts", "open", "high", "low", "close", "volume", "trades")
_SIDES = {"b": "buy", "s": "sell", "buy": "buy", "sell": "sell"}
_BAR_PRICES = ("open", "high", "low", "close")
# Before the first market there was nothing to record.
_EARLIEST = datetime(2009, 1, 1, tzinfo=UTC)
# Epoch times beyond this are milliseconds, microseconds, nanoseconds in turn.
_EPOCH_LIMITS = ((1e11, 1.0), (1e14, 1e3), (1e17, 1e6), (float("inf"), 1e9))


def _numbers(tape: Tape, column: str, least: float, optional: bool = False) -> pl.Series:
    """A column as numbers above ``least`` (or at it, where it is 0 for quantities)."""
    series = tape.frame[column]
    if not (series.dtype.is_numeric() or series.dtype in (pl.String, pl.Null)):
        raise FatalError(f"{tape.path}, column {column}: want numbers, it holds {series.dtype}")
    numbers = series.cast(pl.Float64, strict=False)
    wrong = numbers.is_null() & (series.is_not_null() | (not optional))
    positive = column not in ("qty", "volume", "bid_qty", "ask_qty")
    wrong |= (numbers <= least if positive else numbers < least).fill_null(False) | numbers.is_infinite().fill_null(
        False
    )
    wrong |= numbers.is_nan().fill_null(False)
    tape.refuse_any(wrong, column, f"a number {'above' if positive else 'of at least'} {least:g}")
    return numbers


def _times(tape: Tape, column: str = "ts") -> pl.Series:
    """A column of times as UTC microseconds: timestamps, RFC 3339 text, or seconds (to nanoseconds) since 1970."""
    series = tape.frame[column]
    if not (series.dtype.is_numeric() or series.dtype in (pl.Datetime, pl.String, pl.Null)):
        raise FatalError(f"{tape.path}, column {column}: want times of day and date, it holds {series.dtype}")
    if series.dtype == pl.Datetime:
        zoned = series.dt.replace_time_zone("UTC") if getattr(series.dtype, "time_zone", None) is None else series
        times = zoned.dt.convert_time_zone("UTC").cast(_TIME)
    else:
        numbers = series.cast(pl.Float64, strict=False)
        times = _from_epoch(numbers) if numbers.is_not_null().any() else _from_text(series)
    wrong = ~times.is_between(_EARLIEST, datetime.now(UTC) + timedelta(days=1)).fill_null(False)
    tape.refuse_any(wrong, column, f"a UTC time such as 2026-01-05T22:54:49.230Z, from {_EARLIEST.year} to now")
    return times.alias("ts")


def _from_epoch(numbers: pl.Series) -> pl.Series:
    value = pl.col("value")
    micros = value
    for limit, divisor in reversed(_EPOCH_LIMITS):
        micros = pl.when(value < limit).then(value * (1e6 / divisor)).otherwise(micros)
    whole = numbers.alias("value").to_frame().select(micros.round(0).cast(pl.Int64, strict=False)).to_series()
    return whole.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")


def _from_text(series: pl.Series) -> pl.Series:
    plain = series.str.replace(" ", "T").str.replace(r"(Z|\+00:?00)$", "")
    return plain.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f", time_unit="us", strict=False).dt.replace_time_zone("UTC")


def _events(frame: pl.DataFrame, kind: str, symbol: str) -> pl.DataFrame:
    """A frame of `EVENT_SCHEMA` in time order; received when it happened."""
    frame = frame.with_columns(type=pl.lit(kind), symbol=pl.lit(symbol), source=pl.lit("file"), received_at="ts")
    known = [pl.col(c).cast(t) if c in frame.columns else pl.lit(None, t).alias(c) for c, t in EVENT_SCHEMA.items()]
    return frame.sort("ts", maintain_order=True).select(known)


def _select(tape: Tape, symbol: str | None) -> tuple[Tape, str]:
    """The rows of one symbol, and its name."""
    if "symbol" not in tape.frame.columns:
        return tape, symbol or "unnamed"
    named = tape.frame["symbol"].cast(pl.String).replace("", None)
    tape.refuse_any(named.is_null(), "symbol", "a symbol")
    held = named.unique(maintain_order=True).to_list()
    chosen = symbol or (held[0] if len(held) == 1 else None)
    if chosen not in held:
        got = f"; it holds no {symbol}" if symbol else ""
        raise FatalError(f"{tape.path}: choose one with --symbol: {', '.join(held)}{got}")
    return replace(tape, frame=tape.frame.filter(named == chosen)), str(chosen)


def _ids(tape: Tape) -> pl.Series:
    """Trade ids, also where a program wrote them as 17.0; a row without one is numbered downwards from -1."""
    row = pl.Series("trade_id", range(-1, -tape.frame.height - 1, -1), pl.Int64)
    if "trade_id" not in tape.frame.columns:
        return row
    held = tape.frame["trade_id"]
    if held.dtype == pl.String:
        held = held.str.strip_chars().str.replace(r"\.0+$", "").replace("", None)
    elif held.dtype.is_float():
        held = held.fill_nan(None)
    elif not (held.dtype.is_integer() or held.dtype == pl.Null):
        raise FatalError(f"{tape.path}, column trade_id: want whole numbers, it holds {held.dtype}")
    ids = held.cast(pl.Int64, strict=False)
    wrong = held.is_not_null() & ids.is_null()
    if held.dtype.is_float():
        wrong |= held.is_not_null() & (held != held.floor())
    tape.refuse_any(wrong, "trade_id", "a whole number (leave the column out if its ids are none)")
    return ids.fill_null(row)


def read_trades(path: Path, symbol: str | None = None) -> pl.DataFrame:
    """Trades as events: columns ts, price, qty, and where known symbol, trade_id, side.

    Takes Parquet, CSV with a header, or Kraken's time and sales CSV (no header; seconds, price, volume).

    Raises:
        FatalError: names line, column and what was expected.
    """
    tape, name = _select(open_tape(path, _KRAKEN_TRADES), symbol)
    if "ts" not in tape.frame.columns and "ts_ms" in tape.frame.columns:
        tape = replace(tape, frame=tape.frame.rename({"ts_ms": "ts"}))
    tape.need("ts", "price", "qty")
    columns = [_times(tape), _numbers(tape, "price", 0.0), _numbers(tape, "qty", 0.0)]
    names = tape.frame.columns
    side = tape.frame["side"] if "side" in names else pl.Series("side", [None] * tape.frame.height, pl.String)
    side = side.cast(pl.String).replace("", None)
    sides = side.str.to_lowercase().replace_strict(_SIDES, default=None, return_dtype=pl.String)
    tape.refuse_any(sides.is_null() & side.is_not_null(), "side", "buy or sell, or nothing")
    rows = tape.frame.with_columns(*columns, sides.alias("side"), _ids(tape))
    once = rows.unique("trade_id", keep="first", maintain_order=True)
    if len(once) < len(rows):
        log.warning("%s: %d rows repeat a trade_id and are left out", path, len(rows) - len(once))
    return _events(once, "trade", name)


def read_quotes(path: Path, symbol: str | None = None) -> pl.DataFrame:
    """Best quotes as events: columns ts, bid, ask, and where known symbol, bid_qty, ask_qty.

    Raises:
        FatalError: names line, column and what was expected.
    """
    tape, name = _select(open_tape(path), symbol)
    tape.need("ts", "bid", "ask")
    columns = [_times(tape), _numbers(tape, "bid", 0.0), _numbers(tape, "ask", 0.0)]
    columns += [_numbers(tape, c, 0.0, optional=True) for c in ("bid_qty", "ask_qty") if c in tape.frame.columns]
    typed = tape.with_columns(*columns)
    typed.refuse_any(typed.frame["bid"] > typed.frame["ask"], "bid", "a bid not above the ask")
    return _events(typed.frame, "quote", name)


def read_bars(path: Path, symbol: str | None = None) -> pl.DataFrame:
    """Minute bars: ts (start of the minute), open, high, low, close, volume, symbol; sorted, each minute once.

    Takes Parquet, CSV with a header, or Kraken's OHLCVT CSV (no header; seconds, open … volume, trades).

    Raises:
        FatalError: names line, column and what was expected.
    """
    tape, name = _select(open_tape(path, _KRAKEN_OHLCVT), symbol)
    tape.need("ts", *_BAR_PRICES, "volume")
    columns = [_times(tape), *(_numbers(tape, c, 0.0) for c in _BAR_PRICES), _numbers(tape, "volume", 0.0)]
    typed = tape.with_columns(*columns)
    rows = typed.frame
    # The open is not held against high and low: BitMEX opens a bar at the close before it.
    for column, wrong, expected in (
        (
            "high",
            rows["high"] < rows.select(pl.max_horizontal("low", "close")).to_series(),
            "at least low and close",
        ),
        ("low", rows["low"] > rows["close"], "at most the close"),
        ("ts", rows["ts"].dt.truncate("1m") != rows["ts"], "the start of a minute"),
        ("ts", rows["ts"].is_duplicated(), "each minute once"),
    ):
        typed.refuse_any(wrong, column, expected)
    rows = rows.sort("ts")
    # The commonest step, not the median: a market that trades in few of its minutes leaves most of them out.
    steps = rows["ts"].diff().drop_nulls().dt.total_seconds().mode().sort().to_list()
    if steps and steps[0] != 60:
        raise FatalError(f"{path}, column ts: want minute bars, successive rows are {steps[0]} s apart")
    still = int((rows["volume"] == 0).sum())
    if still == len(rows):
        raise FatalError(f"{path}, column volume: want a minute with a trade (volume above 0), got {still} without one")
    if still:
        log.info("%s: %d minutes without a trade count as missing", path, still)
    return rows.drop(NUMBER).with_columns(symbol=pl.lit(name))


def bar_events(bars: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Bars as events that all arrive at the close: high and low just before it, the close with the volume at it.

    A minute in which nothing was traded is no event, whether the file leaves it out or fills it with the last price: so
    an exchange that was down is a gap, and not a market that stood still.

    Returns:
        All events, and those of the closes alone (the prices that are known in time).
    """
    bars = bars.filter(pl.col("volume") > 0)
    close_at = pl.col("ts") + pl.duration(minutes=1)
    shifts = {"high": -2, "low": -1, "close": 0}
    parts = []
    for name, shift in shifts.items():
        qty = pl.col("volume") if name == "close" else pl.lit(0.0)
        parts.append(bars.select(ts=close_at + pl.duration(microseconds=shift), price=pl.col(name), qty=qty))
    symbol = str(bars["symbol"][0])
    return _events(pl.concat(parts), "trade", symbol), _events(parts[2], "trade", symbol)
