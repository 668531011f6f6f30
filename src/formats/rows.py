"""Raw tables as trades, quotes or bars: each field typed, each row good or bad for a reason with a name; pure."""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl

from formats import sides
from formats.columns import REQUIRED, SIZES, ColumnLayout
from formats.ids import whole_numbers
from formats.raw import BadRow, RawChunk
from formats.refusal import LINE, Kind, RefusedFileError
from formats.times import EARLIEST, SHORTENED, TimeRule, come_twice, read_times

FUTURE = timedelta(seconds=5)
_ORD_TYPES = {"m": "market", "market": "market", "l": "limit", "limit": "limit"}
# Times up to the year 6000 or so.
MAX_SHOWN_US = 2**57
ROLLING = ("last", "volume", "vwap", "low", "high", "change", "change_pct")
_PRICES: dict[Kind, tuple[str, ...]] = {"trade": ("price", "qty"), "quote": ("bid", "ask"), "bar": REQUIRED["bar"][1:5]}
FIELDS: dict[Kind, tuple[str, ...]] = {
    "trade": ("ts", "trade_id", "price", "qty", "side", "ord_type"),
    "quote": ("ts", "bid", "bid_qty", "ask", "ask_qty", *ROLLING),
    "bar": REQUIRED["bar"],
}
# What a reason says of its field.
_WANT = {
    "bad_time": f"a UTC time such as 2026-01-05T22:54:49.230Z, from {EARLIEST.year} to now",
    "future": f"a UTC time from {EARLIEST.year} to now",
    "repeated_hour": "a time that comes once: clocks go back in that hour; write times in UTC or with their offset",
    "shortened_time": "a whole time: a spreadsheet has cut its digits; export it as text",
    "bad_side": "buy or sell, or nothing",
    "bad_trade_id": "a whole number",
    "bad_symbol": "a symbol",
    "bad_bid_over_ask": "a bid not above the ask",
    "bad_high_low": "at least low and close",
    "bad_low_close": "at most the close",
    "bad_minute": "the start of a minute",
}
_FIELD = {
    "bad_time": "ts",
    "future": "ts",
    "repeated_hour": "ts",
    "shortened_time": "ts",
    "zero_qty": "qty",
    "bad_bid_over_ask": "bid",
    "bad_high_low": "high",
    "bad_low_close": "low",
    "bad_minute": "ts",
}


@dataclass(frozen=True, slots=True)
class Typed:
    """A piece of a file in the lake's terms.

    Attributes:
        good: ``line`` and the fields of the kind, in the file's order; ``trade_id`` null where the file has none.
        bad: ``line`` and ``reason``.
        others: how many rows of each other symbol were left out.
        still: minutes of bars in which nothing was traded.
    """

    good: pl.DataFrame
    bad: pl.DataFrame
    others: Counter[str]
    still: int = 0


def typed(raw: RawChunk, layout: ColumnLayout, rule: TimeRule, pair: str | None, now: datetime) -> Typed:
    """Splits rows into good and bad ones.

    Args:
        pair: the symbol whose rows are wanted, as the file writes it; None: all.
        now: what is stamped later than this is bad.
    """
    rows, others, nameless = _of_symbol(raw.frame, layout, pair)
    told = rows[layout.columns["ts"]]
    ts = read_times(told, rule)
    twice = come_twice(told, ts, rule)
    read = rows.select(LINE, *(_read(name, rows, layout, raw.comma) for name in FIELDS[layout.kind] if name != "ts"))
    read = read.with_columns(ts, twice)
    still = 0
    if layout.kind == "bar":
        empty = _is_still(read)
        still = int(empty.sum())
        read, rows = read.filter(~empty), rows.filter(~empty)
    reasons = read.select(_reason(rows, layout, now))["reason"]
    good = read.filter(reasons.is_null()).select(LINE, *FIELDS[layout.kind])
    bad = pl.DataFrame({LINE: read[LINE], "reason": reasons}).filter(reasons.is_not_null())
    return Typed(good, pl.concat([nameless, bad]) if nameless.height else bad, others, still)


def _of_symbol(
    rows: pl.DataFrame, layout: ColumnLayout, pair: str | None
) -> tuple[pl.DataFrame, Counter[str], pl.DataFrame]:
    """The rows of one symbol, how many there are of each other one, and those that name none where that matters."""
    nameless = pl.DataFrame(schema={LINE: pl.Int64, "reason": pl.String})
    column = layout.columns.get("symbol")
    if column is None:
        return rows, Counter(), nameless
    names = rows[column].cast(pl.String).str.strip_chars().replace("", None)
    if pair is None:
        nameless = rows.filter(names.is_null()).select(LINE, pl.lit("bad_symbol").alias("reason"))
        return rows.filter(names.is_not_null()), Counter(), nameless
    names = names.fill_null("(none)")
    others = names.filter(names != pair).value_counts()
    return rows.filter(names == pair), Counter(dict(others.iter_rows())), nameless


def _read(field: str, rows: pl.DataFrame, layout: ColumnLayout, comma: bool) -> pl.Expr:
    column = layout.columns.get(field)
    if column is None or rows.schema[column] == pl.Null:
        absent = pl.Int64 if field == "trade_id" else pl.String if field in ("side", "ord_type") else pl.Float64
        return pl.lit(None, absent).alias(field)
    value, dtype = pl.col(column), rows.schema[column]
    match field:
        case "side":
            return sides.side(value, layout.side_form).alias(field)
        case "ord_type":
            return sides.text(value).replace_strict(_ORD_TYPES, default=None, return_dtype=pl.String).alias(field)
        case "trade_id":
            return whole_numbers(value, dtype).alias(field)
    read = number(value, dtype, comma)
    return (read.abs() if field == "qty" and layout.side_form == "sign" else read).alias(field)


def number(value: pl.Expr, dtype: pl.DataType, comma: bool) -> pl.Expr:
    """A column as numbers; null for what is none."""
    if dtype == pl.String:
        value = value.str.strip_chars()
        if comma:
            value = value.str.replace_all(r"[. ]", "").str.replace(",", ".", literal=True)
    return value.cast(pl.Float64, strict=False)


def _is_still(read: pl.DataFrame) -> pl.Series:
    """Minutes without a trade: no volume, and no prices either."""
    missing = [(pl.col(name).is_null() | pl.col(name).is_nan()) for name in REQUIRED["bar"][1:5]]
    volume = pl.col("volume").is_null() | pl.col("volume").is_nan() | (pl.col("volume") == 0)
    return read.select((pl.all_horizontal(*missing) & volume & pl.col("ts").is_not_null()).alias("still"))["still"]


def _reason(rows: pl.DataFrame, layout: ColumnLayout, now: datetime) -> pl.Expr:
    """Per row, why it is bad; null where it is good."""
    ts, checks = pl.col("ts"), [(pl.col("twice"), "repeated_hour")]
    told = rows[layout.columns["ts"]]
    if told.dtype == pl.String and (cut := told.str.strip_chars().str.contains(SHORTENED).fill_null(False)).any():
        checks += [(pl.lit(cut), "shortened_time")]
    checks += [(ts.is_null() | (ts < EARLIEST), "bad_time"), (ts > now + FUTURE, "future")]
    if layout.kind == "trade":
        checks.append((pl.col("qty") == 0, "zero_qty"))
    for name in _PRICES[layout.kind]:
        checks.append((~(pl.col(name).is_finite() & (pl.col(name) > 0)).fill_null(False), f"bad_{name}"))
    sizes = (*SIZES, "volume") if layout.kind != "trade" else ()
    for name in sizes:
        if name in layout.columns and (layout.kind, name) != ("quote", "volume"):
            checks.append((~(pl.col(name).is_finite() & (pl.col(name) >= 0)).fill_null(False), f"bad_{name}"))
    if layout.kind == "quote":
        checks.append((pl.col("bid") > pl.col("ask"), "bad_bid_over_ask"))
    if layout.kind == "bar":
        # The open is not held against high and low: BitMEX opens a bar at the close before it.
        checks.append((pl.col("high") < pl.max_horizontal("low", "close"), "bad_high_low"))
        checks.append((pl.col("low") > pl.col("close"), "bad_low_close"))
        checks.append((ts.dt.truncate("1m") != ts, "bad_minute"))
    if "side" in layout.columns and rows.schema[layout.columns["side"]] != pl.Null:
        claimed = rows.select(sides.is_told(pl.col(layout.columns["side"])).alias("told"))["told"]
        checks.append((pl.col("side").is_null() & pl.lit(claimed), "bad_side"))
    return pl.coalesce([pl.when(bad).then(pl.lit(why)) for bad, why in checks]).alias("reason")


def check_types(layout: ColumnLayout, sample: pl.DataFrame) -> None:
    """Refuses a typed file whose column is of a type that cannot hold the field.

    Raises:
        RefusedFileError: names the column, what it holds and what is wanted.
    """
    for field, column in layout.columns.items():
        dtype = sample.schema[column]
        if dtype in (pl.String, pl.Null) or field in ("symbol", "ts"):
            continue
        fits, wanted = dtype.is_numeric() or isinstance(dtype, pl.Decimal), "numbers"
        if field == "side":
            flags = layout.side_form in ("maker", "sell", "buy")
            fits = (flags and (dtype == pl.Boolean or dtype.is_integer())) or layout.side_form in ("type", "sign")
            wanted = "sides as text: buy, sell, b or s"
        elif field == "ord_type":
            fits, wanted = False, "order types as text: market, limit, m or l"
        elif field == "trade_id":
            fits, wanted = dtype.is_numeric() or dtype == pl.Binary, "whole numbers"
        if not fits:
            raise RefusedFileError(f"column {column} holds {dtype}, want {wanted}")


def explain(name: str, raw: RawChunk, layout: ColumnLayout, line: int, reason: str) -> str:
    """A bad row in one line: place, column, what was wanted and what stands there."""
    if reason == "wrong_fields":
        width = len(raw.frame.columns) - 1
        text = raw.text(line) if raw.lines is not None else ""
        return f"{name}, {raw.unit} {line}: want {width} columns, got {raw.fields(line)}: {text[:80]!r}"
    field = _FIELD.get(reason, reason.removeprefix("bad_"))
    column = layout.columns.get(field, field)
    found = raw.frame.filter(pl.col(LINE) == line)
    held = found[column] if found.height and column in found.columns else pl.Series([None])
    got = _shown(held)
    return f"{name}, {raw.unit} {line}, column {column}: want {wanted(reason)}, got {got[:80]}"


def _shown(held: pl.Series) -> str:
    if not isinstance(held.dtype, pl.Datetime):
        return repr(held[0])
    micros = held.dt.epoch("us")[0]
    # A file may hold times that no Python datetime can.
    return held[0].isoformat() if micros is not None and abs(micros) < MAX_SHOWN_US else f"{micros} µs since 1970"


def wanted(reason: str) -> str:
    """What a field must hold."""
    if reason in _WANT:
        return _WANT[reason]
    least = "of at least 0" if reason in ("bad_volume", "bad_bid_qty", "bad_ask_qty") else "above 0"
    return f"a number {least}"


def bad_rows(raw: RawChunk, found: Typed) -> tuple[BadRow, ...]:
    """The bad rows of a piece with their text."""
    return (*(BadRow(line, raw.text(line), why) for line, why in found.bad.iter_rows()), *raw.ragged)
