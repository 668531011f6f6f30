"""Rebuilt rows equal live ones, replace incomplete ones for training, and count only when their run is whole."""

import itertools
import signal
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from features.engine import EngineState, fold
from features.spec import NAMES, spec_hash
from features.table import SILVER
from ingestion.consumer.silver_refresher import SilverRefresher
from ingestion.silver import rebuild as rebuilding
from ingestion.silver.engine_config import engine_config
from ingestion.silver.rebuild import rebuild, rebuild_between, span
from ingestion.silver.stale_rows import renew
from lakehouse.errors import FatalError, RetryableError
from lakehouse.messages import EVENT_SCHEMA
from lakehouse.records import Event, Gap, Quote, Trade
from lakehouse.schema import META_RUNS, Table
from lakehouse.settings import Settings
from lakehouse.stores import bronze
from lakehouse.stores.questdb import QuestDB
from tests.integration.consuming import START, consuming, market, migrated, send, table, wait_done
from tests.integration.lakes import eventually
from tradelake.interruption import InterruptedCommand

SYMBOL = "BTC/USD"


@pytest.fixture
def settings(fresh_lake: Settings) -> Settings:
    """A lake that has consumed 1200 events of one symbol, over four minutes."""
    migrated(fresh_lake)
    send(fresh_lake, market(SYMBOL, 1200))
    with consuming(fresh_lake) as errors:
        wait_done(fresh_lake)
    assert not errors
    return fresh_lake


def training(questdb: QuestDB) -> list[tuple[str, int, int]]:
    """(origin, run, rows) of the view."""
    query = "SELECT origin, run, count() FROM silver_training GROUP BY origin, run ORDER BY origin, run"
    return [tuple(row) for row in questdb.rows(query)]


def test_rebuilding_in_order_gives_the_live_rows(settings: Settings) -> None:
    questdb = QuestDB(settings)
    live = table(settings, "silver_features", "ts")
    first, last = span(questdb, SYMBOL)
    written = rebuild(questdb, engine_config(settings, questdb), SYMBOL, first, last)
    made = table(settings, "silver_features", "ts").filter(pl.col("origin") == "rebuilt")
    assert written == made.height == live.height
    same = ["ts", "symbol", "spec", "epoch", "seq", "complete", *NAMES]
    assert made.select(same).equals(live.select(same))


def blinded(events: list[Event]) -> list[Event]:
    """The events without some seconds of quotes, marked as the producer does: at the last one before and the next."""
    quotes = [event for event in events if isinstance(event, Quote)]
    last, back = quotes[50], quotes[100]
    found: list[Event] = []
    for event in events:
        if isinstance(event, Quote) and last.ts < event.ts < back.ts:
            continue
        if event is back:
            found.append(Gap(SYMBOL, "ticker", back.ts, back.received_at, "reset: over"))
        found.append(event)
        if event is last:
            found.append(Gap(SYMBOL, "ticker", last.ts, back.received_at, "reset"))
    return found


def test_quotes_out_of_sight_are_so_in_rebuilt_rows_too(settings: Settings) -> None:
    questdb = QuestDB(settings)
    send(settings, blinded(market(SYMBOL, 400, 1200)))
    with consuming(settings):
        wait_done(settings)
    live = table(settings, "silver_features", "ts")
    blind = live.filter(pl.col("ts") > START + timedelta(minutes=4), pl.col("bid").is_null())
    assert blind.height > 15
    rebuild(questdb, engine_config(settings, questdb), SYMBOL, *span(questdb, SYMBOL))
    made = table(settings, "silver_features", "ts").filter(pl.col("origin") == "rebuilt")
    same = ["ts", "complete", *NAMES]
    assert made.select(same).equals(live.select(same))


def test_a_span_is_rebuilt_with_its_lead_in(settings: Settings) -> None:
    questdb = QuestDB(settings)
    live = table(settings, "silver_features", "ts")
    since, until = START + timedelta(minutes=2), START + timedelta(minutes=3)
    rebuild(questdb, engine_config(settings, questdb), SYMBOL, since, until)
    made = table(settings, "silver_features", "ts").filter(pl.col("origin") == "rebuilt")
    expected = live.filter((pl.col("ts") >= since) & (pl.col("ts") < until))
    assert made.select("ts", *NAMES).equals(expected.select("ts", *NAMES))
    with pytest.raises(FatalError, match="empty span"):
        rebuild_between(settings, SYMBOL, until, since)
    assert rebuild_between(settings, SYMBOL, since, until) == {"rows": expected.height}


def test_the_newest_whole_run_is_trained_on_where_live_rows_are_incomplete(settings: Settings) -> None:
    questdb = QuestDB(settings)
    config = engine_config(settings, questdb)
    first, last = span(questdb, SYMBOL)
    rows = table(settings, "silver_features").height
    assert training(questdb) == []
    rebuild(questdb, config, SYMBOL, first, last)
    half = first + (last - first) / 2
    rebuild(questdb, config, SYMBOL, half, last)
    (_, older, kept), (_, newer, new) = training(questdb)
    assert older < newer
    assert kept + new == rows
    assert abs(kept - new) <= 2
    # A complete live row of the same interval goes before both.
    served = table(settings, "silver_features", "ts").filter(pl.col("run") == newer)[:1]
    questdb.write(SILVER, served.with_columns(origin=pl.lit("live"), run=pl.lit(0, pl.Int64), complete=True))
    questdb.wait_applied([SILVER.name])
    assert training(questdb) == [("live", 0, 1), ("rebuilt", older, kept), ("rebuilt", newer, new - 1)]


def test_an_interrupted_run_is_not_seen(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    questdb = QuestDB(settings)
    write = questdb.write

    def dies(to: Table, frame: pl.DataFrame) -> None:
        if to is META_RUNS:
            raise RetryableError("QuestDB went away")
        write(to, frame)

    monkeypatch.setattr(questdb, "write", dies)
    first, last = span(questdb, SYMBOL)
    with pytest.raises(RetryableError):
        rebuild(questdb, engine_config(settings, questdb), SYMBOL, first, last)
    assert table(settings, "silver_features").filter(pl.col("origin") == "rebuilt").height > 0
    assert training(questdb) == []


def test_what_a_stopped_rebuild_has_published_stays(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    questdb = QuestDB(settings)
    config = engine_config(settings, questdb)
    first, last = span(questdb, SYMBOL)
    monkeypatch.setattr(bronze, "PIECE_ROWS", 1)
    monkeypatch.setattr(rebuilding, "RUN_PIECES", 1)
    reached: list[datetime] = []

    def stopping(until: datetime) -> None:
        reached.append(until)
        if len(reached) == 2:
            raise InterruptedCommand(signal.SIGTERM)

    with pytest.raises(InterruptedCommand):
        rebuild(questdb, config, SYMBOL, first, last, published=stopping)
    live = table(settings, "silver_features", "ts").filter(pl.col("origin") == "live")
    before = live.filter(pl.col("ts") < reached[-1]).height
    assert 0 < sum(rows for _, _, rows in training(questdb)) == before < live.height
    assert rebuild(questdb, config, SYMBOL, reached[-1], last) == live.height - before
    assert sum(rows for _, _, rows in training(questdb)) == live.height


def test_small_pieces_change_nothing(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    questdb = QuestDB(settings)
    first, last = span(questdb, SYMBOL)
    monkeypatch.setattr(bronze, "PIECE_ROWS", 3)
    config = engine_config(settings, questdb)
    rebuild(questdb, config, SYMBOL, first, last)
    made = table(settings, "silver_features", "ts").filter(pl.col("origin") == "rebuilt")
    events = bronze.events(questdb, "symbol = 'BTC/USD'").select(list(EVENT_SCHEMA)).sort("ts")
    expected = fold(EngineState.empty(config), events)[1]
    assert made["seq"].equals(expected["seq"])
    assert made.select(NAMES).fill_null(float("nan")).equals(expected.select(NAMES))


def test_a_new_definition_gets_rows_of_its_own(settings: Settings) -> None:
    questdb = QuestDB(settings)
    finer = settings.model_copy(update={"feature_interval_ms": 500})
    config = engine_config(finer, questdb)
    first, last = span(questdb, SYMBOL)
    rebuild(questdb, config, SYMBOL, first, last)
    counts = dict(questdb.rows("SELECT spec, count() FROM silver_features GROUP BY spec"))
    assert set(counts) == {spec_hash(config), spec_hash(engine_config(settings, questdb))}
    assert counts[spec_hash(config)] > counts[spec_hash(engine_config(settings, questdb))]


def test_rows_of_an_earlier_definition_are_made_anew_once(settings: Settings) -> None:
    questdb = QuestDB(settings)
    config = engine_config(settings.model_copy(update={"feature_interval_ms": 500}), questdb)
    assert renew(questdb, config, SYMBOL, START + timedelta(hours=1)) > 0
    questdb.wait_applied(["silver_features", "meta_runs"])
    live, made = questdb.rows("SELECT min(ts), max(ts) FROM silver_features GROUP BY spec, origin")
    assert live == made
    assert renew(questdb, config, SYMBOL, START + timedelta(hours=1)) == 0


def test_late_trades_take_their_place(settings: Settings) -> None:
    questdb = QuestDB(settings)
    ts = START + timedelta(seconds=100.5)
    late = Trade(SYMBOL, 5_000, 500.0, 9.0, "buy", "limit", ts, ts + timedelta(minutes=10), "rest")
    send(settings, [late])
    with consuming(settings):
        wait_done(settings)
    first, last = span(questdb, SYMBOL)
    rebuild(questdb, engine_config(settings, questdb), SYMBOL, first, last)
    at = f"ts >= '{START + timedelta(seconds=101):%Y-%m-%dT%H:%M:%S.%f}Z' LIMIT 1"
    tops = {
        origin: questdb.rows(f"SELECT max_1m FROM silver_features WHERE origin = '{origin}' AND {at}")[0][0]
        for origin in ("live", "rebuilt")
    }
    assert tops["rebuilt"] == 500.0
    assert tops["live"] < 200.0


def test_rows_served_without_a_late_trade_are_made_anew_once(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingestion.silver.stale_rows.LOOK_BACK", datetime.now(UTC) - START + timedelta(hours=1))
    questdb = QuestDB(settings)
    # A gap stands in the place of a trade now and then: numbered anew, so that only the one below is missing.
    ids = itertools.count(1)
    events = [replace(e, trade_id=next(ids)) if isinstance(e, Trade) else e for e in market("ETH/USD", 600)]
    missed = next(event for event in events[200:] if isinstance(event, Trade))
    late = replace(missed, received_at=missed.ts + timedelta(minutes=10), source="rest")
    for batch in ([event for event in events if event is not missed], [late]):
        send(settings, batch)
        with consuming(settings):
            wait_done(settings)
    stop = threading.Event()
    threading.Thread(target=SilverRefresher(settings, lambda: ["ETH/USD"], stop).run, args=(0.2,), daemon=True).start()
    ((written,),) = eventually(lambda: questdb.rows('SELECT "rows" FROM meta_runs'))
    rows = table(settings, "silver_features", "ts").filter(pl.col("symbol") == "ETH/USD")
    live, made = (rows.filter(pl.col("origin") == origin) for origin in ("live", "rebuilt"))
    assert written == made.height == live.height
    assert made["trades_1m"][-1] == live["trades_1m"][-1]
    after = pl.col("ts").is_between(missed.ts, missed.ts + timedelta(seconds=9))
    assert made.filter(after)["trades_10s"].to_list() == [n + 1 for n in live.filter(after)["trades_10s"]]
    assert renew(questdb, engine_config(settings, questdb), "ETH/USD", datetime.now(UTC)) == 0
    stop.set()
