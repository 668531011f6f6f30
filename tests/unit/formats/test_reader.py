"""Every format of history is recognised, each row once and in order; what is bad is named by its line."""

import tempfile
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from formats import tables
from formats.raw import BadRow
from formats.reader import Chunk, ForeignFile
from formats.refusal import LINE, Kind, ReadOptions
from lakehouse.errors import FatalError
from tests.support.recordings import Recordings

BTC = "BTC/USD"
TYPED = pl.DataFrame({"ts": [datetime(2026, 1, 1, tzinfo=UTC)] * 2, "price": [1.0, 2.0], "qty": [1.0, 1.0]})


def read_file(path: Path, symbol: str, kind: Kind, pair: str) -> list[Chunk]:
    source = ForeignFile(path, kind, ReadOptions(symbol=symbol, pair=pair, sizes=True))
    known = source.survey()
    if refused := None if known.others else known.refused():
        raise FatalError(refused)
    return list(source.read(known))


def read(
    path: Path, symbol: str = BTC, kind: Kind = "trade", pair: str | None = None
) -> tuple[pl.DataFrame, list[BadRow]]:
    chunks = read_file(path, symbol, kind, pair or symbol)
    return pl.concat([c.good for c in chunks], how="diagonal"), [bad for c in chunks for bad in c.bad]


def written(folder: Path, text: str, name: str = "trades.csv") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def first(frame: pl.DataFrame, *names: str) -> tuple[object, ...]:
    return tuple(frame.row(0, named=True)[name] for name in names)


def test_krakens_own_download_has_no_header_and_no_ids(tmp_path: Path) -> None:
    good, bad = read(written(tmp_path, "1381095255,122.0,0.1\n1790331321,64249.9,0.0125\n"))
    assert bad == []
    assert good["trade_id"].is_sorted() and good["trade_id"].max() < 0  # type: ignore[operator]
    assert first(good, "ts", "price", "qty", "side") == (
        datetime(2013, 10, 6, 21, 34, 15, tzinfo=UTC),
        122.0,
        0.1,
        None,
    )


def test_the_quarterly_file_whose_header_names_too_few_columns(tmp_path: Path) -> None:
    text = "price,volume,time,side,type,misc\n64249.9,0.0125,1790331321.0045187,s,m,,91234567\n"
    good, bad = read(written(tmp_path, text))
    assert bad == []
    names = ("ts", "trade_id", "price", "qty", "side", "ord_type")
    at = datetime(2026, 9, 25, 10, 15, 21, 4519, tzinfo=UTC)
    assert first(good, *names) == (at, 91234567, 64249.9, 0.0125, "sell", "market")


def test_the_same_without_any_header(tmp_path: Path) -> None:
    good, _ = read(written(tmp_path, "64249.9,0.0125,1790331321.0045187,b,l,,91234567\n"))
    assert first(good, "trade_id", "side", "ord_type") == (91234567, "buy", "limit")


def test_bad_rows_are_named_and_the_rest_is_kept(tmp_path: Path) -> None:
    lines = [
        "1381095255,122.0,0.1",
        "1381095256,-1,0.1",
        "yesterday,122.0,0.1",
        "1381095257,122.0",
        "",
        "1381095258,122.0,nan",
        "9999999999,122.0,0.1",
        "1381095259,122.0,0.1,9",
        "1381095260,123.0,0.2",
    ]
    good, bad = read(written(tmp_path, "\n".join(lines) + "\n"))
    assert good[LINE].to_list() == [1, 9]
    assert sorted((row.line, row.reason) for row in bad) == [
        (2, "bad_price"),
        (3, "bad_time"),
        (4, "wrong_fields"),
        (6, "bad_qty"),
        (7, "future"),
        (8, "wrong_fields"),
    ]
    assert all(row.text == lines[row.line - 1] for row in bad)


def test_a_wrong_side_is_bad_an_empty_one_is_unknown(tmp_path: Path) -> None:
    good, bad = read(written(tmp_path, "time,price,qty,side\n1381095255,1,1,\n1381095255,1,1,up\n1381095255,1,1,B\n"))
    assert good["side"].to_list() == [None, "buy"]
    assert [(row.line, row.reason) for row in bad] == [(3, "bad_side")]


def test_rows_of_other_symbols_are_counted_whatever_else_they_hold(tmp_path: Path) -> None:
    rows = "2026-01-01T00:00:00Z,BTC/USD,1,1\n2026-01-01,ETH/USD,-1,1\n2026-01-01T00:00:00Z,ETH/USD,1,1\n"
    (chunk,) = read_file(written(tmp_path, f"ts,symbol,price,qty\n{rows}"), BTC, "trade", BTC)
    assert chunk.good["line"].to_list() == [2] and not chunk.bad
    assert chunk.others == {"ETH/USD": 2}


def test_a_file_may_have_its_own_name_for_the_symbol(tmp_path: Path) -> None:
    path = written(tmp_path, "time,symbol,price,qty\n1381095255,BTCUSD,1,1\n1381095255,ETHUSD,1,1\n")
    good, _ = read(path, pair="BTCUSD")
    assert good["line"].to_list() == [2]
    (chunk,) = read_file(path, BTC, "trade", BTC)
    assert chunk.others == {"BTCUSD": 1, "ETHUSD": 1}
    archive = tmp_path / "history.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        for name in ("BTCUSD.csv", "XBTUSD.csv"):
            opened.writestr(name, f"1381095255,{len(name)}.0,{1 if name[0] == 'X' else 2}\n")
    assert [read(archive, pair=pair)[0]["qty"].item() for pair in (None, "BTCUSD")] == [1.0, 2.0]


@pytest.mark.parametrize(
    "text",
    [
        "2026-09-25T10:15:21.004518Z",
        "2026-09-25 10:15:21.004518+00:00",
        "2026-09-25T10:15:21.004518",
        "1790331321.004518",
        "1790331321004.518",
        "1790331321004518",
        "1790331321004518000",
    ],
)
def test_every_way_to_write_a_time(tmp_path: Path, text: str) -> None:
    good, bad = read(written(tmp_path, f"time,price,qty\n{text},1,1\n"))
    assert bad == [] and first(good, "ts") == (datetime(2026, 9, 25, 10, 15, 21, 4518, tzinfo=UTC),)


def test_candles_are_refused_with_what_was_found(tmp_path: Path) -> None:
    with pytest.raises(FatalError, match=r"ohlc\.csv: cannot tell what its 7 columns are \(1790331300,"):
        read(written(tmp_path, "1790331300,64240.0,64250.7,64238.2,64250.7,2.4183,37\n", "ohlc.csv"))
    with pytest.raises(FatalError, match="no column for trade field price"):
        read(written(tmp_path, "ts,open,qty\n1790331300,1,1\n"))
    with pytest.raises(FatalError, match="no file"):
        read(tmp_path / "missing.csv")


def test_the_pair_is_found_in_a_zip(tmp_path: Path) -> None:
    path = tmp_path / "history.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("TimeAndSales_Combined/ETHUSD.csv", "1381095255,1.0,0.1\n")
        archive.writestr("TimeAndSales_Combined/XBTUSD.csv", "1381095255,122.0,0.1\r\n1381095256,123.0,0.1\r\n")
    good, bad = read(path)
    assert (good["price"].to_list(), bad) == ([122.0, 123.0], [])
    with pytest.raises(FatalError, match=r"holds 2 CSV files, and not one SOLUSD\.csv"):
        read(path, "SOL/USD")


def test_parquet_keeps_its_types_and_names_bad_rows(tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {
            "ts": [datetime(2026, 1, 1, tzinfo=UTC)] * 3,
            "trade_id": [7, 8, 9],
            "price": [1.0, -2.0, None],
            "qty": [1.0, 1.0, 1.0],
            "side": [None, "buy", "sell"],
        }
    )
    frame.write_parquet(tmp_path / "trades.parquet")
    good, bad = read(tmp_path / "trades.parquet")
    assert good["trade_id"].to_list() == [7]
    assert [(row.line, row.reason) for row in bad] == [(2, "bad_price"), (3, "bad_price")]
    assert '"trade_id":9' in bad[1].text


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("trades.parquet", b"", "holds no rows"),
        ("trades.parquet", b"PAR1 and then nothing", "cannot be read"),
        ("history.zip", b"", "holds no rows"),
        ("history.zip", b"PK\x03\x04 and then nothing", "cannot be read"),
        ("trades.csv", b"", "holds no rows"),
        ("trades.csv", b"time,price,qty\n", "holds no rows"),
        ("trades.csv", b'"time","price","qty"', "holds no rows"),
        ("trades.csv", b"time,price,qty\r1381095255,1,1\r1381095256,1,1\r", "lines end in CR alone"),
        ("trades.csv", b"1381095255,1,1\r1381095256,1,1\r", "lines end in CR alone"),
        ("trades.csv", b"time,price,price,qty\n1381095255,1,1,1\n", "more than one column is called price"),
        ("trades.csv", b"unix,open,close\n1381095255,1,1\n", "no column for trade field"),
    ],
)
def test_what_is_no_file_of_trades_is_refused_in_one_line(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(FatalError, match=rf"{name}:? .*{message}|{name}: {message}"):
        read(path)


def test_an_empty_table_and_a_member_cut_off_are_refused_too(tmp_path: Path) -> None:
    empty = tmp_path / "trades.parquet"
    pl.DataFrame(schema={"ts": pl.Datetime("us"), "price": pl.Float64, "qty": pl.Float64}).write_parquet(empty)
    with pytest.raises(FatalError, match="holds no rows"):
        read(empty)
    broken = tmp_path / "history.zip"
    with zipfile.ZipFile(broken, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("XBTUSD.csv", "".join(f"{1381095255 + i},{i % 97 + 1}.0,0.1\n" for i in range(5000)))
    content = bytearray(broken.read_bytes())
    content[1000:1100] = bytes(100)
    broken.write_bytes(content)
    with pytest.raises(FatalError, match=r"history\.zip: XBTUSD\.csv cannot be read"):
        read(broken)


@pytest.mark.parametrize("first_line", ["yesterday,122.0,122.0", ",,", "nothing", "x,122.0,0.1,7", "a,a,a"])
def test_a_broken_first_row_of_krakens_download_is_no_header(tmp_path: Path, first_line: str) -> None:
    good, bad = read(written(tmp_path, f"{first_line}\n1381095255,122.0,0.1\n1381095256,123.0,0.1\n"))
    assert good[LINE].to_list() == [2, 3]
    assert [(row.line, row.text) for row in bad] == [(1, first_line)]


def test_quoted_fields_and_a_byte_order_mark(tmp_path: Path) -> None:
    text = '"time","price","qty","note"\n"1381095255","122.0","0.1","a, b"\n1381095256,123.0,0.2,""\n"x",1,1,"y"\n'
    good, bad = read(written(tmp_path, "\ufeff" + text))
    assert good.select("line", "price", "qty").rows() == [(2, 122.0, 0.1), (3, 123.0, 0.2)]
    assert [(row.line, row.reason, row.text) for row in bad] == [(4, "bad_time", '"x",1,1,"y"')]


def test_columns_that_tell_nothing_may_be_called_anything(tmp_path: Path) -> None:
    good, bad = read(written(tmp_path, "line,time,price,qty,,\n9,1381095255,122.0,0.1,,\n"))
    assert (good["line"].to_list(), good["price"].to_list(), bad) == ([2], [122.0], [])


@pytest.mark.parametrize("broken", ["nan", "inf", "0", "-1"])
def test_a_broken_first_time_does_not_decide_on_the_unit(tmp_path: Path, broken: str) -> None:
    good, bad = read(written(tmp_path, f"time,price,qty\n{broken},1,1\n1790331321004,1,1\n1790331321005,1,1\n"))
    assert [(row.line, row.reason) for row in bad] == [(2, "bad_time")]
    assert first(good, "ts") == (datetime(2026, 9, 25, 10, 15, 21, 4000, tzinfo=UTC),)


@pytest.mark.parametrize("dtype", [pl.Categorical(), pl.Enum(["buy", "sell", "market", "limit"])])
def test_dictionary_columns_are_text(tmp_path: Path, dtype: pl.DataType) -> None:
    frame = TYPED.with_columns(pl.Series("side", ["buy", "sell"], dtype), pl.Series("type", ["limit", "market"], dtype))
    frame.write_parquet(tmp_path / "trades.parquet")
    good, bad = read(tmp_path / "trades.parquet")
    assert bad == [] and good.select("side", "ord_type").rows() == [("buy", "limit"), ("sell", "market")]


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (pl.Series("side", [1, -1]), "column side holds Int64, want sides as text: buy, sell, b or s"),
        (pl.Series("side", [True, False]), "column side holds Boolean, want sides as text"),
        (pl.Series("price", [True, False]), "column price holds Boolean, want numbers"),
        (pl.Series("ts", [datetime(2026, 1, 1).date()] * 2), "column ts holds Date, want times"),  # noqa: DTZ001
    ],
)
def test_a_column_of_another_type_is_named(tmp_path: Path, column: pl.Series, message: str) -> None:
    TYPED.with_columns(column).write_parquet(tmp_path / "trades.parquet")
    with pytest.raises(FatalError, match=rf"trades\.parquet: {message}"):
        read(tmp_path / "trades.parquet")


def test_columns_without_any_value_are_unknown(tmp_path: Path) -> None:
    TYPED.with_columns(side=pl.lit(None), type=pl.lit(None)).write_parquet(tmp_path / "trades.parquet")
    good, bad = read(tmp_path / "trades.parquet")
    assert bad == [] and good.select("side", "ord_type").rows() == [(None, None)] * 2


@given(st.lists(st.sampled_from(("good", "bad", "ragged", "blank")), min_size=1, max_size=40), st.integers(1, 7))
def test_no_row_is_lost_however_the_file_is_cut(kinds: list[str], chunk: int) -> None:
    texts = {"good": "1381095255,122.0,0.1", "bad": "1381095255,0,0.1", "ragged": "1381095255,1", "blank": ""}
    lines = [texts["good"]] * 8 + [texts[kind] for kind in kinds]
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setattr(tables, "BLOCK_BYTES", chunk * 20)
        good, bad = read(written(Path(folder), "\n".join(lines) + "\n"))
    assert good[LINE].to_list() == [i for i, text in enumerate(lines, 1) if text == texts["good"]]
    assert sorted(row.line for row in bad) == [
        i for i, text in enumerate(lines, 1) if text in list(texts.values())[1:3]
    ]


@pytest.mark.parametrize(
    ("name", "symbol", "kind"),
    [
        ("sparse_trades", "BTC/JPY", "trade"),
        ("trades", BTC, "trade"),
        ("quotes", BTC, "quote"),
        ("anonymous_trades", BTC, "trade"),
        ("rest_trades", "BTC/USDT", "trade"),
        ("ws_quotes", None, "quote"),
    ],
)
def test_recorded_files_are_read_whole(recordings: Recordings, name: str, symbol: str | None, kind: Kind) -> None:
    path: Path = getattr(recordings, name)
    if symbol is None:
        symbol = str(pl.read_csv(path)["symbol"][0])
    good, bad = read(path, symbol, kind)
    rows = recordings.rows[name]
    assert (good.height, bad) == (rows, [])
    if kind == "trade":
        assert good["trade_id"].n_unique() == rows
