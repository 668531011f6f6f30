"""Validates the events of a batch: whether bronze accepts each, and if not, why; pure."""

from collections.abc import Callable, Mapping
from functools import cache

import polars as pl

from lakehouse.records import SYMBOL_PATTERN

SOURCES = ("ws", "rest", "file", "sim")

_ALL = ("symbol", "ts", "received_at")
_REQUIRED = {
    "trade": (*_ALL, "trade_id", "price", "qty", "source"),
    "quote": (*_ALL, "bid", "bid_qty", "ask", "ask_qty", "source"),
    "gap": (*_ALL, "stream"),
}
_POSITIVE = {"trade": ("price", "qty"), "quote": ("bid", "ask")}
_NOT_NEGATIVE = {"quote": ("bid_qty", "ask_qty")}


def reasons(events: pl.DataFrame, future_tolerance_s: float) -> pl.Series:
    """For each event the reason to refuse it; null if it is valid.

    Args:
        events: `lakehouse.messages.EVENT_SCHEMA`.
        future_tolerance_s: how far ``ts`` may lie after ``received_at``.

    Reasons: ``unknown_type``, ``missing_field``, ``bad_symbol``, ``bad_value``, ``bad_time``, ``future``.
    """
    return events.select(_reason(future_tolerance_s))["reason"]


# Building the expression takes longer than checking one event with it.
@cache
def _reason(future_tolerance_s: float) -> pl.Expr:
    ahead = (pl.col("ts") - pl.col("received_at")).dt.total_microseconds()
    checks = [
        (_where_not(pl.col("type").is_in(list(_REQUIRED))), "unknown_type"),
        (_per_type(_REQUIRED, lambda c: c.is_null()), "missing_field"),
        (_where_not(pl.col("symbol").str.contains(SYMBOL_PATTERN)), "bad_symbol"),
        (_per_type(_POSITIVE, lambda c: _where_not(c.is_finite() & (c > 0))), "bad_value"),
        (_per_type(_NOT_NEGATIVE, lambda c: _where_not(c.is_finite() & (c >= 0))), "bad_value"),
        (pl.col("side").is_in(["buy", "sell"]).not_().fill_null(False), "bad_value"),
        ((pl.col("type") != "gap") & _where_not(pl.col("source").is_in(SOURCES)), "bad_value"),
        ((pl.col("type") == "gap") & _where_not(pl.col("stream").is_in(["trade", "ticker"])), "bad_value"),
        (_where_not(pl.col("ts").dt.year().is_between(1971, 2250)), "bad_time"),
        (ahead > future_tolerance_s * 1e6, "future"),
    ]
    return pl.coalesce([pl.when(bad).then(pl.lit(reason)) for bad, reason in checks]).alias("reason")


def _where_not(good: pl.Expr) -> pl.Expr:
    return ~good.fill_null(False)


def _per_type(fields: Mapping[str, tuple[str, ...]], wrong: Callable[[pl.Expr], pl.Expr]) -> pl.Expr:
    return pl.any_horizontal(
        (pl.col("type") == kind) & pl.any_horizontal(wrong(pl.col(name)) for name in names)
        for kind, names in fields.items()
    )
