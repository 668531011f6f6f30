"""A stranger's files: what is taken, and that an error names line, column and what was expected."""

import gzip
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import polars as pl
import pytest

from formats import frames as files
from lakehouse.errors import FatalError
from tests.support.recordings import Recordings


def csv(folder: Path, text: str) -> Path:
    path = folder / "file.csv"
    path.write_text(text)
    return path


def test_kraken_trades_are_read_from_every_recorded_shape(recordings: Recordings) -> None:
    names = ("anonymous_trades", "rest_trades", "ws_trades")
    found = {name: files.read_trades(getattr(recordings, name), "BTC/USD") for name in names}
    # Of the recording's symbols only the one asked for.
    ours = pl.read_csv(recordings.ws_trades).filter(pl.col("symbol") == "BTC/USD").height
    expected = {name: recordings.rows[name] for name in names} | {"ws_trades": ours}
    assert {name: len(frame) for name, frame in found.items()} == expected and ours >= 50
    assert all(frame["ts"].is_sorted() and frame["price"].min() > 0 for frame in found.values())  # type: ignore[operator]
    assert set(found["rest_trades"]["side"]) == {"buy", "sell"}


def test_trades_without_ids_get_negative_ones_that_rise(tmp_path: Path) -> None:
    path = csv(tmp_path, "ts,price,qty\n2026-01-01T00:00:00Z,1.5,2\n2026-01-01T00:00:01Z,1.6,1\n")
    first, second = files.read_trades(path)["trade_id"].to_list()
    assert first < second < 0


def test_a_repeated_trade_counts_once_and_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    line = "2026-01-01T00:00:00Z,1.5,2,7\n"
    assert len(files.read_trades(csv(tmp_path, "ts,price,qty,trade_id\n" + line * 2))) == 1
    assert "1 rows repeat a trade_id" in caplog.text


@pytest.mark.parametrize("ids", [["17", "17.0", ""], ["T17", "T18", "T19"], ["17.5", "18.5", "19.5"], ["", "", ""]])
def test_ids_that_are_no_whole_numbers_are_none(tmp_path: Path, ids: list[str]) -> None:
    lines = "".join(f"2026-01-01T00:00:00Z,1.5,2,{each}\n" for each in ids)
    found = files.read_trades(csv(tmp_path, "ts,price,qty,trade_id\n" + lines))["trade_id"].to_list()
    assert len(found) == 3 and found == sorted(set(found)) and found[-1] < 0


def test_float_ids_have_lost_digits_and_count_as_none(tmp_path: Path) -> None:
    frame = pl.DataFrame({"ts": [1561939200] * 3, "price": 1.5, "qty": 2.0, "trade_id": [17.0, 18.0, float("nan")]})
    frame.write_parquet(tmp_path / "file.parquet")
    assert (files.read_trades(tmp_path / "file.parquet")["trade_id"] < 0).all()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ts,price,qty\n2026-01-01T00:00:00Z,1.5,2\n2026-01-01T00:00:01Z,abc,1\n", r"line 3, column price.*'abc'"),
        ("ts,price,qty\n2026-01-01T00:00:00Z,-1,2\n", r"line 2, column price: want a number above 0"),
        ("ts,price,qty\nyesterday,1,2\n", r"line 2, column ts: want a UTC time.*'yesterday'"),
        ("ts,price,qty,side\n2026-01-01T00:00:00Z,1,2,up\n", r"line 2, column side: want buy or sell"),
        (
            "ts,price,qty,symbol\n1561939200,1,2,A/B\n1561939200,1,2,\n",
            r"line 3, column symbol: want a symbol, got None",
        ),
        ("ts,cost,qty\n2026-01-01T00:00:00Z,1,2\n", r"no column for trade field price.*ts, cost, qty"),
        ("ts,price,qty\n2026-01-01T00:00:00Z,1,2\n2026-01-01T00:00:00Z,1,2,3\n", r"line 3: want 3 columns, got 4"),
        ("ts,price,qty\n", r"no rows"),
        ("ts,price,qty\n1561939200,1,2\n\n0,1,2\n", r"line 4, column ts: want a UTC time.*from 2009 to now, got '0'"),
        (
            "ts,price,qty\n2026-01-01T00:00:00Z,1,2\n2999-01-01T00:00:00Z,1,2\n",
            r"line 3, column ts.*to now, got '2999",
        ),
        ("1561939200,1,2,3\n", r"cannot tell what its 4 columns are \(1561939200,1,2,3\)"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(FatalError, match=said):
        files.read_trades(csv(tmp_path, text))


def test_a_file_that_is_no_text_is_named_by_line(tmp_path: Path) -> None:
    path = tmp_path / "trades.csv"
    path.write_bytes(b"ts,price,qty\n1561939200,1,1\n\xff\xfe,1,1\n")
    with pytest.raises(FatalError, match=r"line 3, column ts: want a UTC time"):
        files.read_trades(path)


def test_each_time_is_read_in_its_own_unit(tmp_path: Path) -> None:
    text = "ts,price,qty\n1561939200.25,1,1\n1561939201000,1,1\n1561939202000000,1,1\n1561939203000000000,1,1\n"
    seconds = files.read_trades(csv(tmp_path, text))["ts"].dt.epoch("ms").to_list()
    assert seconds == [1561939200250, 1561939201000, 1561939202000, 1561939203000]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FatalError, match="no such file"):
        files.read_quotes(tmp_path / "none.parquet")


def test_a_crossed_quote_is_named(tmp_path: Path) -> None:
    with pytest.raises(FatalError, match="line 2, column bid: want a bid not above the ask"):
        files.read_quotes(csv(tmp_path, "ts,bid,ask\n2026-01-01T00:00:00Z,101,100\n"))


def test_several_symbols_must_be_chosen_from(tmp_path: Path) -> None:
    text = "ts,symbol,bid,ask\n2026-01-01T00:00:00Z,A/B,1,2\n2026-01-01T00:00:01Z,C/D,3,4\n"
    with pytest.raises(FatalError, match=r"choose one with --symbol: A/B, C/D$"):
        files.read_quotes(csv(tmp_path, text))
    assert files.read_quotes(csv(tmp_path, text), "C/D")["bid"].to_list() == [3.0]


def test_krakens_ohlcvt_has_no_header_and_counts_seconds(tmp_path: Path) -> None:
    bars = files.read_bars(csv(tmp_path, "1561939200,10,12,9,11,3.5,7\n1561939260,11,11,10,10.5,1,2\n"), "BTC/USD")
    assert bars["ts"].dt.to_string("%Y-%m-%dT%H:%M").to_list() == ["2019-07-01T00:00", "2019-07-01T00:01"]
    assert bars["close"].to_list() == [11.0, 10.5]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("1561939260,11,10,9,11,1,2", "line 2, column high: want at least low and close"),
        ("1561939261,11,11,10,10.5,1,2", "line 2, column ts: want the start of a minute"),
        ("1561939200,11,11,10,10.5,1,2", r"column ts: want each minute once, got 2019-07-01T00:00:00\+00:00"),
        ("1561939260,11,11,10,10.5", "line 2: want 7 columns, got 5"),
    ],
)
def test_a_bad_bar_is_named(tmp_path: Path, line: str, said: str) -> None:
    with pytest.raises(FatalError, match=said):
        files.read_bars(csv(tmp_path, f"1561939200,10,12,9,11,3.5,7\n{line}\n"))


def test_bars_of_several_symbols_are_chosen_from_before_minutes_are_compared(tmp_path: Path) -> None:
    lines = [f"{s},{1561939200 + 60 * i},10,12,9,11,3" for i in range(3) for s in ("A/B", "C/D")]
    path = csv(tmp_path, "\n".join(["symbol,ts,open,high,low,close,volume", *lines, "C/D,1561939320,10,12,9,11,3\n"]))
    assert files.read_bars(path, "A/B")["symbol"].to_list() == ["A/B"] * 3
    with pytest.raises(FatalError, match=r"choose one with --symbol: A/B, C/D$"):
        files.read_bars(path)
    with pytest.raises(FatalError, match="line 7, column ts: want each minute once"):
        files.read_bars(path, "C/D")


@pytest.mark.parametrize("step", [300, 3600])
def test_bars_of_another_length_are_refused(tmp_path: Path, step: int) -> None:
    lines = "".join(f"{1561939200 + step * i},10,12,9,11,3.5,7\n" for i in range(10))
    with pytest.raises(FatalError, match=f"column ts: want minute bars, successive rows are {step} s apart"):
        files.read_bars(csv(tmp_path, lines))


def test_minutes_may_be_missing(tmp_path: Path) -> None:
    lines = "".join(f"{1561939200 + 60 * i},10,12,9,11,3.5,7\n" for i in (0, 1, 4, 9, 10, 15, 18))
    assert len(files.read_bars(csv(tmp_path, lines))) == 7


@pytest.mark.parametrize("gap", ["", "\n", "\r\n"])
def test_a_file_without_header_is_known_by_its_first_number(tmp_path: Path, gap: str) -> None:
    text = gap + "1561939200,10,12,9,11,5e-05,7\n" + gap + "1561939260,11,11,10,10.5,1,2\n" + gap
    zipped = tmp_path / "bars.csv.gz"
    zipped.write_bytes(gzip.compress(text.encode()))
    for path in (csv(tmp_path, text), csv(tmp_path, "\ufeff" + text), zipped):
        assert files.read_bars(path)["volume"].to_list() == [5e-05, 1.0]


def test_a_packed_file_that_is_cut_short_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bars.csv.gz"
    path.write_bytes(gzip.compress(b"1561939200,10,12,9,11,5e-05,7\n" * 100)[:40])
    with pytest.raises(FatalError, match="cannot be read"):
        files.read_bars(path)


def test_krakens_time_and_sales_have_no_header(tmp_path: Path) -> None:
    trades = files.read_trades(csv(tmp_path, "1561939200.25,10,0.5\n1561939201,11,1\n"), "BTC/USD")
    assert trades["price"].to_list() == [10.0, 11.0] and trades["qty"].to_list() == [0.5, 1.0]
    with pytest.raises(
        FatalError, match=r"cannot tell what its 3 columns are \(1561939200,10,11\); it looks like trades"
    ):
        files.read_quotes(csv(tmp_path, "1561939200,10,11\n"))


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("ts", date(2026, 1, 5), "column ts holds Date, want times of day and date"),
        ("ts", time(1, 2), "column ts holds Time, want times of day and date"),
        ("price", [1.0], r"column price holds List\(Float64\), want numbers"),
        ("price", {"price": 1.0}, r"column price holds Struct.*, want numbers"),
        ("qty", True, "column qty holds Boolean, want numbers"),
        ("trade_id", [17], r"column trade_id holds List\(Int64\), want whole numbers"),
    ],
)
def test_a_column_of_another_type_is_refused(tmp_path: Path, column: str, value: object, said: str) -> None:
    row = {"ts": datetime(2026, 1, 5, tzinfo=UTC), "price": 1.0, "qty": 1.0, "trade_id": 17, column: value}
    pl.DataFrame([row]).write_parquet(tmp_path / "file.parquet")
    with pytest.raises(FatalError, match=said):
        files.read_trades(tmp_path / "file.parquet")


def test_a_bar_arrives_at_its_close(tmp_path: Path) -> None:
    bars = files.read_bars(csv(tmp_path, "1561939200,10,12,9,11,3.5,7\n"), "BTC/USD")
    events, closes = files.bar_events(bars)
    assert events["price"].to_list() == [12.0, 9.0, 11.0]
    assert events["ts"].is_sorted() and events["ts"][-1] == bars["ts"][0] + timedelta(minutes=1)
    assert closes["price"].to_list() == [11.0] and events["qty"].sum() == 3.5


def test_bars_without_any_trade_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FatalError, match="column volume: want a minute with a trade"):
        files.read_bars(csv(tmp_path, "1561939200,10,12,9,11,0,0\n"))
