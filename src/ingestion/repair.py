"""Repairs the lake, by hand or on a schedule: fetches trades still missing and rebuilds the affected silver rows."""

import logging
import threading
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from ingestion.backfill.job import HistorySource, backfill
from ingestion.completeness.id_gaps import Hole
from ingestion.completeness.ledger_gaps import open_holes
from ingestion.silver.engine_config import engine_config
from ingestion.silver.rebuild import merged
from ingestion.silver.stale_rows import MINUTE, renew
from lakehouse.errors import FatalError, NothingToDoError
from lakehouse.settings import Settings
from lakehouse.stores.questdb import QuestDB

log = logging.getLogger(__name__)
# The producer fills holes itself and checks the ledger every ten minutes: leave younger holes to it.
SETTLE = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class RepairReport:
    """Per symbol: ids missing before and after, and silver rows rebuilt."""

    symbol: str
    missing_before: int
    missing_after: int
    rebuilt_rows: int


def repair(settings: Settings, symbols: Sequence[str], now: datetime, stop: threading.Event) -> list[RepairReport]:
    """Fills holes older than `SETTLE` through the history topic, then rebuilds rows that were served without them.

    Raises:
        RetryableError: a server is down, or the exchange did not return everything; run it again.
        NothingToDoError: there are no trades yet.
    """
    with closing(QuestDB(settings)) as questdb:
        if not questdb.rows("SELECT 1 FROM bronze_trades LIMIT 1"):
            raise NothingToDoError("bronze holds no trades yet: is the lake up? see tradelake status")
        return [_repair_symbol(settings, questdb, symbol, now, stop) for symbol in symbols]


def _repair_symbol(
    settings: Settings, questdb: QuestDB, symbol: str, now: datetime, stop: threading.Event
) -> RepairReport:
    config = engine_config(settings, questdb)
    dense = symbol not in config.sparse
    holes = [hole for hole in open_holes(questdb, symbol) if hole.before < now - SETTLE] if dense else []
    for start, end in merged([(hole.after, hole.before + MINUTE) for hole in holes]):
        log.info("%s: fetching the trades of %s to %s again", symbol, start, end)
        backfill(settings, HistorySource((symbol,), start, end), stop)
    rows = renew(questdb, config, symbol, now)
    left = [hole for hole in open_holes(questdb, symbol) if hole.before < now - SETTLE] if holes else []
    return RepairReport(symbol, _ids(holes), _ids(left), rows)


def _ids(holes: Sequence[Hole]) -> int:
    return sum(hole.size for hole in holes)


def repaired(settings: Settings, stop: threading.Event) -> list[RepairReport]:
    """Runs `repair` for every symbol; called by the command and the DAG.

    Raises:
        FatalError: ids are still missing.
    """
    reports = repair(settings, settings.symbols, datetime.now(UTC), stop)
    if left := sum(report.missing_after for report in reports):
        raise FatalError(f"{left} trade ids are still missing: {reports}")
    return reports
