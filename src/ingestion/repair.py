"""Repairs what is behind us: fetches trades that are still missing, and makes silver anew where late ones arrived."""

import argparse
import logging
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta

import orjson

from features.spec import COMPLETE_S, spec_hash
from ingestion.audit import open_holes
from ingestion.backfill.__main__ import main as backfill
from ingestion.gaps import Hole
from ingestion.rebuild import rebuild
from ingestion.restore import engine_config
from lakehouse.errors import LakeError, RetryableError
from lakehouse.process import set_up_logging
from lakehouse.settings import Settings, load_settings
from lakehouse.stores.bronze import instant, text
from lakehouse.stores.questdb import QuestDB

log = logging.getLogger(__name__)
# The producer refills by itself, and looks for what it missed every ten minutes: younger holes are its own.
SETTLE = timedelta(minutes=15)
LOOK_BACK = timedelta(days=7)
LATE_S = 30
MINUTE = timedelta(minutes=1)
REACH = timedelta(seconds=COMPLETE_S)
Span = tuple[datetime, datetime]


@dataclass(frozen=True, slots=True)
class Report:
    """Per symbol: ids that were missing before and still are, and silver rows made anew."""

    symbol: str
    missing_before: int
    missing_after: int
    rebuilt_rows: int


def repair(settings: Settings, symbols: Sequence[str], now: datetime) -> list[Report]:
    """Refills holes older than `SETTLE` through the history topic, then rebuilds rows that were served without them.

    Raises:
        RetryableError: a server is away, or the exchange did not give everything; run it again.
    """
    questdb = QuestDB(settings)
    try:
        return [_repair_symbol(settings, questdb, symbol, now) for symbol in symbols]
    finally:
        questdb.close()


def _repair_symbol(settings: Settings, questdb: QuestDB, symbol: str, now: datetime) -> Report:
    config = engine_config(settings, questdb)
    dense = symbol not in config.sparse
    holes = [hole for hole in open_holes(questdb, symbol) if hole.before < now - SETTLE] if dense else []
    for start, end in merged([(hole.after, hole.before + MINUTE) for hole in holes]):
        log.info("%s: asking for the trades of %s to %s again", symbol, start, end)
        span = ["--since", start.isoformat(), "--until", end.isoformat()]
        if backfill(["--symbol", symbol, *span]) != 0:
            raise RetryableError(f"{symbol}: the trades of {start} to {end} could not be fetched; see above")
    rows = 0
    for start, end in stale_spans(questdb, symbol, spec_hash(config), now):
        rows += rebuild(questdb, config, symbol, start, end)
    left = [hole for hole in open_holes(questdb, symbol) if hole.before < now - SETTLE] if holes else []
    return Report(symbol, _ids(holes), _ids(left), rows)


def stale_spans(questdb: QuestDB, symbol: str, spec: str, now: datetime) -> list[Span]:
    """Spans whose live rows were incomplete, whose holes were filled since, and that no rebuild has covered yet."""
    since = f"symbol = {text(symbol)} AND ts >= {instant(now - LOOK_BACK)}"
    incomplete = questdb.frame(
        f"SELECT DISTINCT timestamp_floor('m', ts) minute FROM silver_features "
        f"WHERE {since} AND origin = 'live' AND spec = {text(spec)} AND NOT complete"
    )["minute"]
    late = questdb.frame(
        f"SELECT timestamp_floor('m', ts) minute, max(received_at) arrived FROM bronze_trades "
        f"WHERE {since} AND received_at > dateadd('s', {LATE_S}, ts) GROUP BY minute"
    )
    holed = questdb.frame(f"SELECT ts minute FROM bronze_completeness WHERE {since} AND NOT complete")["minute"]
    runs = questdb.frame(
        f'SELECT run, start, "end" FROM meta_runs WHERE symbol = {text(symbol)} AND spec = {text(spec)}'
    )
    return choose(incomplete.to_list(), list(late.iter_rows()), holed.to_list(), list(runs.iter_rows()))


def choose(
    incomplete: Sequence[datetime],
    late: Sequence[tuple[datetime, datetime]],
    holed: Sequence[datetime],
    runs: Sequence[tuple[int, datetime, datetime]],
) -> list[Span]:
    """The spans of minutes to rebuild, merged; pure.

    Args:
        incomplete: minutes with live rows that were not complete.
        late: minutes that late trades belong to, and when the last of them arrived.
        holed: minutes that still miss trades.
        runs: finished rebuilds: number (start, microseconds since 1970), first and last time (exclusive).
    """
    chosen = []
    for minute in incomplete:
        arrived = [at for of, at in late if minute - REACH <= of <= minute]
        if not arrived or any(minute - REACH <= of <= minute for of in holed):
            continue
        begun = int(max(arrived).timestamp() * 1e6)
        if not any(run > begun and start <= minute and minute + MINUTE <= end for run, start, end in runs):
            chosen.append((minute, minute + MINUTE))
    return merged(chosen)


def merged(spans: Sequence[Span]) -> list[Span]:
    """Spans that overlap, touch or lie within an hour of each other as one: each costs a lead-in of a day.

    >>> at = datetime(2026, 9, 25, tzinfo=UTC)
    >>> len(merged([(at, at + MINUTE), (at + MINUTE, at + 2 * MINUTE), (at + REACH * 3, at + REACH * 4)]))
    2
    """
    found: list[Span] = []
    for start, end in sorted(spans):
        if found and start <= found[-1][1] + REACH:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((start, end))
    return found


def _ids(holes: Sequence[Hole]) -> int:
    return sum(hole.size for hole in holes)


def main() -> None:
    """``python -m ingestion.repair``: repairs every symbol; the reports as JSON on stdout."""
    argparse.ArgumentParser(prog="python -m ingestion.repair", description=__doc__).parse_args()
    try:
        settings = load_settings()
        set_up_logging(settings.log_level)
        reports = repair(settings, settings.symbols, datetime.now(UTC))
    except LakeError as error:
        sys.exit(f"repair failed: {error}")
    print(orjson.dumps([asdict(report) for report in reports]).decode())
    if left := sum(report.missing_after for report in reports):
        sys.exit(f"{left} trade ids are still missing")


if __name__ == "__main__":
    main()
