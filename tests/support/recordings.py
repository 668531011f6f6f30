"""Recorded markets for tests: a small sample in tests/data, and the larger real recordings where they lie beside us."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_TESTS = Path(__file__).resolve().parents[1]
_REAL = _TESTS.parents[1] / "shared" / "data"


@dataclass(frozen=True, slots=True)
class Recordings:
    """One market's files.

    Attributes:
        trades, quotes: BTC/USD with dense trade ids, Parquet.
        sparse_trades: BTC/JPY with gaps between the trade ids, Parquet.
        bars: one-minute bars, Parquet.
        anonymous_trades: a CSV of trades without ids.
        rest_trades, ws_trades, ws_quotes: CSVs of what Kraken's REST and WebSocket sent.
        rows: how many rows each file has, counted when it was recorded.
    """

    trades: Path
    quotes: Path
    sparse_trades: Path
    bars: Path
    anonymous_trades: Path
    rest_trades: Path
    ws_trades: Path
    ws_quotes: Path
    rows: Mapping[str, int]


def _sample() -> Recordings:
    folder = _TESTS / "data"
    rows = {"trades": 2_400, "quotes": 2_400, "sparse_trades": 800, "bars": 3_000}
    csvs = ("anonymous_trades", "rest_trades", "ws_trades", "ws_quotes")
    return Recordings(
        **{name: folder / f"{name}.parquet" for name in rows},
        **{name: folder / f"{name}.csv" for name in csvs},
        rows=rows | {"anonymous_trades": 400, "rest_trades": 400, "ws_trades": 200, "ws_quotes": 20},
    )


def _real() -> Recordings:
    kraken = _REAL / "kraken"
    return Recordings(
        trades=_REAL / "trades_standx_btcusd_2026-01-05_06.parquet",
        quotes=_REAL / "quotes_standx_btcusd_2026-01-05_06.parquet",
        sparse_trades=_REAL / "trades_bitflyer_btcjpy_2018-01-20_26.parquet",
        bars=_REAL / "bars1m_binance_spot_btcusdt_2021-04-20_2021-05-20.parquet",
        anonymous_trades=kraken / "kraken_btcusd_trades_2019-07-01.csv",
        rest_trades=kraken / "kraken_xbtusdt_trades_2025-11-10.csv",
        ws_trades=kraken / "v2_trades_btcusd_2024-11-12.csv",
        ws_quotes=kraken / "v2_ticker_dogeusd_2024-11-11.csv",
        rows={
            "trades": 168_462,
            "quotes": 273_553,
            "sparse_trades": 850_051,
            "bars": 42_915,
            "anonymous_trades": 2_672,
            "rest_trades": 1_000,
            "ws_trades": 200,
            "ws_quotes": 5,
        },
    )


SAMPLE = _sample()
# By name; a test that takes them all runs on the sample everywhere.
RECORDINGS = {"sample": SAMPLE} | ({"real": _real()} if _REAL.is_dir() else {})
