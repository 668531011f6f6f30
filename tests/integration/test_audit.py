"""The lake's ledger, asked by the producer: every hole that is left in bronze is found, with the trades around it."""

from datetime import UTC, datetime, timedelta

import polars as pl

from ingestion.completeness.id_gaps import Hole
from ingestion.completeness.ledger_gaps import open_holes
from ingestion.migrate import migrate
from lakehouse.schema import BRONZE_TRADES
from lakehouse.settings import Settings
from lakehouse.stores import kafka
from lakehouse.stores.questdb import QuestDB
from tests.integration.lakes import eventually

START = datetime(2026, 9, 25, tzinfo=UTC)
MISSING = {*range(12, 15), *range(58, 63), *range(100, 400), 450}


def at(trade_id: int) -> datetime:
    """A trade each second."""
    return START + timedelta(seconds=trade_id)


def test_holes_within_minutes_between_them_and_over_many(fresh_lake: Settings) -> None:
    questdb = QuestDB(fresh_lake)
    migrate(fresh_lake, questdb, kafka.admin(fresh_lake))
    ids = [i for i in range(1, 500) if i not in MISSING]
    rows = {
        "ts": [at(i) for i in ids],
        "received_at": [at(i) for i in ids],
        "symbol": ["BTC/USD"] * len(ids),
        "trade_id": ids,
        "price": [1.0] * len(ids),
        "qty": [1.0] * len(ids),
        "source": ["sim"] * len(ids),
        "origin": ["live"] * len(ids),
        "epoch": [1] * len(ids),
        "seq": ids,
    }
    time = pl.Datetime("us", "UTC")
    questdb.write(BRONZE_TRADES, pl.DataFrame(rows, schema_overrides={"ts": time, "received_at": time}))
    wanted = [
        Hole(first, last, at(first - 1), at(last + 1), 0.0)
        for first, last in ((12, 14), (58, 62), (100, 399), (450, 450))
    ]
    eventually(lambda: sorted(open_holes(questdb, "BTC/USD"), key=lambda hole: hole.first) == wanted, 60.0)
    assert open_holes(questdb, "ETH/USD") == []
    questdb.close()
