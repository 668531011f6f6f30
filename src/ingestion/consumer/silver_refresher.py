"""Background thread that rebuilds silver rows invalidated by late trades, for the partitions this consumer owns."""

import logging
import os
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from ingestion.consumer import metrics
from ingestion.silver.engine_config import engine_config
from ingestion.silver.stale_rows import renew
from lakehouse.errors import LakeError, RetryableError
from lakehouse.settings import Settings
from lakehouse.stores.questdb import QuestDB

log = logging.getLogger(__name__)
EVERY_S = 600.0
NICE = 10


class SilverRefresher:
    """Runs in its own thread at a lower CPU priority than the live path.

    Args:
        owned: returns the symbols this process owns at the moment.
        stop: ends the thread, even during a rebuild: readers ignore unfinished runs.
    """

    def __init__(self, settings: Settings, owned: Callable[[], Sequence[str]], stop: threading.Event) -> None:
        self._settings = settings
        self._owned = owned
        self._stop = stop

    def run(self, every_s: float = EVERY_S) -> None:
        """Runs the rounds; the first one after one interval, when the producer has had time to fill holes."""
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
        questdb = QuestDB(self._settings)
        while not self._stop.wait(every_s):
            for symbol in self._owned():
                try:
                    metrics.RENEWED.labels(symbol).inc(self.mend(questdb, symbol))
                except LakeError as error:
                    log.info("%s: silver not refreshed this time: %s", symbol, error)
        questdb.close()

    def mend(self, questdb: QuestDB, symbol: str) -> int:
        """Rebuilds a symbol's stale rows; returns how many were written."""
        return renew(questdb, engine_config(self._settings, questdb), symbol, datetime.now(UTC), self._go_on)

    def _go_on(self, _done: timedelta) -> None:
        if self._stop.is_set():
            raise RetryableError("stopping")
