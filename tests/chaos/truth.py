"""The comparison: bronze and silver against the simulated market's own ledger and against Kafka's log."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import numpy as np
import polars as pl
from confluent_kafka import TopicPartition

from features.engine import EngineState, fold
from features.spec import NAMES
from ingestion.kafka_log.batches import read
from ingestion.kafka_log.delivery import by_topic
from ingestion.silver.engine_config import engine_config
from ingestion.simulator.market import Market
from lakehouse.errors import LakeError
from lakehouse.messages import EVENT_SCHEMA
from lakehouse.settings import EVENTS_TOPIC, Settings
from lakehouse.stores import bronze, kafka
from lakehouse.stores.kafka_reading import whole
from lakehouse.stores.questdb import QuestDB
from tests.chaos.told import Inflicted
from tests.chaos.views import wrong_candles

QUOTE_FIELDS = ["symbol", "seq", "ts", "bid", "bid_qty", "ask", "ask_qty", "last", "volume", "vwap"]
GAP_FIELDS = ["symbol", "seq", "ts", "stream", "reason"]
# REST's exchange time of a trade is up to about a microsecond later than the WebSocket's.
TIME_SKEW = timedelta(microseconds=2)
# A frame that another one overtook may be lost with the connection: it is a little older than the last that came.
OVERTAKEN = timedelta(seconds=1)


@dataclass
class Verdict:
    """What was found; every count should be 0, but for ``events`` and ``out_of_sight`` (quotes missed within gaps)."""

    events: int = 0
    out_of_sight: int = 0
    trades_lost: int = 0
    trades_doubled: int = 0
    trades_wrong: int = 0
    quotes_lost: int = 0
    quotes_doubled: int = 0
    quotes_wrong: int = 0
    gaps_missing: int = 0
    silver_lost: int = 0
    silver_doubled: int = 0
    silver_wrong: int = 0
    candles_wrong: int = 0
    notes: list[str] = field(default_factory=list)

    def sums(self) -> dict[str, int]:
        """Lost, doubled and wrong over all tables, and absences that no gap marks."""
        tables, kinds = ("trades", "quotes", "silver"), ("lost", "doubled", "wrong")
        counts = {kind: sum(getattr(self, f"{table}_{kind}") for table in tables) for kind in kinds}
        counts["wrong"] += self.candles_wrong
        return counts | {"unmarked": self.gaps_missing}


def market_of(settings: Settings) -> Market:
    """The market that the simulator shows under these settings."""
    genesis = datetime.fromisoformat(settings.simulator_genesis)
    return Market(settings.simulator_seed, settings.simulator_events_per_s, genesis)


def expected_trades(market: Market, symbol: str, first_id: int, start: datetime, end: datetime) -> pl.DataFrame:
    """What the market traded from ``first_id`` to ``end``."""
    columns = market.trades(symbol, start, end).columns(market.pairs[symbol])
    frame = pl.DataFrame(columns).with_columns(pl.col("ts").dt.replace_time_zone("UTC"))
    return frame.filter(pl.col("trade_id") >= first_id)


def time_for(settings: Settings, start: datetime, events: int) -> float:
    """Seconds that the market takes from ``start`` for so many events of all symbols."""
    market, minutes = market_of(settings), 0
    while events > 0:
        begin = start + timedelta(minutes=minutes)
        span = begin, begin + timedelta(minutes=1)
        made = sum(len(market.trades(s, *span)) + len(market.quotes(s, *span)) for s in settings.symbols)
        if made >= events:
            return 60.0 * (minutes + events / made)
        events, minutes = events - made, minutes + 1
    return 0.0


def logged(settings: Settings) -> int:
    """How many events market.events holds; 0 while Kafka is away."""
    client = kafka.consumer(settings, group="chaos-look")
    try:
        numbers = range(settings.kafka_partitions)
        return sum(kafka.watermarks(client, TopicPartition(EVENTS_TOPIC, number))[1] for number in numbers)
    except LakeError:
        return 0
    finally:
        client.close()


def first_trades(settings: Settings) -> dict[str, tuple[int, datetime]]:
    """Per symbol, the first trade's id and time in bronze; to be asked before anything is taken from it."""
    questdb = QuestDB(settings)
    rows = questdb.rows("SELECT symbol, min(trade_id), min(ts) FROM bronze_trades")
    questdb.close()
    return {symbol: (trade_id, ts) for symbol, trade_id, ts in rows}


def missing_ids(settings: Settings, firsts: Mapping[str, tuple[int, datetime]], end: datetime) -> int:
    """How many trades from the first ones up to ``end`` bronze still lacks."""
    questdb, market, missing = QuestDB(settings), market_of(settings), 0
    for symbol, (first, start) in firsts.items():
        held = questdb.frame(f"SELECT trade_id FROM bronze_trades WHERE symbol = {bronze.text(symbol)}")
        wanted = expected_trades(market, symbol, first, start, end).select("trade_id")
        missing += wanted.join(held, on="trade_id", how="anti").height
    questdb.close()
    return missing


def feed_behind(settings: Settings, end: datetime) -> bool:
    """Whether some symbol's newest quote is older than ``end``: a late feed still brings what came before."""
    questdb = QuestDB(settings)
    newest = dict(questdb.rows("SELECT symbol, max(ts) FROM bronze_quotes"))
    questdb.close()
    return any(symbol not in newest or newest[symbol] < end for symbol in settings.symbols)


def judge(settings: Settings, faults: Sequence[Inflicted], log: pl.DataFrame, end: datetime) -> Verdict:
    """Compares everything with the market and the ``log``; the feed has stopped, all is committed."""
    verdict = Verdict()
    questdb = QuestDB(settings)
    questdb.wait_applied([*bronze.TABLES, "silver_features"])
    verdict.events = log.height
    held = {symbol: bronze.events(questdb, f"symbol = {bronze.text(symbol)}") for symbol in settings.symbols}
    market = market_of(settings)
    killed = [fault.at for fault in faults if fault.kind in ("kill", "pair") and "producer" in fault.targets]
    for symbol, events in held.items():
        mine = log.filter(pl.col("symbol") == symbol).sort("seq")
        first = mine.filter(pl.col("type") == "trade").select(pl.col("trade_id").min(), pl.col("ts").min()).row(0)
        _trades(verdict, market, symbol, events.filter(pl.col("type") == "trade"), first, end)
        for kind, names in (("quote", QUOTE_FIELDS), ("gap", GAP_FIELDS)):
            _as_logged(verdict, events.filter(pl.col("type") == kind), mine.filter(pl.col("type") == kind), names)
        _out_of_sight(verdict, market, symbol, mine, end)
        _gaps(verdict, symbol, mine, killed)
    _silver(verdict, settings, questdb, held)
    candles = wrong_candles(questdb)
    verdict.candles_wrong = len(candles)
    verdict.notes += candles[:3]
    questdb.close()
    return verdict


def log_events(settings: Settings) -> pl.DataFrame:
    """Everything in market.events that the consumer should have taken."""
    found = whole(settings, EVENTS_TOPIC, "chaos-look")
    frames = [pl.DataFrame(schema=EVENT_SCHEMA)]
    for start in range(0, len(found), 50_000):
        raws = by_topic(found[start : start + 50_000])[EVENTS_TOPIC]
        frames.append(read(EVENTS_TOPIC, 1, raws, settings.future_tolerance_s)[0].events.select(list(EVENT_SCHEMA)))
    return pl.concat(frames)


def _trades(
    verdict: Verdict, market: Market, symbol: str, held: pl.DataFrame, first: tuple[int, datetime], end: datetime
) -> None:
    newest = held.select(pl.col("ts").max()).item() or end
    truth = expected_trades(market, symbol, *first, max(end, newest + TIME_SKEW))
    due = truth.filter(pl.col("ts") <= end)
    verdict.trades_lost += due.join(held, on="trade_id", how="anti").height
    verdict.trades_doubled += held.height - held["trade_id"].n_unique()
    both = held.join(truth, on="trade_id", how="left", suffix="_true")
    close = (pl.col("ts") - pl.col("ts_true")).is_between(-TIME_SKEW, TIME_SKEW)
    equal = pl.all_horizontal(pl.col(name) == pl.col(f"{name}_true") for name in ("price", "qty", "side"))
    wrong = both.filter(~(close & equal).fill_null(False))
    verdict.trades_wrong += wrong.height
    verdict.notes += [str(row) for row in wrong.select("symbol", "trade_id", "ts", "ts_true", "price").head(3).rows()]


def _as_logged(verdict: Verdict, held: pl.DataFrame, log: pl.DataFrame, names: list[str]) -> None:
    """Quotes, or gaps: each that reached the log is in bronze once and unchanged."""
    verdict.quotes_doubled += held.height - held["seq"].n_unique()
    verdict.quotes_lost += log.join(held, on="seq", how="anti").height
    extra = held.select(names).join(log.select(names), on=names, how="anti", nulls_equal=True)
    verdict.quotes_wrong += extra.height
    verdict.notes += [str(row) for row in extra.head(3).rows()]


def unseen_quotes(market: Market, symbol: str, log: pl.DataFrame, end: datetime) -> pl.DataFrame:
    """The times of the market's quotes that are not in the log, from its first one to ``end``."""
    quotes = log.filter(pl.col("type") == "quote")
    first = quotes.select(pl.col("ts").min()).row(0)[0]
    told = pl.Series("ts", market.quotes(symbol, first, end).ts).cast(pl.Datetime("us", "UTC"))
    return told.to_frame().join(quotes, on="ts", how="anti")


def _out_of_sight(verdict: Verdict, market: Market, symbol: str, log: pl.DataFrame, end: datetime) -> None:
    """Each quote of the market that is not in the log must lie within a gap: from the last quote before to the next.

    A lost quote may have overtaken the first one after it, so it is older than the second at most.
    """
    ticker = log.filter((pl.col("type") == "quote") | (pl.col("stream") == "ticker"))
    quotes = ticker.filter(pl.col("type") == "quote")
    unseen = unseen_quotes(market, symbol, log, end)
    last = pl.when(pl.col("type") == "quote").then("ts").cum_max().forward_fill().alias("last")
    come = (ticker["type"] == "quote").cum_sum()
    second = quotes["ts"].gather((come + 1).clip(0, quotes.height - 1))
    gaps = ticker.with_columns(last, second.alias("second")).filter(pl.col("type") == "gap")
    spans = gaps.select(pl.col("last").fill_null(pl.col("ts")) - OVERTAKEN, pl.max_horizontal("ts", "second")).rows()
    if gaps.height and not str(gaps["reason"][-1]).endswith(": over"):
        spans.append((gaps["ts"][-1] - OVERTAKEN, end))
    verdict.out_of_sight += unseen.height
    for since, until in spans:
        unseen = unseen.filter(~pl.col("ts").is_between(since, until))
    verdict.out_of_sight -= unseen.height
    verdict.gaps_missing += unseen.height
    verdict.notes += [f"{symbol}: quote of {ts} neither came nor was missed" for ts in unseen["ts"].head(3)]


def _gaps(verdict: Verdict, symbol: str, log: pl.DataFrame, kills: Sequence[datetime]) -> None:
    """After each kill of the producer, the first quote must come after a gap in the log."""
    ticker = log.filter((pl.col("type") == "quote") | (pl.col("stream") == "ticker"))
    for at in kills:
        after = ticker.filter(pl.col("received_at") > at)
        if after.height and after.item(0, "type") != "gap":
            verdict.gaps_missing += 1
            verdict.notes.append(f"{symbol}: no gap after {at}, but {after.row(0, named=True)['received_at']}")


def _silver(verdict: Verdict, settings: Settings, questdb: QuestDB, held: dict[str, pl.DataFrame]) -> None:
    """Live rows against one offline fold of bronze in log order."""
    config = engine_config(settings, questdb)
    for symbol, events in held.items():
        rows = questdb.frame(f"SELECT * FROM silver_features WHERE symbol = {bronze.text(symbol)} AND origin = 'live'")
        expected = fold(EngineState.empty(config), events.sort("epoch", "seq"))[1]
        keys = ["epoch", "seq"]
        verdict.silver_doubled += rows.height - rows.select(keys).n_unique()
        verdict.silver_lost += expected.join(rows, on=keys, how="anti").height
        verdict.silver_wrong += rows.join(expected, on=keys, how="anti").height
        both = rows.unique(keys).join(expected, on=keys, how="inner", suffix="_true")
        ours = both.select(NAMES).fill_null(float("nan")).to_numpy()
        theirs = both.select(f"{name}_true" for name in NAMES).to_numpy()
        close = np.isclose(ours, theirs, rtol=1e-9, atol=0.0, equal_nan=True).all(axis=1)
        wrong = both.filter(pl.Series(~close) | (pl.col("complete") != pl.col("complete_true")))
        verdict.silver_wrong += wrong.height
        verdict.notes += [f"silver {symbol} {row}" for row in wrong.select("ts", *keys).head(3).rows()]
