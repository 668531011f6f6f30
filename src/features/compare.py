"""Counts the feature rows that differ between two folds of the same events; pure."""

import polars as pl

from features.spec import NAMES

RELATIVE = 1e-9
KEYS = ("symbol", "epoch", "seq")


def differing(expected: pl.DataFrame, found: pl.DataFrame, relative: float = RELATIVE) -> int:
    """The number of rows on one side only, or different in time, in ``complete`` or in a feature.

    Args:
        expected, found: rows as returned by `features.engine.fold` or stored in silver, each (symbol, epoch, seq) once;
            NULL and NaN both mean unknown.
        relative: relative tolerance between two values.
    """
    both = _plain(expected).join(_plain(found), on=KEYS, how="full", suffix="_found", coalesce=True)
    same = (pl.col("ts") == pl.col("ts_found")) & (pl.col("complete") == pl.col("complete_found"))
    for name in NAMES:
        same &= close(pl.col(name), pl.col(f"{name}_found"), relative)
    return int(both.select((~same.fill_null(False)).sum()).item())


def close(one: pl.Expr, other: pl.Expr, relative: float = RELATIVE) -> pl.Expr:
    """Whether two columns agree; NULL agrees with NULL only."""
    difference, size = (one - other).abs(), pl.max_horizontal(one.abs(), other.abs())
    return (
        pl.when(one.is_null() | other.is_null())
        .then(one.is_null() & other.is_null())
        .otherwise(difference <= relative * size)
    )


def _plain(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.select(*KEYS, "ts", "complete", pl.col(NAMES).cast(pl.Float64).fill_nan(None))
