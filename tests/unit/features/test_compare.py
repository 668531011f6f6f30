"""Two foldings compared row by row: equal, nearly equal, different, missing."""

import numpy as np
import polars as pl
import pytest

from features.compare import differing
from features.spec import NAMES


@pytest.fixture
def rows() -> pl.DataFrame:
    """Rows as the engine gives them, one feature unknown."""
    values = np.random.default_rng(5).normal(size=(20, len(NAMES)))
    frame = pl.DataFrame(values, schema=list(NAMES)).with_columns(pl.lit(float("nan")).alias(NAMES[3]))
    return frame.with_columns(
        ts=pl.datetime(2026, 1, 5, time_zone="UTC") + pl.duration(seconds=pl.int_range(pl.len())),
        symbol=pl.lit("BTC/USD"),
        epoch=pl.lit(1, pl.Int64),
        seq=pl.int_range(pl.len()),
        complete=pl.lit(True),
    )


def test_the_same_rows_do_not_differ_and_nan_is_null(rows: pl.DataFrame) -> None:
    assert differing(rows, rows.reverse()) == 0
    assert differing(rows, rows.with_columns(pl.col(NAMES).fill_nan(None))) == 0


def test_each_kind_of_difference_counts_once(rows: pl.DataFrame) -> None:
    first = pl.int_range(pl.len()) == 0
    name = NAMES[0]
    assert differing(rows, rows[1:]) == 1
    assert differing(rows[1:], rows) == 1
    assert differing(rows, rows.with_columns(complete=~first)) == 1
    assert (
        differing(rows, rows.with_columns(ts=pl.when(first).then(pl.col("ts").dt.offset_by("1us")).otherwise("ts")))
        == 1
    )
    for factor, wrong in ((1 + 1e-8, 1), (1 + 1e-12, 0), (float("nan"), 1)):
        other = rows.with_columns(pl.when(first).then(pl.col(name) * factor).otherwise(name).alias(name))
        assert differing(rows, other) == wrong
