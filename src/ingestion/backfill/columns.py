"""Any file's columns as trades or quotes of the lake: names, units of time and sides are recognised; pure."""

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

import polars as pl
import polars.selectors as cs

from lakehouse.errors import FatalError

Kind = Literal["trade", "quote"]
LINE = "line"
_TIME = pl.Datetime("us", "UTC")
_TS = ("ts", "timestamp", "ts_event", "time", "ts_ms", "datetime", "unixtime", "date")

_TRADE_NAMES: dict[str, tuple[str, ...]] = {
    "ts": _TS,
    "trade_id": ("trade_id", "id", "tid"),
    "price": ("price", "p"),
    "qty": ("qty", "amount", "volume", "size", "quantity", "vol"),
    "side": ("side", "buysell", "taker_side"),
    "ord_type": ("ord_type", "ordertype", "type"),
    "symbol": ("symbol", "pair"),
}
_ROLLING = ("last", "volume", "vwap", "low", "high", "change", "change_pct")
_QUOTE_NAMES: dict[str, tuple[str, ...]] = {
    "ts": _TS,
    **{name: (name,) for name in ("bid", "bid_qty", "ask", "ask_qty", *_ROLLING, "symbol")},
}
NAMES: dict[Kind, dict[str, tuple[str, ...]]] = {"trade": _TRADE_NAMES, "quote": _QUOTE_NAMES}
REQUIRED: dict[Kind, tuple[str, ...]] = {
    "trade": ("ts", "price", "qty"),
    "quote": ("ts", "bid", "bid_qty", "ask", "ask_qty"),
}
_SIDES = {"b": "buy", "buy": "buy", "s": "sell", "sell": "sell"}
_ORD_TYPES = {"m": "market", "market": "market", "l": "limit", "limit": "limit"}


@dataclass(frozen=True, slots=True)
class ColumnLayout:
    """Which column of a file holds what.

    Attributes:
        columns: per field of the lake, the file's column.
        time_unit: how many of the file's time units make a second; None: times are text or datetimes.
    """

    kind: Kind
    columns: dict[str, str]
    time_unit: int | None


def layout_of(kind: Kind, sample: pl.DataFrame) -> ColumnLayout:
    """Recognises the columns of a file by their names, and its unit of time by the size of its times.

    Raises:
        FatalError: a column that is needed is missing, or one holds something else; the message says which.
    """
    by_name = {name.strip().lower(): name for name in sample.columns}
    columns = {
        field: by_name[found]
        for field, aliases in NAMES[kind].items()
        if (found := next((alias for alias in aliases if alias in by_name), None)) is not None
    }
    if missing := [field for field in REQUIRED[kind] if field not in columns]:
        wanted = "; ".join(f"{field}: one of {', '.join(NAMES[kind][field])}" for field in missing)
        raise FatalError(f"no column for {kind} field {wanted}; the file has {', '.join(sample.columns)}")
    for field, column in columns.items():
        _check_type(field, column, sample.schema[column])
    return ColumnLayout(kind, columns, _time_unit(sample[columns["ts"]]))


def plain(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows with dictionary columns, which pandas likes to write, as the text that they stand for."""
    return rows.with_columns(cs.by_dtype(pl.Categorical, pl.Enum).cast(pl.String))


def _check_type(field: str, column: str, dtype: pl.DataType) -> None:
    if dtype in (pl.String, pl.Null) or field == "symbol":
        return
    match field:
        case "ts":
            fits, wanted = dtype.is_numeric() or isinstance(dtype, pl.Datetime), "times: text, datetimes or numbers"
        case "side":
            fits, wanted = False, "sides as text: buy, sell, b or s"
        case "ord_type":
            fits, wanted = False, "order types as text: market, limit, m or l"
        case _:
            fits, wanted = dtype.is_numeric(), "numbers"
    if not fits:
        raise FatalError(f"column {column} holds {dtype}, want {wanted}")


def typed(rows: pl.DataFrame, layout: ColumnLayout, symbol: str, now: datetime) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Splits rows into good ones, typed as the lake wants them, and bad ones.

    Args:
        rows: the file's columns, text or typed, plus ``line``, the row's number in the file.
        symbol: of the rows.
        now: what is stamped later than this is bad.

    Returns:
        Good rows (``line`` and the kind's fields), and ``line`` and ``reason`` of the bad ones.
    """
    columns = {field: column for field, column in layout.columns.items() if field != "symbol"}
    read = rows.select(LINE, *(_read(field, column, rows, layout) for field, column in columns.items()))
    if layout.kind == "trade":
        absent = {"trade_id": -pl.col(LINE), "side": pl.lit(None, pl.String), "ord_type": pl.lit(None, pl.String)}
        read = read.with_columns(expr.alias(name) for name, expr in absent.items() if name not in read.columns)
    read = read.with_columns(_reason(read, rows, layout, now).alias("reason"))
    good = read.filter(pl.col("reason").is_null()).drop("reason").with_columns(pl.lit(symbol).alias("symbol"))
    return good, read.filter(pl.col("reason").is_not_null()).select(LINE, "reason")


def of_symbol(rows: pl.DataFrame, layout: ColumnLayout, pair: str) -> tuple[pl.DataFrame, Counter[str]]:
    """The rows of what the file calls ``pair``, and how many of each other one; all where it names no symbols."""
    column = layout.columns.get("symbol")
    if column is None:
        return rows, Counter()
    names = rows[column].cast(pl.String).str.strip_chars().fill_null("(none)")
    others = names.filter(names != pair).value_counts()
    return rows.filter(names == pair), Counter(dict(others.iter_rows()))


def _read(field: str, column: str, rows: pl.DataFrame, layout: ColumnLayout) -> pl.Expr:
    value, dtype = pl.col(column), rows.schema[column]
    if dtype == pl.Null:
        value, dtype = value.cast(pl.String), pl.String()
    if dtype == pl.String:
        value = value.str.strip_chars()
    match field:
        case "ts":
            expr = _time(value, dtype, layout.time_unit)
        case "side":
            expr = value.str.to_lowercase().replace_strict(_SIDES, default=None, return_dtype=pl.String)
        case "ord_type":
            expr = value.str.to_lowercase().replace_strict(_ORD_TYPES, default=None, return_dtype=pl.String)
        case "trade_id":
            expr = value.cast(pl.Int64, strict=False)
        case _:
            expr = value.cast(pl.Float64, strict=False)
    return expr.alias(field)


def _reason(read: pl.DataFrame, rows: pl.DataFrame, layout: ColumnLayout, now: datetime) -> pl.Series:
    """Per row, why it is bad; null where it is good."""
    positive = ("price", "qty") if layout.kind == "trade" else ("bid", "ask")
    checks = [
        (pl.col("ts").is_null() | (pl.col("ts") < datetime(1971, 1, 1, tzinfo=UTC)), "bad_time"),
        (pl.col("ts") > now + timedelta(seconds=5), "future"),
        *((~(pl.col(name).is_finite() & (pl.col(name) > 0)).fill_null(False), f"bad_{name}") for name in positive),
    ]
    if layout.kind == "quote":
        quantities = ("bid_qty", "ask_qty")
        checks += [(~(pl.col(n).is_finite() & (pl.col(n) >= 0)).fill_null(False), f"bad_{n}") for n in quantities]
    else:
        checks += [(pl.col("trade_id").is_null(), "bad_trade_id")]
    if "side" in layout.columns:
        told = rows[layout.columns["side"]].cast(pl.String).str.strip_chars().fill_null("") != ""
        checks += [(pl.col("side").is_null() & pl.lit(told), "bad_side")]
    first = pl.coalesce([pl.when(bad).then(pl.lit(why)) for bad, why in checks])
    return read.select(first.alias("reason"))["reason"]


def _time(value: pl.Expr, dtype: pl.DataType, unit: int | None) -> pl.Expr:
    if isinstance(dtype, pl.Datetime):
        zoned = value.dt.replace_time_zone("UTC") if dtype.time_zone is None else value.dt.convert_time_zone("UTC")
        return zoned.cast(_TIME)
    if unit is not None:
        micros = value.cast(pl.Float64, strict=False) * (1_000_000 / unit)
        fits = micros.is_between(0, 1e16)
        return pl.when(fits).then(micros).round().cast(pl.Int64).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    plain = value.str.replace("T", " ", literal=True).str.replace(r"(Z|\+00:?00)$", "")
    return plain.str.to_datetime("%Y-%m-%d %H:%M:%S%.f", time_unit="us", strict=False).dt.replace_time_zone("UTC")


def _time_unit(times: pl.Series) -> int | None:
    """Seconds, milli-, micro- or nanoseconds since 1970, told by their size; None for text and datetimes.

    The middle one speaks for all: single rows may be broken, the first as well as any other.
    """
    if isinstance(times.dtype, pl.Datetime):
        return None
    numbers = times.cast(pl.Float64, strict=False)
    numbers = numbers.filter(numbers.is_finite() & (numbers > 0))
    if times.dtype == pl.String and (numbers.is_empty() or 2 * len(numbers) < len(times.drop_nulls())):
        return None
    middle = numbers.median() or 0.0
    assert isinstance(middle, float)
    return next((unit for unit, below in ((1, 1e11), (1000, 1e14), (10**6, 1e17)) if middle < below), 10**9)
