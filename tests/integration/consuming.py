"""What tests of the consumer need: a believable log, a consumer in a thread, and silver as an offline fold has it."""

import math
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
from confluent_kafka import TopicPartition

from features.engine import EngineState, fold
from features.spec import NAMES
from features.table import SILVER
from ingestion import consume
from ingestion.migrate import migrate
from ingestion.silver.engine_config import engine_config
from lakehouse.errors import LakeError
from lakehouse.messages import SCHEMA_HEADER, decode, encode
from lakehouse.records import Event, Gap, Quote, Side, Trade
from lakehouse.settings import EVENTS_TOPIC, HISTORY_TOPIC, Settings
from lakehouse.stores import kafka
from lakehouse.stores.kafka_reading import whole
from lakehouse.stores.questdb import QuestDB
from tests.integration.lakes import eventually

START = datetime(2026, 9, 1, 10, 0, tzinfo=UTC)
TABLES = ("bronze_trades", "bronze_quotes", "bronze_gaps", "silver_features")


def market(symbol: str, count: int, first: int = 0, step_ms: int = 200, seed: int = 1) -> list[Event]:
    """Events number ``first`` to ``first + count`` of a symbol; the same number is always the same event."""
    found: list[Event] = []
    for number in range(first, first + count):
        draw = np.random.default_rng((seed, number)).random(3).tolist()
        ts = START + timedelta(milliseconds=number * step_ms + 50 * draw[0])
        at, price = ts + timedelta(milliseconds=3), round(100 + math.sin(number / 50) + draw[1], 2)
        if number % 97 == 96:
            found.append(Gap(symbol, "ticker", ts, at, "reconnect"))
        elif number % 2:
            found.append(Quote(symbol, price, 1 + draw[2], price + 0.1, 2.0, ts, at, "sim", last=price))
        else:
            side: Side = "buy" if draw[2] > 0.5 else "sell"
            found.append(Trade(symbol, number // 2 + 1, price, 0.1 + draw[2], side, "limit", ts, at, "sim"))
    return found


def migrated(settings: Settings) -> Settings:
    """Makes the tables and topics."""
    questdb = QuestDB(settings)
    migrate(settings, questdb, kafka.admin(settings))
    questdb.close()
    return settings


def send(settings: Settings, events: Sequence[Event | bytes], topic: str = EVENTS_TOPIC, key: str = "") -> None:
    """Puts events (or raw values under ``key``) into the log, in order."""
    producer = kafka.producer(settings)
    for event in events:
        value, name = (event, key) if isinstance(event, bytes) else (encode(event), event.symbol)
        producer.produce(topic, value, key=name, headers=[SCHEMA_HEADER])
    assert producer.flush(20) == 0


@contextmanager
def consuming(settings: Settings) -> Iterator[list[LakeError]]:
    """Runs a consumer in a thread; yields the error that it ended with, if any."""
    stop = threading.Event()
    errors: list[LakeError] = []

    def run() -> None:
        try:
            consume.main(settings, stop)
        except LakeError as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield errors
    finally:
        stop.set()
        thread.join(30)
    assert not thread.is_alive(), "the consumer did not stop"


def wait_done(settings: Settings, timeout_s: float = 120.0) -> None:
    """Until the group has committed everything that is in the log."""
    client = kafka.consumer(settings)
    parts = [TopicPartition(t, n) for t in (EVENTS_TOPIC, HISTORY_TOPIC) for n in range(settings.kafka_partitions)]

    def done() -> bool:
        committed = kafka.committed(client, parts)
        ends = {(p.topic, p.partition): kafka.watermarks(client, p)[1] for p in parts}
        return all((committed[key] or 0) == end for key, end in ends.items())

    eventually(done, timeout_s)
    client.close()


def table(settings: Settings, name: str, order: str = "symbol, epoch, seq") -> pl.DataFrame:
    """All rows of a table."""
    questdb = QuestDB(settings)
    questdb.wait_applied(TABLES)
    found = questdb.frame(f"SELECT * FROM {name} ORDER BY {order}")
    questdb.close()
    return found


def log_of(settings: Settings, topic: str = EVENTS_TOPIC) -> pl.DataFrame:
    """Everything in a topic as events, per partition in log order (good values only)."""
    found = whole(settings, topic, "look")
    partitions = [[m for m in found if m.partition() == number] for number in range(settings.kafka_partitions)]
    return pl.concat(decode([m.value() or b"" for m in part], 1, [m.offset() for m in part]) for part in partitions)


def offline(settings: Settings, events: pl.DataFrame) -> pl.DataFrame:
    """The silver rows that one fold of these events gives, each trade once."""
    questdb = QuestDB(settings)
    state = EngineState.empty(engine_config(settings, questdb))
    questdb.close()
    trades = pl.col("type") == "trade"
    once = events.filter(~trades | pl.struct("type", "symbol", "trade_id").is_first_distinct())
    return fold(state, once)[1].sort("symbol", "seq")


def assert_same_rows(found: pl.DataFrame, expected: pl.DataFrame) -> None:
    """Silver rows equal an offline fold's: the same rows, values within 1e-9 relative, NULL where it has NaN."""
    assert found.select("symbol", "seq").equals(expected.select("symbol", "seq"))
    assert found["complete"].to_list() == expected["complete"].to_list()
    ours, theirs = (frame.select(NAMES).fill_null(float("nan")).to_numpy() for frame in (found, expected))
    np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=0, equal_nan=True)
    assert set(SILVER.names) <= set(found.columns)
