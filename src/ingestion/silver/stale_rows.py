"""Finds silver rows that were served without late trades and rebuilds them from bronze."""

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta

from features.spec import COMPLETE_S, EngineConfig, spec_hash
from ingestion.silver.rebuild import ProgressCallback, TimeSpan, merged, rebuild
from lakehouse.stores.bronze import instant, text
from lakehouse.stores.questdb import QuestDB

log = logging.getLogger(__name__)
LOOK_BACK = timedelta(days=7)
LATE_S = 30
MINUTE = timedelta(minutes=1)
MICROSECOND = timedelta(microseconds=1)
REACH = timedelta(seconds=COMPLETE_S)


def renew(
    questdb: QuestDB, config: EngineConfig, symbol: str, now: datetime, progress: ProgressCallback | None = None
) -> int:
    """Rebuilds the symbol's stale spans, then days made by earlier definitions; returns the number of rows written.

    Raises:
        RetryableError: QuestDB is down; the next call finds what is left.
    """
    spec = spec_hash(config)
    spans = [*stale_spans(questdb, symbol, spec, now), *outdated_spans(questdb, symbol, spec)]
    return sum(rebuild(questdb, config, symbol, start, end, progress) for start, end in spans)


def outdated_spans(questdb: QuestDB, symbol: str, spec: str) -> list[TimeSpan]:
    """Spans of live rows made by earlier feature definitions that no finished rebuild covers, newest day first."""
    mine = f"symbol = {text(symbol)}"
    days = questdb.rows(
        "SELECT timestamp_floor('d', ts) day, min(ts), max(ts) FROM silver_features "
        f"WHERE {mine} AND origin = 'live' AND spec != {text(spec)} GROUP BY day ORDER BY day DESC"
    )
    if not days:
        return []
    today = (
        f"SELECT ts FROM silver_features WHERE {mine} AND origin = 'live' AND spec = {text(spec)} ORDER BY ts LIMIT 1"
    )
    current = next((ts for (ts,) in questdb.rows(today)), None)
    runs = merged(
        questdb.rows(f'SELECT start, "end" FROM meta_runs WHERE {mine} AND spec = {text(spec)}'), timedelta(0)
    )
    spans = [(first, min(last + MICROSECOND, current or last + MICROSECOND)) for _, first, last in days]
    return [(a, b) for a, b in spans if a < b and not any(start <= a and b <= end for start, end in runs)]


def stale_spans(questdb: QuestDB, symbol: str, spec: str, now: datetime) -> list[TimeSpan]:
    """Spans of incomplete live rows whose holes are filled by now and that no rebuild has covered yet."""
    since = f"symbol = {text(symbol)} AND ts >= {instant(now - LOOK_BACK)}"
    incomplete = questdb.frame(
        f"SELECT DISTINCT timestamp_floor('m', ts) minute FROM silver_features "
        f"WHERE {since} AND origin = 'live' AND spec = {text(spec)} AND NOT complete"
    )["minute"]
    late = questdb.frame(
        f"SELECT timestamp_floor('m', ts) minute, max(received_at) arrived FROM bronze_trades "
        f"WHERE {since} AND (source = 'rest' OR received_at > dateadd('s', {LATE_S}, ts)) GROUP BY minute"
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
) -> list[TimeSpan]:
    """The spans of minutes to rebuild, merged; pure.

    Args:
        incomplete: minutes with live rows that were not complete.
        late: minutes of late trades, and when the last of them arrived; rows emitted after that knew it.
        holed: minutes that still lack trades.
        runs: finished rebuilds: number (start, microseconds since 1970), first and last time (exclusive).
    """
    arrived_at, open_minutes, chosen = dict(late), set(holed), []
    for minute in incomplete:
        window = [minute - i * MINUTE for i in range(REACH // MINUTE + 1)]
        arrived = [arrived_at[of] for of in window if of in arrived_at and arrived_at[of] > minute]
        if not arrived or not open_minutes.isdisjoint(window):
            continue
        begun = int(max(arrived).timestamp() * 1e6)
        if not any(run > begun and start <= minute and minute + MINUTE <= end for run, start, end in runs):
            chosen.append((minute, minute + MINUTE))
    return merged(chosen)
