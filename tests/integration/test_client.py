"""The client and its page: every example in docs/client.md runs against a real QuestDB, and reads what was written."""

import os
import re
import shlex
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import polars as pl
import pytest

from downstream.client import Client
from features.table import SILVER
from lakehouse.errors import FatalError
from lakehouse.schema import BRONZE_TRADES, TABLES
from lakehouse.settings import Settings
from lakehouse.stores.questdb import QuestDB
from lakehouse.views import views
from stack.envfile import child_environment
from stack.supervision.process import TRADELAKE
from tests.integration.lakes import eventually

DOCS = Path(__file__).parents[2] / "docs" / "client.md"
NOW = datetime.now(UTC).replace(microsecond=0)


@pytest.fixture
def filled(fresh_lake: Settings) -> Settings:
    """A lake with twenty minutes of trades."""
    database = QuestDB(fresh_lake)
    database.migrate([*TABLES, SILVER], views(fresh_lake.feature_interval_ms))
    ts = [NOW - timedelta(seconds=s) for s in range(1200, 0, -1)]
    columns = {"ts": ts, "received_at": ts, "symbol": "BTC/USD", "trade_id": range(1200), "price": 100.0, "qty": 1.0}
    frame = pl.DataFrame(columns | {"source": "sim", "origin": "live", "epoch": 1, "seq": range(1200)})
    database.write(BRONZE_TRADES, frame)
    # Materialized views follow their base a moment later.
    for view in ("gold_ohlc_1m", "gold_ohlc_5m"):
        count = f"SELECT sum(trades) FROM {view}"
        eventually(partial(_is, database, count, 1200), timeout_s=60)
    return fresh_lake


def _is(database: QuestDB, sql: str, value: int) -> bool:
    return bool(database.rows(sql)[0][0] == value)


def _examples(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", DOCS.read_text(), re.DOTALL)


def test_the_python_examples_run(filled: Settings) -> None:
    code = "\n".join(_examples("python")) + "\nassert candles.height >= 4 and candles['volume'].sum() == 1200\n"
    subprocess.run([sys.executable, "-c", code], env=os.environ | child_environment(filled), check=True, timeout=120)


def test_the_shell_examples_run(filled: Settings, tmp_path: Path) -> None:
    for line in _examples("sh")[0].splitlines():
        command = [*TRADELAKE, *shlex.split(line)[1:]]
        subprocess.run(command, env=os.environ | child_environment(filled), cwd=tmp_path, check=True, timeout=120)
    assert pl.read_parquet(tmp_path / "forecasts.parquet").columns[:2] == ["ts", "symbol"]


def test_spans_include_their_start_and_not_their_end(filled: Settings) -> None:
    start = (NOW - timedelta(minutes=10)).replace(second=0)
    with Client(filled) as lake:
        found = lake.ohlc("BTC/USD", start, start + timedelta(minutes=3))
        assert found["ts"].to_list() == [start + timedelta(minutes=m) for m in range(3)]
        naive = lake.ohlc("BTC/USD", start.replace(tzinfo=None), (start + timedelta(minutes=3)).replace(tzinfo=None))
        assert naive.equals(found)
        assert lake.features("NO'/SUCH", start, NOW).is_empty()
        with pytest.raises(FatalError, match="1m, 5m"):
            lake.ohlc("BTC/USD", start, NOW, interval="2m")
