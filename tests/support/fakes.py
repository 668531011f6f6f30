"""Stand-ins for the consumer's servers, in memory: they note each step and fail where a test says so."""

import re
import threading
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import polars as pl

from features.table import SILVER
from ingestion.kafka_log.batches import DeadLetter
from ingestion.kafka_log.dead_letter_writer import DeadLetterWriter
from lakehouse.errors import LakeError, PoisonError
from lakehouse.records import FeatureRow
from lakehouse.schema import BRONZE_GAPS, BRONZE_QUOTES, BRONZE_TRADES, META_RETENTION, ColumnType, Table
from lakehouse.stores.questdb import QuestDB
from lakehouse.stores.redis import Channel, Redis, SentRow

_TYPES: dict[ColumnType, pl.DataType] = {
    "TIMESTAMP": pl.Datetime("us", "UTC"),
    "SYMBOL": pl.String(),
    "VARCHAR": pl.String(),
    "LONG": pl.Int64(),
    "INT": pl.Int64(),
    "DOUBLE": pl.Float64(),
    "BOOLEAN": pl.Boolean(),
}
_TABLES = (BRONZE_TRADES, BRONZE_QUOTES, BRONZE_GAPS, SILVER, META_RETENTION)
_HOURLY = re.compile(r"SELECT ts, (.*) SAMPLE BY 1h")


class Steps:
    """What the fakes were asked to do, in order; a step fails with the errors planned for it, one each time."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self._errors: defaultdict[str, list[LakeError]] = defaultdict(list)

    def fail(self, step: str, *errors: LakeError) -> None:
        """Plans errors for the next calls of a step: a table's name, ``redis`` or ``letters``."""
        self._errors[step] += errors

    def take(self, step: str) -> None:
        """Notes a step, or raises the next error planned for it."""
        if self._errors[step]:
            raise self._errors[step].pop(0)
        self.done.append(step)


class FakeQuestDB(QuestDB):
    """Tables in memory with QuestDB's deduplication; answers the consumer's queries with polars' SQL.

    Attributes:
        poison: (table, seq) of rows that the server refuses, each with the whole write it is in.
    """

    def __init__(self, steps: Steps) -> None:
        self.poison: set[tuple[str, int]] = set()
        self._steps = steps
        self._lock = threading.Lock()
        self._tables = {t.name: pl.DataFrame(schema={c.name: _TYPES[c.type] for c in t.columns}) for t in _TABLES}

    def __getitem__(self, table: str) -> pl.DataFrame:
        """The rows of a table, by time."""
        return self._tables.get(table, pl.DataFrame()).sort("ts")

    def write(self, table: Table, frame: pl.DataFrame) -> None:
        """Keeps all rows, or none."""
        with self._lock:
            self._steps.take(table.name)
            if "seq" in frame.columns and any((table.name, seq) in self.poison for seq in frame["seq"]):
                raise PoisonError("refused", f"{table.name}: field value is invalid")
            held = self._tables.get(table.name, frame.clear())
            both = pl.concat([held, frame.select(held.columns).cast(held.schema)])
            self._tables[table.name] = both.unique(table.keys, keep="last", maintain_order=True)

    def frame(self, sql: str) -> pl.DataFrame:
        """The result of a query."""
        hourly = _HOURLY.fullmatch(sql)
        if hourly:
            counted = hourly[1].replace("count_distinct(trade_id)", "count(DISTINCT trade_id)")
            sql = f"SELECT date_trunc('hour', ts) ts, {counted} GROUP BY date_trunc('hour', ts)"
        return pl.SQLContext(self._tables, eager=True).execute(sql)

    def rows(self, sql: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """The result of a query without parameters."""
        assert not parameters
        return self.frame(sql).rows()

    def wait_applied(self, tables: Iterable[str], timeout_s: float = 60.0) -> None:
        """Rows are visible at once."""


class FakeRedis(Redis):
    """The newest row of each symbol, never an older one over a newer, and the rows published."""

    def __init__(self, steps: Steps) -> None:
        self.published: list[FeatureRow] = []
        self._newest: dict[str, tuple[int, int]] = {}
        self._steps = steps

    def publish(self, channel: Channel[SentRow], rows: Sequence[SentRow]) -> None:
        """Publishes each row that is not older than its symbol's newest."""
        self._steps.take("redis")
        for row in rows:
            assert isinstance(row, FeatureRow)
            place = (row.epoch, row.seq)
            if place >= self._newest.get(row.symbol, place):
                self._newest[row.symbol] = place
                self.published.append(row)


class FakeLetters(DeadLetterWriter):
    """The dead letters that Kafka acknowledged."""

    def __init__(self, steps: Steps) -> None:
        self.sent: list[DeadLetter] = []
        self._steps = steps

    def send(self, letters: Sequence[DeadLetter]) -> None:
        """Acknowledges all letters, or none."""
        self._steps.take("letters")
        self.sent += letters


class Impatient(threading.Event):
    """An event that nobody waits for: `wait` returns at once, so that retries take no time.

    Args:
        waits: the event sets itself when it has been waited for so many times.
    """

    def __init__(self, waits: int = 100) -> None:
        super().__init__()
        self.waits = waits
        self._left = waits

    def wait(self, timeout: float | None = None) -> bool:
        """Whether the event is set."""
        self._left -= 1
        if self._left == 0:
            self.set()
        return self.is_set()
