"""The ledger of completeness on a real server: holes inside and between minutes, doubles, sources, sparse symbols."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from ingestion.completeness.ledger_gaps import open_holes
from ingestion.consumer.warm_up import held_ids
from lakehouse.ledger import Summary, summaries
from lakehouse.schema import BRONZE_TRADES, META_SYMBOLS
from lakehouse.settings import Settings
from lakehouse.stores.questdb import QuestDB
from tests.integration.consuming import migrated
from tests.integration.lakes import eventually

NOON = datetime(2026, 9, 1, 12, 0, tzinfo=UTC)


@pytest.fixture
def questdb(fresh_lake: Settings) -> QuestDB:
    """An emptied QuestDB with every table and view."""
    return QuestDB(migrated(fresh_lake))


def put(questdb: QuestDB, symbol: str, *trades: tuple[int, float], source: str = "ws") -> None:
    """Writes trades given as (id, seconds after noon)."""
    rows = [
        {"ts": NOON + timedelta(seconds=at), "symbol": symbol, "trade_id": number, "price": 1.0, "qty": 1.0}
        | {"received_at": NOON, "source": source, "origin": "live", "epoch": 1, "seq": number}
        for number, at in trades
    ]
    times = dict.fromkeys(("ts", "received_at"), pl.Datetime("us", "UTC"))
    questdb.write(BRONZE_TRADES, pl.DataFrame(rows, schema_overrides=times))


def ledger(questdb: QuestDB, symbol: str, trades: int) -> list[tuple[int | None, int | None, int | None, int, bool]]:
    """Per minute: first id, holes inside, holes before, doubles, complete; once the view has that many trades."""
    columns = "first_id, holes_inside, holes_before, doubles, complete"

    def current() -> bool:
        total = questdb.rows("SELECT sum(trades) FROM bronze_completeness WHERE symbol = %s", (symbol,))
        return bool(total and total[0][0] == trades)

    eventually(current)
    query = f"SELECT {columns} FROM bronze_completeness WHERE symbol = %s ORDER BY ts"
    return [tuple(row) for row in questdb.rows(query, (symbol,))]


def test_dense_minutes_are_complete(questdb: QuestDB) -> None:
    put(questdb, "BTC/USD", (1, 0), (2, 10), (3, 61), (4, 62), (5, 200))
    assert ledger(questdb, "BTC/USD", 5) == [(1, 0, 0, 0, True), (3, 0, 0, 0, True), (5, 0, 0, 0, True)]


def test_a_hole_inside_a_minute_spoils_that_minute(questdb: QuestDB) -> None:
    put(questdb, "BTC/USD", (1, 0), (2, 61), (5, 65), (6, 121))
    assert ledger(questdb, "BTC/USD", 4) == [(1, 0, 0, 0, True), (2, 2, 0, 0, False), (6, 0, 0, 0, True)]
    assert held_ids(questdb, "BTC/USD").holes() == [(3, 4)]


def test_a_hole_between_minutes_spoils_both(questdb: QuestDB) -> None:
    put(questdb, "BTC/USD", (1, 0), (2, 30), (5, 65), (6, 121))
    assert ledger(questdb, "BTC/USD", 4) == [(1, 0, 0, 0, False), (5, 0, 2, 0, False), (6, 0, 0, 0, True)]


def test_refilling_heals_the_ledger(questdb: QuestDB) -> None:
    put(questdb, "BTC/USD", (1, 0), (2, 30), (5, 65))
    ledger(questdb, "BTC/USD", 3)
    put(questdb, "BTC/USD", (3, 40), (4, 64), source="rest")
    assert ledger(questdb, "BTC/USD", 5) == [(1, 0, 0, 0, True), (4, 0, 0, 0, True)]
    assert summaries(questdb) == [Summary("BTC/USD", 2, 2, 5, 0, 0, {"ws": 3, "rest": 2, "file": 0, "sim": 0})]


def test_an_id_a_microsecond_over_the_edge_is_no_hole(questdb: QuestDB) -> None:
    # REST stamps trade 3 just past the minute, its neighbour 4 came by WebSocket just before.
    put(questdb, "BTC/USD", (1, 0), (2, 10), (4, 59.999999), (3, 60.0), (5, 70))
    assert [row[-1] for row in ledger(questdb, "BTC/USD", 5)] == [True, True]
    assert summaries(questdb)[0].missing == 0


@pytest.mark.parametrize("at", [10.000001, 70.0])
def test_a_double_is_seen_in_the_same_minute_and_across(questdb: QuestDB, at: float) -> None:
    put(questdb, "BTC/USD", (1, 0), (2, 10), (3, 65))
    put(questdb, "BTC/USD", (2, at), source="rest")
    found = ledger(questdb, "BTC/USD", 4)
    assert summaries(questdb)[0].doubles >= 1
    assert not all(row[-1] for row in found)


def test_sparse_ids_are_judged_by_doubles_alone(questdb: QuestDB) -> None:
    row = {"ts": [NOON], "symbol": ["BTC/JPY"], "dense": [False]}
    questdb.write(META_SYMBOLS, pl.DataFrame(row, schema_overrides={"ts": pl.Datetime("us", "UTC")}))
    questdb.wait_applied([META_SYMBOLS.name])
    put(questdb, "BTC/JPY", (10, 0), (90, 1), (400, 61), (-5, 62), source="file")
    assert ledger(questdb, "BTC/JPY", 4) == [(10, None, None, 0, True), (400, None, None, 0, True)]
    assert summaries(questdb)[0].missing is None


def test_a_minute_without_ids_hides_no_hole(questdb: QuestDB) -> None:
    put(questdb, "BTC/USD", *((number, number) for number in range(1, 11)), *((number, 120) for number in (21, 22)))
    put(questdb, "BTC/USD", (-1, -60), (-2, 61), (-3, 62), (-4, 185), source="file")
    put(questdb, "BTC/USD", (23, 240), (24, 310))
    put(questdb, "BTC/USD", (-5, 400), source="file")
    assert ledger(questdb, "BTC/USD", 19) == [
        (None, None, 0, 0, True),
        (1, 0, 0, 0, False),
        (None, None, 0, 0, False),
        (21, 0, 10, 0, False),
        (None, None, 0, 0, True),
        (23, 0, 0, 0, True),
        (24, 0, 0, 0, True),
        (None, None, 0, 0, True),
    ]
    assert summaries(questdb)[0].missing == 10
    assert [(hole.first, hole.last) for hole in open_holes(questdb, "BTC/USD")] == [(11, 20)]


def test_ids_in_the_wrong_minute_are_no_hole_beside_a_minute_without_ids(questdb: QuestDB) -> None:
    put(questdb, "BTC/USD", (1, 0), (2, 10), (4, 59), (3, 120), (5, 130))
    put(questdb, "BTC/USD", (-1, 61), source="file")
    assert [row[-1] for row in ledger(questdb, "BTC/USD", 6)] == [True] * 3
    assert summaries(questdb)[0].missing == 0


def test_a_file_without_ids_alone_has_complete_minutes(questdb: QuestDB) -> None:
    put(questdb, "BTC/EUR", (-1, 0), (-2, 61), (-3, 200), source="file")
    assert ledger(questdb, "BTC/EUR", 3) == [(None, None, 0, 0, True)] * 3


def test_what_is_held_is_read_back_exactly(questdb: QuestDB) -> None:
    dense = [(number, number * 30.0) for number in range(1, 400)]
    ragged = [(number, number * 30.0) for number in range(1000, 1600, 3)]
    put(questdb, "BTC/USD", *dense, *ragged, (-7, 5.0))
    questdb.wait_applied([BRONZE_TRADES.name])
    spans = list(held_ids(questdb, "BTC/USD"))
    assert spans[:2] == [(-7, -7), (1, 399)]
    assert spans[2:] == [(number, number) for number, _ in ragged]
