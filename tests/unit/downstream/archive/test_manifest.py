"""Parts, manifests and bytes of the lake's files: names go there and back, equal rows give equal bytes, rows count."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from downstream.archive.manifest import DayFile, Manifest, canonical, decode, describe, encode, fingerprint, part_of
from downstream.archive.tables import BY_NAME, LAKE_TABLES
from lakehouse.errors import FatalError
from lakehouse.schema import BRONZE_TRADES, META_RETENTION, Column

DAY = date(2026, 1, 5)
MIDNIGHT = datetime(2026, 1, 5, tzinfo=UTC)
TRADES = st.lists(
    st.fixed_dictionaries(
        {
            "ts": st.integers(0, 86_399_999_999).map(lambda us: MIDNIGHT + timedelta(microseconds=us)),
            "trade_id": st.integers(-(2**40), 2**40),
            "price": st.floats(1e-9, 1e9),
            "side": st.sampled_from(["buy", "sell", None]),
            "seq": st.integers(0, 2**50),
        }
    ),
    min_size=1,
    max_size=40,
    unique_by=lambda row: (row["ts"], row["trade_id"]),
)


def _frame(rows: list[dict[str, Any]]) -> pl.DataFrame:
    frame = pl.DataFrame(rows, infer_schema_length=None, schema_overrides={"side": pl.String})
    others = {"symbol": "BTC/USD", "qty": 1.0, "ord_type": None, "source": "sim", "origin": "live", "epoch": 1}
    return frame.with_columns(received_at="ts", **{name: pl.lit(value) for name, value in others.items()})


@given(
    st.sampled_from([t.name for t in LAKE_TABLES]),
    st.one_of(st.none(), st.from_regex(r"[A-Z0-9.]{1,8}/[A-Z]{3}", fullmatch=True)),
    st.dates(),
)
def test_a_part_is_found_again_by_its_manifest(table: str, symbol: str | None, day: date) -> None:
    part = DayFile(table, BY_NAME[table].layer, day, symbol)
    assert part_of(part.manifest_key) == part
    assert part.data_key.count("/") == 4


@given(TRADES, st.randoms())
def test_equal_rows_give_equal_bytes_in_any_order(rows: list[dict[str, Any]], shuffle: Any) -> None:
    other = list(rows)
    shuffle.shuffle(other)
    first, second = (encode(canonical(_frame(r), BRONZE_TRADES)) for r in (rows, other))
    assert first == second
    assert decode(first, "x").equals(canonical(_frame(rows), BRONZE_TRADES))


@given(TRADES)
def test_the_fingerprint_sees_a_row_more_and_a_row_less(rows: list[dict[str, Any]]) -> None:
    whole = fingerprint(canonical(_frame(rows), BRONZE_TRADES), BRONZE_TRADES)
    less = fingerprint(canonical(_frame(rows), BRONZE_TRADES)[:-1], BRONZE_TRADES)
    assert whole != less
    assert whole.split(":")[0] == str(len(rows))


@given(TRADES)
def test_a_manifest_says_what_the_bytes_hold(rows: list[dict[str, Any]]) -> None:
    data = encode(canonical(_frame(rows), BRONZE_TRADES))
    manifest = describe(data, BRONZE_TRADES, "v1", "x")
    ids = [row["trade_id"] for row in rows]
    assert (manifest.rows, manifest.first_trade_id, manifest.last_trade_id) == (len(rows), min(ids), max(ids))
    assert manifest.first_ts == min(row["ts"] for row in rows).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    assert Manifest.load(manifest.dump(), "x") == manifest


def test_an_unreadable_manifest_or_file_is_named() -> None:
    part = DayFile("bronze_trades", "bronze", DAY, "BTC/USD")
    for bad in (b"", b"{}", b"[1]", b'{"format": 1}'):
        with pytest.raises(FatalError, match="bronze/bronze_trades/symbol=BTC%2FUSD"):
            Manifest.load(bad, part.manifest_key)
    with pytest.raises(FatalError, match="not a readable Parquet"):
        decode(b"PAR1 and then nothing", part.data_key)
    frame = canonical(_frame([{"ts": MIDNIGHT, "trade_id": 1, "price": 1.0, "side": None, "seq": 1}]), BRONZE_TRADES)
    with pytest.raises(FatalError, match="run tradelake migrate"):
        describe(encode(frame.drop("qty")), BRONZE_TRADES, None, part.data_key)
    newer = replace(describe(encode(frame), BRONZE_TRADES, None, "x"), format=9)
    with pytest.raises(FatalError, match="format 9"):
        Manifest.load(newer.dump(), "x")


def test_a_backup_holds_every_table_but_the_one_of_this_server() -> None:
    assert META_RETENTION not in LAKE_TABLES
    assert {"bronze_trades", "silver_features", "gold_forecasts", "meta_epochs"} <= set(BY_NAME)


def test_columns_of_another_type_are_cast_to_the_tables() -> None:
    table = replace(BRONZE_TRADES, columns=(Column("ts", "TIMESTAMP", ""), Column("n", "INT", "")), keys=("ts",))
    frame = pl.DataFrame({"n": [2], "ts": [MIDNIGHT]}, schema_overrides={"ts": pl.Datetime("ns", "UTC")})
    assert canonical(frame, table).schema == {"ts": pl.Datetime("us", "UTC"), "n": pl.Int32()}
