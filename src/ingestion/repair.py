"""Repairs the lake, by hand or on a schedule: fetches trades still missing and rebuilds the affected silver rows."""

import argparse
import logging
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from ingestion.backfill.__main__ import main as backfill
from ingestion.completeness.id_gaps import Hole
from ingestion.completeness.ledger_gaps import open_holes
from ingestion.silver.engine_config import engine_config
from ingestion.silver.rebuild import merged
from ingestion.silver.stale_rows import MINUTE, renew
from lakehouse import command
from lakehouse.errors import FatalError, NothingToDoError, RetryableError
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


def repair(settings: Settings, symbols: Sequence[str], now: datetime) -> list[RepairReport]:
    """Fills holes older than `SETTLE` through the history topic, then rebuilds rows that were served without them.

    Raises:
        RetryableError: a server is down, or the exchange did not return everything; run it again.
        NothingToDoError: there are no trades yet.
    """
    with closing(QuestDB(settings)) as questdb:
        if not questdb.rows("SELECT 1 FROM bronze_trades LIMIT 1"):
            raise NothingToDoError("bronze holds no trades yet: is the lake up? scripts/status.sh")
        return [_repair_symbol(settings, questdb, symbol, now) for symbol in symbols]


def _repair_symbol(settings: Settings, questdb: QuestDB, symbol: str, now: datetime) -> RepairReport:
    config = engine_config(settings, questdb)
    dense = symbol not in config.sparse
    holes = [hole for hole in open_holes(questdb, symbol) if hole.before < now - SETTLE] if dense else []
    for start, end in merged([(hole.after, hole.before + MINUTE) for hole in holes]):
        log.info("%s: fetching the trades of %s to %s again", symbol, start, end)
        span = ["--since", start.isoformat(), "--until", end.isoformat()]
        if backfill(["--symbol", symbol, *span]) != 0:
            raise RetryableError(f"{symbol}: the trades of {start} to {end} could not be fetched; see above")
    rows = renew(questdb, config, symbol, now)
    left = [hole for hole in open_holes(questdb, symbol) if hole.before < now - SETTLE] if holes else []
    return RepairReport(symbol, _ids(holes), _ids(left), rows)


def _ids(holes: Sequence[Hole]) -> int:
    return sum(hole.size for hole in holes)


def repaired(settings: Settings) -> list[RepairReport]:
    """Runs `repair` for every symbol; called by the command and the DAG.

    Raises:
        FatalError: ids are still missing.
    """
    reports = repair(settings, settings.symbols, datetime.now(UTC))
    if left := sum(report.missing_after for report in reports):
        raise FatalError(f"{left} trade ids are still missing: {reports}")
    return reports


def main() -> None:
    """``python -m ingestion.repair``: repairs every symbol; the reports as JSON on stdout."""
    argparse.ArgumentParser(prog="python -m ingestion.repair", description=__doc__).parse_args()
    command.run("repair", repaired)


if __name__ == "__main__":
    main()
