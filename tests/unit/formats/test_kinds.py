"""Kinds of files as people have them, read by `formats`: packings, layouts, times, sides, ids; and what is refused."""

import bz2
import gzip
import io
import json
import lzma
import zipfile
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from click.testing import CliRunner

from formats.frames import read_bars, read_trades
from formats.inspect import inspect
from formats.reader import ForeignFile
from formats.refusal import PLAIN, DateOrder, Kind, ReadOptions, RefusedFileError, parse_columns
from lakehouse.errors import FatalError
from tradelake.app import cli

AT = datetime(2024, 3, 5, 12, tzinfo=UTC)
CSV = "time,price,qty,side\n2024-03-05T12:00:00Z,10.5,1,buy\n2024-03-05T12:00:01Z,10.25,2,sell\n"
KEYS = {
    "kind", "source", "columns", "rows", "bad", "reasons", "first", "last", "order", "sides", "ids", "price_min",
    "price_max", "refused",
}  # fmt: skip


def written(folder: Path, content: str | bytes, name: str = "file.csv") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def ids_of(path: Path) -> list[int]:
    source = ForeignFile(path, "trade", PLAIN)
    return [each for chunk in source.read(source.survey()) for each in chunk.good["trade_id"]]


def zst(data: bytes) -> bytes:
    return bytes(pa.Codec("zstd").compress(data, asbytes=True))


def zipped(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return buffer.getvalue()


def twice(data: bytes) -> bytes:
    return gzip.compress(gzip.compress(data))


PACKINGS: list[Callable[[bytes], bytes]] = [bytes, gzip.compress, bz2.compress, lzma.compress, zst, twice]


@pytest.mark.parametrize("pack", PACKINGS)
@pytest.mark.parametrize("inner", ["csv", "json", "ndjson", "parquet", "arrow"])
def test_the_first_bytes_tell_the_format(tmp_path: Path, pack: Callable[[bytes], bytes], inner: str) -> None:
    frame = pl.DataFrame({"ts": [1709640000000, 1709640001000], "price": [10.5, 10.25], "qty": [1.0, 2.0]})
    table = tmp_path / "table"
    match inner:
        case "csv":
            frame.write_csv(table)
        case "json":
            table.write_text(json.dumps(frame.to_dicts()))
        case "ndjson":
            frame.write_ndjson(table)
        case "parquet":
            frame.write_parquet(table)
        case _:
            frame.write_ipc(table)
    trades = read_trades(written(tmp_path, pack(table.read_bytes()), "no.ending"))
    assert trades.select("ts", "price").rows() == [(AT, 10.5), (AT + timedelta(seconds=1), 10.25)]


def test_a_zip_of_several_members_is_read_by_symbol_without_its_attic(tmp_path: Path) -> None:
    path = tmp_path / "history.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("README.txt", "Trades of Kraken.")
        archive.writestr("a/XBTUSD.csv", "1709640000,10.5,1\n")
        archive.writestr("a/XDGUSD.csv", "1709640000,0.1,1\n")
        archive.writestr("a/XBTAED.csv", "")
        archive.writestr("__MACOSX/a/._XBTUSD.csv", b"\x00\x05\x16\x07")
    assert read_trades(path, options=ReadOptions(symbol="DOGE/USD"), symbol="DOGE/USD")["price"].to_list() == [0.1]
    empty = inspect(path, ReadOptions(symbol="BTC/AED"))["refused"]
    assert "XBTAED.csv holds no rows" in empty
    assert "XBTUSD.csv, XDGUSD.csv" in inspect(path, PLAIN)["refused"]


def test_the_days_of_one_market_are_read_one_after_the_other(tmp_path: Path) -> None:
    path = tmp_path / "days.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for day in ("06", "05"):
            archive.writestr(
                f"BTCUSDT-trades-2024-03-{day}.csv", f"id,price,qty,time\n{day},1{day},1,2024-03-{day}T00:00:00Z\n"
            )
    source = ForeignFile(path, "trade", PLAIN)
    chunks = list(source.read(source.survey()))
    assert [row for chunk in chunks for row in chunk.good.select("line", "trade_id").rows()] == [(2, 5), (4, 6)]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"7z\xbc\xaf\x27\x1c" + bytes(30), "7z archive: unpack it with 7z x"),
        (b"Rar!\x1a\x07" + bytes(30), "RAR archive"),
        (b"\x04\x22\x4d\x18" + bytes(30), "packed with LZ4"),
        (zipped({"inner.zip": zipped({"a.csv": CSV.encode()})}), "an archive in an archive"),
        (b"\x89PNG\r\n\x1a\n" + bytes(range(200)), "binary data of another kind"),
        (b"<!DOCTYPE html><html></html>", "web page"),
        (b"\xd0\xcf\x11\xe0" + bytes(30), "Excel workbook: save the sheet as CSV"),
        (gzip.compress(CSV.encode(), mtime=0)[:-12], "cannot be read.*get it again"),
        (b"", "holds no rows"),
        (b"time,price,qty\n", "holds no rows"),
    ],
)
def test_what_is_no_table_is_named_with_the_remedy(tmp_path: Path, content: bytes, said: str) -> None:
    with pytest.raises(RefusedFileError, match=said):
        read_trades(written(tmp_path, content))


@pytest.mark.parametrize(
    "text",
    [
        CSV,
        "\ufeff" + CSV.replace("\n", "\r\n"),
        "Trades of BTC/USD\n" + CSV,
        CSV.replace(",", " "),
        CSV.replace("buy\n", "buy,\n").replace("sell\n", "sell,\n"),
        "https://www.example.com\n" + CSV,
        "# a comment\n\n" + CSV,
        "sep=;\n" + CSV.replace(",", ";"),
        CSV.replace(",", "\t"),
        CSV.replace(",", "|"),
        CSV.replace(".5,", ",5;").replace(".25,", ",25;").replace(",price", ";price").replace("Z,", "Z;")
        .replace("price,", "price;").replace("qty,", "qty;").replace("1,b", "1;b").replace("2,s", "2;s"),
        "".join(f'"{line}"\n'.replace(",", '","') for line in CSV.splitlines()),
        "\n".join(f"{i},{line}" if i else f",{line}" for i, line in enumerate(CSV.splitlines())),
        CSV.replace(",10", ",  10").replace("buy", "buy ").replace("sell", " Sell"),
    ],
)  # fmt: skip
def test_a_text_table_is_read_however_it_is_written(tmp_path: Path, text: str) -> None:
    trades = read_trades(written(tmp_path, text))
    assert trades.select("ts", "price", "qty", "side").rows() == [
        (AT, 10.5, 1.0, "buy"),
        (AT + timedelta(seconds=1), 10.25, 2.0, "sell"),
    ]


ROWS = [{"ts": 1709640000, "price": "10.5", "qty": 1}, {"ts": 1709640001, "price": "10.25", "qty": 2}]
LISTS = {name: [row[name] for row in ROWS] for name in ROWS[0]}


@pytest.mark.parametrize(
    "document",
    [
        {"result": {"list": ROWS}, "retCode": 0},
        LISTS,
        {name: dict(zip("01", values, strict=True)) for name, values in LISTS.items()},
        {"columns": list(LISTS), "index": [0, 1], "data": [list(row.values()) for row in ROWS]},
        {"error": [], "result": {"XXBTZUSD": [list(row.values()) for row in ROWS], "last": "1709640001000000000"}},
    ],
)
def test_a_json_document_is_rows_in_an_envelope_or_columns(tmp_path: Path, document: object) -> None:
    trades = read_trades(written(tmp_path, json.dumps(document)))
    assert trades.select("ts", "price", "qty").rows() == [(AT, 10.5, 1.0), (AT + timedelta(seconds=1), 10.25, 2.0)]


def test_binances_messages_tell_number_and_time_by_the_case_of_a_letter(tmp_path: Path) -> None:
    text = (
        '{"e":"trade","E":1709640000009,"s":"BTCUSDT","t":7,"p":"10.5","q":"1","T":1709640000000,"m":true,"M":true}\n'
    )
    trades = read_trades(written(tmp_path, text))
    assert trades.select("ts", "trade_id", "price", "side").rows() == [(AT, 7, 10.5, "sell")]


@pytest.mark.parametrize(
    "text",
    [
        "1709640000", "1709640000.0", "1709640000000", "1709640000000000", "1709640000000000000",
        "2024-03-05T12:00:00Z", "2024-03-05 12:00:00 UTC", "2024-03-05D12:00:00.000000000", "2024-03-05 12:00",
        "2024-03-05T13:00:00+01:00", "2024-03-05 07:00:00-0500", "2024-03-05 12:00:00+00:00", "2024/03/05 12:00:00",
        "2024-03-05T12:00:00,000Z", "20240305 12:00:00",
    ],
)  # fmt: skip
def test_a_time_in_any_unit_and_spelling(tmp_path: Path, text: str) -> None:
    assert read_trades(written(tmp_path, f'time,price,qty\n"{text}",1,1\n'))["ts"].to_list() == [AT]


@pytest.mark.parametrize(
    ("text", "tz", "order", "expected"),
    [
        ("05.03.2024 12:00:00", "UTC", None, AT),
        ("05.03.2024 13:00", "Europe/Berlin", None, AT),
        ("05/03/2024 12:00", "UTC", "dmy", AT),
        ("03/05/2024 12:00", "UTC", "mdy", AT),
        ("03/05/2024 12:00 PM", "UTC", "mdy", AT),
        ("2024-03-05 13:00:00", "Europe/Berlin", None, AT),
        ("2024-03-05T12:00:00Z", "Europe/Berlin", None, AT),
    ],
)
def test_local_times_with_what_they_leave_out(
    tmp_path: Path, text: str, tz: str, order: DateOrder | None, expected: datetime
) -> None:
    options = ReadOptions(tz=tz, date_order=order)
    assert read_trades(written(tmp_path, f"time,price,qty\n{text},1,1\n"), None, options)["ts"].to_list() == [expected]


@pytest.mark.parametrize(
    ("times", "said"),
    [
        (["05/03/2024 12:00"], "--date-order"),
        (["05.03.2024 12:00"], "--tz"),
        (["25/03/2024 12:00"], "--tz"),
        (["1.70964E+12"], "spreadsheet"),
        (["1.70964E+09"], "spreadsheet"),
        (["2024-11-03 01:10:00", "2024-11-03 01:59:00", "2024-11-03 01:01:00", "2024-11-03 01:40:00"], "comes twice"),
        ([f"2024-11-03 0{hour}:{m:02}:00" for hour in (2, 1, 1, 0) for m in range(59, -1, -9)], "comes twice"),
        (["yesterday"], "column time: want a UTC time.*'yesterday'"),
    ],
)
def test_times_that_can_be_read_in_two_ways_or_none_are_refused(tmp_path: Path, times: list[str], said: str) -> None:
    lines = "".join(f"{each},1,1\n" for each in times)
    facts = inspect(written(tmp_path, "time,price,qty\n" + lines), PLAIN)
    assert pl.Series([facts["refused"]]).str.contains(said).item() and "\n" not in facts["refused"]


@pytest.mark.parametrize("moment", ["2024-11-03 01:10:00", "03.11.2024 01:10:00"])
def test_an_hour_that_comes_twice_in_its_zone_is_refused_and_one_left_out_is_bad(tmp_path: Path, moment: str) -> None:
    text = f"time,price,qty\n{moment.replace('01:', '00:')},1,1\n{moment},1,1\n"
    facts = inspect(written(tmp_path, text), ReadOptions(tz="America/New_York"))
    assert "line 3, column time: want a time that comes once" in facts["refused"]
    spring = text.replace("11-03 01:", "03-10 02:").replace("03.11.2024 01:", "10.03.2024 02:")
    facts = inspect(written(tmp_path, spring), ReadOptions(tz="America/New_York"))
    assert (facts["refused"], facts["reasons"]) == (None, {"bad_time": 1})


def test_a_wrong_zone_is_named(tmp_path: Path) -> None:
    with pytest.raises(RefusedFileError, match="--tz: no such time zone 'Berlin'"):
        read_trades(written(tmp_path, CSV), None, ReadOptions(tz="Berlin"))


def test_units_may_change_within_a_file(tmp_path: Path) -> None:
    text = "time,price,qty\n1735689599999,1,1\n1735689600000001,1,1\n"
    source = ForeignFile(written(tmp_path, text), "trade", PLAIN)
    (chunk,) = source.read(source.survey())
    assert not chunk.bad and chunk.good["ts"].dt.epoch("us").to_list() == [1735689599999000, 1735689600000001]


@pytest.mark.parametrize(
    ("column", "buy", "sell"),
    [
        ("side", "Buy", "SELL"), ("side", "b", "s"), ("ask_bid", "BID", "ASK"), ("is_buyer_maker", "false", "true"),
        ("isBuyerMaker", "False", "True"), ("m", "0", "1"), ("sell", "false", "true"), ("type", "0", "1"),
        ("type", "buy", "sell"), ("taker_side", "BUY", "SELL_ESTIMATED"), ("BuySell", "B", "S"),
    ],
)  # fmt: skip
def test_the_takers_side_in_every_form(tmp_path: Path, column: str, buy: str, sell: str) -> None:
    text = f"timestamp,price,amount,{column}\n1709640000,1,1,{buy}\n1709640001,1,1,{sell}\n"
    assert read_trades(written(tmp_path, text))["side"].to_list() == ["buy", "sell"]


@pytest.mark.parametrize("text", ["id,mts,amount,price\n{}\n{}\n", "{}\n{}\n", "[[{}],\n[{}]]"])
def test_bitfinex_tells_the_side_by_the_sign_of_the_quantity(tmp_path: Path, text: str) -> None:
    content = text.format("7,1709640000000,-2.5,10", "8,1709640001000,0.5,11")
    trades = read_trades(written(tmp_path, content))
    assert trades.select("side", "qty", "price").rows() == [("sell", 2.5, 10.0), ("buy", 0.5, 11.0)]


def test_an_unknown_side_is_bad_and_no_side_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    facts = inspect(written(tmp_path, CSV + "2024-03-05T12:00:02Z,1,1,up\n"), PLAIN)
    assert (facts["bad"], facts["reasons"]) == (1, {"bad_side": 1})
    read_trades(written(tmp_path, CSV.replace("buy", "").replace("sell", "")))
    assert "2 rows have no side" in caplog.text


TIED = [("1709640000", "10"), ("1709640000", "11"), ("1709640000", "12"), ("1709640001", "13")]


def prices_by_id(path: Path) -> list[float]:
    trades = read_trades(path)
    return trades.sort("trade_id")["price"].to_list()


def test_trades_without_ids_keep_the_order_they_happened_in(tmp_path: Path) -> None:
    oldest = written(tmp_path, "".join(f"{ts},{price},1\n" for ts, price in TIED), "oldest.csv")
    newest = written(tmp_path, "".join(f"{ts},{price},1\n" for ts, price in reversed(TIED)), "newest.csv")
    assert prices_by_id(oldest) == prices_by_id(newest) == [10.0, 11.0, 12.0, 13.0]
    assert sorted(ids_of(oldest)) == sorted(ids_of(newest)) and max(ids_of(oldest)) < 0
    assert inspect(newest, PLAIN)["order"] == "descending"


@pytest.mark.parametrize("newest_first", [False, True])
def test_ids_do_not_depend_on_how_a_file_is_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, newest_first: bool
) -> None:
    rows = [(1709640000 + i // 7, 10 + i) for i in range(100)]
    path = written(tmp_path, "".join(f"{ts},{price},1\n" for ts, price in (rows[::-1] if newest_first else rows)))
    whole = ids_of(path)
    monkeypatch.setattr("formats.tables.BLOCK_BYTES", 40)
    assert ids_of(path) == whole and len(set(whole)) == 100


def test_a_file_that_has_grown_keeps_its_ids(tmp_path: Path) -> None:
    lines = [f"{ts},{price},1\n" for ts, price in TIED]
    before, after = written(tmp_path, "".join(lines[:2]), "a.csv"), written(tmp_path, "".join(lines), "b.csv")
    assert ids_of(after)[:2] == ids_of(before)
    newest = written(tmp_path, "".join(lines[::-1]), "c.csv")
    assert ids_of(newest)[::-1][:2] == ids_of(before)


@pytest.mark.parametrize(
    ("ids", "kind"),
    [
        (["0", "0", "0"], "none"),
        (["5", "6", "7"], "dense"), (["7", "6", "5"], "dense"), (["5", "6", "9"], "sparse"), (["", "", ""], "none"),
        (["1.0", "2.0", "3.0"], "none"), (["48c8750d-d920-3f9f-0c2c-c701160307e6"] * 3, "none"),
    ],
)  # fmt: skip
def test_ids_are_dense_sparse_or_none(tmp_path: Path, ids: list[str], kind: str) -> None:
    lines = "".join(f"170964000{i},1,1,{each}\n" for i, each in enumerate(ids))
    assert inspect(written(tmp_path, "time,price,qty,id\n" + lines), PLAIN)["ids"] == kind


HEADERS: list[tuple[Kind, str, str]] = [
    ("trade", "bybit", "timestamp,symbol,side,size,price,tickDirection,trdMatchID,grossValue,homeNotional,"
     "foreignNotional\n1709640000.5,BTCUSDT,Buy,1,10.5,PlusTick,48c8750d-d920-3f9f-0c2c-c701160307e6,1,1,10"),
    ("trade", "kaiko", "id,exchange,symbol,date,price,amount,sell\n7,krkn,btcusd,1709640000000,10.5,1,true"),
    ("trade", "ccxt", "info,timestamp,datetime,symbol,id,order,type,side,takerOrMaker,price,amount,cost,fee\n"
     "\"{'a': 1, 'b': [1, 2]}\",1709640000000,2024-03-05T12:00:00.000Z,BTC/USD,7,,limit,buy,,10.5,1,10.5,"),
    ("trade", "freqtrade", ",timestamp,id,type,side,price,amount,cost\n0, 1709640000000,7,,  sell,10.5,1,10.5"),
    ("trade", "coinbase", "trade_id,side,size,price,time\n7,buy,1,10.5,2024-03-05T12:00:00.000Z"),
    ("trade", "bitstamp", "unixtime,price,amount,tid,type\n1709640000,10.5,1,7,0"),
    ("trade", "bitfinex", "id,mts,amount,price\n7,1709640000000,1,10.5"),
    ("bar", "binance klines", "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,"
     "taker_buy_quote_volume,ignore\n1709640000000,10,12,9,11,5,1709640059999,50,3,2,20,0"),
    ("trade", "binance trades", "1,10.5,1,10.5,1709640000000,True,True"),
    ("trade", "binance aggTrades", "1,10.5,1,5,6,1709640000000,True,True"),
    ("trade", "cryptoarchive", "1|10.5|1|1709640000000|0"),
    ("trade", "kraken time and sales", "1709640000.5,10.5,1"),
    ("trade", "kraken trades", "10.5,1,1709640000.5,s,m,,7"),
    ("bar", "binance klines", "1709640000000,10,12,9,11,5,1709640059999,50,3,2,20,0"),
    ("bar", "kraken bars", "1709640000,10,12,9,11,5,3"),
    ("bar", "kaiko bars", "1709640000000,3,10,12,9,11,5,10.6"),
    ("bar", "cryptoarchive", "1709640000|10|12|9|11|5|1|1|1|3"),
    ("trade", "okx", "instrument_name,trade_id,side,price,size,created_time\nBTC-USDT,1,buy,10.5,1,1709640000000"),
    ("trade", "coinapi", "time_exchange,time_coinapi,guid,price,base_amount,taker_side\n"
     "2024-03-05T12:00:00Z,2024-03-05T12:00:00Z,a-b,10.5,1,BUY"),
    ("trade", "bitmex", "timestamp,symbol,side,size,price,tickDirection,trdMatchID,grossValue,homeNotional,"
     "foreignNotional,trdType\n2024-03-05D12:00:00.0,XBTUSD,Buy,10,10.5,PlusTick,a-b,1,1,10,Regular"),
    ("quote", "tardis", "exchange,symbol,timestamp,local_timestamp,ask_amount,ask_price,bid_price,bid_amount\n"
     "kraken,XBT/USD,1709640000000000,1709640000000000,1,11,10,1"),
    ("bar", "cryptodatadownload", "Unix,Date,Symbol,Open,High,Low,Close,Volume BTC,Volume USDT\n"
     "1709640000000,2024-03-05 12:00:00,BTCUSDT,10,12,9,11,5,50"),
    ("bar", "kaggle", "Timestamp,Open,High,Low,Close,Volume_(BTC),Volume_(Currency),Weighted_Price\n"
     "1709640000,10,12,9,11,5,50,10"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "source", "text"), HEADERS)
def test_the_well_known_sources(tmp_path: Path, kind: Kind, source: str, text: str) -> None:
    facts = inspect(written(tmp_path, text + "\n"), PLAIN)
    assert facts.keys() == KEYS
    assert (facts["kind"], facts["source"], facts["rows"], facts["bad"]) == (f"{kind}s", source, 1, 0)
    assert facts["refused"] is None and facts["first"].startswith("2024-03-05T12:00:00")


@pytest.mark.parametrize("order", ["open high low close", "low high open close", "open close high low"])
@pytest.mark.parametrize("form", ["csv", "json"])
def test_prices_of_bars_without_a_header_are_told_by_high_and_low(tmp_path: Path, order: str, form: str) -> None:
    prices: list[dict[str, float]] = [
        {"open": 10, "high": 12, "low": 9, "close": 11},
        {"open": 11, "high": 11.5, "low": 8, "close": 9},
    ]
    rows = [[1709640000 + 60 * i, *(row[name] for name in order.split()), 5] for i, row in enumerate(prices)]
    text = json.dumps(rows) if form == "json" else "".join(",".join(map(str, row)) + "\n" for row in rows)
    assert read_bars(written(tmp_path, text)).select("open", "high", "low", "close").to_dicts() == prices


def test_a_minute_without_a_trade_is_a_row_and_not_bad(tmp_path: Path) -> None:
    text = "Timestamp,Open,High,Low,Close,Volume_(BTC)\n1709640000,10,12,9,11,5\n1709640060,NaN,NaN,NaN,NaN,NaN\n"
    facts = inspect(written(tmp_path, text), PLAIN)
    assert (facts["rows"], facts["bad"], facts["reasons"]) == (2, 0, {})
    assert len(read_bars(tmp_path / "file.csv")) == 1


def test_columns_can_be_named_by_hand(tmp_path: Path) -> None:
    path = written(tmp_path, "wann,kurs,menge\n1709640000,10.5,1\n", "named.csv")
    named = replace(PLAIN, columns=parse_columns("ts=wann,price=kurs,qty=menge"))
    assert read_trades(path, None, named)["price"].to_list() == [10.5]
    wrong = {"ts=when": "no such column; the file has wann, kurs, menge", "who=wann": "no such field"}
    for text, said in wrong.items():
        with pytest.raises(RefusedFileError, match=said):
            read_trades(path, None, replace(named, columns={**named.columns, **parse_columns(text)}))
    with pytest.raises(FatalError, match="want field=column"):
        parse_columns("wann")


def test_what_inspect_takes_backfill_and_evaluate_take(tmp_path: Path) -> None:
    path = written(tmp_path, "time,symbol,price,qty\n1709640000,XBT/USD,1,1\n")
    asked = ReadOptions(symbol="BTC/USD")
    assert "its symbols are XBT/USD; name one with --pair" in inspect(path, asked)["refused"]
    assert inspect(path, replace(asked, pair="XBT/USD"))["rows"] == 1
    bars = written(tmp_path, "ts,open,high,low,close,volume\n1709640000,1,1,1,1,1\n1709640000,1,1,1,1,1\n")
    assert "want each minute once" in inspect(bars, PLAIN)["refused"]


@pytest.mark.parametrize(
    "text",
    [
        "txid,ordertxid,pair,time,type,price,cost,fee,vol\nT,O,XXBTZUSD,2024-03-05 12:00:01,buy,1,1,1,1\n",
        "Date(UTC),OrderNo,Pair,Side,Order Price,Executed,Fee\n2024-03-05 12:00:00,1,BTCUSDT,BUY,1,1,0.1\n",
    ],
)
def test_an_accounts_own_fills_are_refused(tmp_path: Path, text: str) -> None:
    assert "not the market's trades" in inspect(written(tmp_path, text), PLAIN)["refused"]


def test_zeros_of_a_futures_dump_are_left_out_by_both(tmp_path: Path) -> None:
    path = written(tmp_path, CSV + "2024-03-05T12:00:02Z,10,0,buy\n")
    assert inspect(path, PLAIN)["reasons"] == {"zero_qty": 1}
    assert len(read_trades(path)) == 2


def test_bars_say_why_they_are_refused(tmp_path: Path) -> None:
    text = "ts,open,high,low,close,volume\n1709640000,10,9,9,11,1\n"
    with pytest.raises(RefusedFileError, match="line 2, column high: want at least low and close, got '9'"):
        read_bars(written(tmp_path, text))


def test_inspect_as_a_command_ends_with_3_when_a_file_is_refused(tmp_path: Path) -> None:
    good, bad = written(tmp_path, CSV, "good.csv"), written(tmp_path, "", "bad.csv")
    done = CliRunner().invoke(cli, ["inspect", str(good), "--json"])
    assert done.exit_code == 0
    assert json.loads(done.stdout)[str(good)]["sides"] == {"buy": 1, "sell": 1, "none": 0}
    done = CliRunner().invoke(cli, ["inspect", str(good), str(bad)])
    assert done.exit_code == 3
    assert done.stdout.splitlines()[-1].endswith("holds no rows: the file is empty; get it again")


def test_text_of_a_typed_file_that_is_no_utf8_is_refused(tmp_path: Path) -> None:
    offsets, text = pa.array([0, 2], pa.int32()).buffers()[1], pa.py_buffer(b"\xff\xfe")
    side = pa.Array.from_buffers(pa.utf8(), 1, [None, offsets, text])
    table = pa.table({"ts": [1709640000], "price": [1.0], "qty": [1.0], "side": side})
    with pa.ipc.new_file(tmp_path / "file.arrow", table.schema) as writer:
        writer.write_table(table)
    assert "cannot be read" in inspect(tmp_path / "file.arrow", PLAIN)["refused"]


def test_a_time_beyond_all_calendars_is_shown_as_a_number(tmp_path: Path) -> None:
    ts = pl.Series("ts", [2**62]).cast(pl.Datetime("us", "UTC"))
    pl.DataFrame({"ts": ts, "price": [1.0], "qty": [1.0]}).write_parquet(tmp_path / "file.parquet")
    assert f"got {2**62} µs since 1970" in inspect(tmp_path / "file.parquet", PLAIN)["refused"]
