"""A backfill's queries to the lake: what bronze holds, which ids are dense, how far the consumer is."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

import polars as pl
from confluent_kafka import Consumer, TopicPartition
from tqdm import tqdm

from ingestion.backfill.progress import ends
from ingestion.completeness.held_spans import HeldSpan, Minute, held_spans
from lakehouse.errors import FatalError, RetryableError
from lakehouse.process import retrying
from lakehouse.schema import META_SYMBOLS
from lakehouse.settings import HISTORY_TOPIC, Settings
from lakehouse.stores import kafka
from lakehouse.stores.bronze import within
from lakehouse.stores.questdb import QuestDB

log = logging.getLogger(__name__)

POLL_S = 0.5
PATIENCE_S = 3.0
T = TypeVar("T")


class HeldHistory:
    """Queries about history already in the lake.

    Args:
        committed: a client of the consumers' group, used only to read its committed offsets.
    """

    def __init__(self, settings: Settings, questdb: QuestDB, committed: Consumer, stop: threading.Event) -> None:
        self._settings = settings
        self._questdb = questdb
        self._committed = committed
        self._admin = kafka.admin(settings)
        self._stop = stop

    def wait_landed(self) -> None:
        """Waits until bronze holds everything in the history log; warns if no consumer is running.

        Raises:
            RetryableError: told to stop.
        """
        goal = self._ask(lambda: ends(self._committed))
        left = total = self._ask(lambda: self._behind(goal))
        moved = time.monotonic()
        with tqdm(desc="Kafka → bronze", total=total, unit=" rows", disable=not total) as bar:
            while left:
                if time.monotonic() - moved > PATIENCE_S and not self._consumers():
                    bar.set_postfix_str("no consumer is running: start it with tradelake up")
                if self._stop.wait(POLL_S):
                    raise RetryableError("told to stop before bronze holds everything; run this again to go on")
                now = self._ask(lambda: self._behind(goal))
                if now != left:
                    bar.set_postfix_str("")
                    moved = time.monotonic()
                bar.update(left - now)
                left = now
        self._ask(lambda: self._questdb.wait_applied(("bronze_trades", "bronze_quotes")))

    def check_new_quotes(self, symbol: str, row: dict[str, object], name: str) -> None:
        """Refuses a file of quotes that bronze already holds although no record of loading it exists.

        Quotes have no ids, so duplicates could not be detected downstream.

        Raises:
            FatalError: bronze holds its first quote.
        """
        found = self._rows(
            "SELECT count() FROM bronze_quotes "
            "WHERE symbol = %s AND ts = %s AND bid = %s AND ask = %s AND source = 'file'",
            (symbol, row["ts"], row["bid"], row["ask"]),
        )
        if found and found[0][0]:
            raise FatalError(
                f"bronze holds the first quote of {name} already, but the record of how far it was loaded is gone from "
                f"{self._settings.state_dir / 'backfill'}: quotes have no ids, loading them again would double them"
            )

    def note_density(self, symbol: str, dense: bool) -> None:
        """Records whether a symbol's ids are dense, unless known; live symbols are dense, as Kraken guarantees."""
        known = self._rows("SELECT count() FROM meta_symbols WHERE symbol = %s", (symbol,))
        if known[0][0] or symbol in self._settings.symbols:
            return
        row = {"ts": [datetime.now(UTC)], "symbol": [symbol], "dense": [dense]}
        frame = pl.DataFrame(row, schema_overrides={"ts": pl.Datetime("us", "UTC")})
        self._ask(lambda: self._questdb.write(META_SYMBOLS, frame))
        self._ask(lambda: self._questdb.wait_applied((META_SYMBOLS.name,)))
        log.info("%s: trade ids are %s", symbol, "dense" if dense else "not dense: completeness cannot be proved")

    def held(self, symbol: str, since: datetime, until: datetime) -> list[HeldSpan]:
        """The time spans in which bronze holds every trade."""
        rows = self._rows(
            "SELECT ts, first_id, last_id, ids FROM bronze_minutes "
            f"WHERE {within(symbol, since, until)} AND ids > 0 ORDER BY ts"
        )
        return held_spans(Minute(*row) for row in rows)

    def _behind(self, goal: dict[str, int]) -> int:
        """The number of messages in the history log not yet committed by the consumers."""
        partitions = [TopicPartition(HISTORY_TOPIC, int(p)) for p in goal]
        found = kafka.committed(self._committed, partitions)
        new = [p for p in partitions if found[HISTORY_TOPIC, p.partition] is None]
        starts = {p.partition: kafka.watermarks(self._committed, p)[0] for p in new}
        places = {p: found[HISTORY_TOPIC, int(p)] for p in goal}
        return sum(max(0, end - (starts[int(p)] if (at := places[p]) is None else at)) for p, end in goal.items())

    def _consumers(self) -> int:
        """The number of consumers in the group; 0 while Kafka is down."""
        try:
            return kafka.members(self._admin)
        except RetryableError:
            return 0

    def _rows(self, sql: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        return self._ask(lambda: self._questdb.rows(sql, parameters))

    def _ask(self, step: Callable[[], T]) -> T:
        """Queries a server, retrying while it is down."""
        return retrying(step, self._stop, "asking the lake")
