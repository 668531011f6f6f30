"""The witness: looks at the lake from outside every two seconds, and collects what it has said."""

import logging
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import polars as pl

from lakehouse.errors import LakeError
from lakehouse.settings import DEADLETTER_TOPIC, Settings
from lakehouse.stores.kafka_reading import whole
from lakehouse.stores.questdb import QuestDB
from stack.commands.status_report import probe_error
from stack.layout import layout
from stack.supervision.process_table import processes
from tests.chaos.told import STALE_S, Stale, Told

log = logging.getLogger(__name__)
EVERY_S = 2.0
READ = ("bronze_quotes", "silver_features")
_LINE = re.compile(r"^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z) (WARNING|ERROR) (.*)$", re.MULTILINE)
# Said as a warning because the consumer helps itself; it tells that QuestDB had lost rows.
_REREADS = "reading again"


@dataclass
class Witness:
    """What was seen: probes that failed, and tables that were away or old."""

    settings: Settings
    names: tuple[str, ...]
    told: list[Told] = field(default_factory=list)
    stale: list[Stale] = field(default_factory=list)

    def look(self, pool: ThreadPoolExecutor) -> None:
        """Probes every process as ``tradelake status`` does, and asks for the newest rows as a reader does."""
        table = [p for p in processes(self.settings, layout(self.settings), full=True) if p.name in self.names]
        for process, error in zip(table, pool.map(lambda p: probe_error(p.probe, self.settings), table), strict=True):
            if error is not None:
                self.told.append(Told(datetime.now(UTC), process.name, "status", error))
        for name in (*READ, *(["gold_forecasts"] if "predictor" in self.names else [])):
            if not self._fresh(name):
                self.stale.append(Stale(datetime.now(UTC), name))

    def _fresh(self, table: str) -> bool:
        questdb = QuestDB(self.settings, timeout_s=5.0)
        try:
            # No row at all while the table is being dropped.
            newest = max((ts for (ts,) in questdb.rows(f"SELECT max(ts) FROM {table}") if ts), default=None)
        except LakeError:
            return False
        finally:
            questdb.close()
        return newest is not None and datetime.now(UTC) - newest < timedelta(seconds=STALE_S)


@contextmanager
def watching(witness: Witness) -> Iterator[None]:
    """Looks again and again on a thread of its own while the block lasts."""
    stop = threading.Event()

    def watch() -> None:
        with ThreadPoolExecutor(len(witness.names)) as probes:
            while not stop.wait(EVERY_S):
                witness.look(probes)

    with ThreadPoolExecutor(1, "witness") as pool:
        job = pool.submit(watch)
        try:
            yield
        finally:
            stop.set()
        job.result()


def log_lines(name: str, text: str) -> list[Told]:
    """The errors in a process's log, and the warnings that say that rows are read again."""
    found = [(at, text) for at, level, text in _LINE.findall(text) if level == "ERROR" or _REREADS in text]
    return [Told(datetime.fromisoformat(at), name, "log", text) for at, text in found]


def said(settings: Settings, names: tuple[str, ...], log_events: pl.DataFrame) -> list[Told]:
    """Errors in the logs, gaps in the event log, dead letters."""
    found = []
    for name in names:
        found += log_lines(name, (layout(settings).logs / f"{name}.log").read_text(errors="replace"))
    gaps = log_events.filter(pl.col("type") == "gap").select("received_at", "symbol", "reason").rows()
    found += [Told(at, symbol, "gap", reason) for at, symbol, reason in gaps]
    for message in whole(settings, DEADLETTER_TOPIC, "chaos-look"):
        at = datetime.fromtimestamp(message.timestamp()[1] / 1000, UTC)
        found.append(Told(at, "consumer", "dead letter", ""))
    return found
