"""Days removed from QuestDB after a verified backup; rows for them are refused until they are restored."""

from datetime import UTC, date, datetime, time

import polars as pl

from lakehouse.schema import META_RETENTION
from lakehouse.stores.questdb import QuestDB

# Maximum age of a reader's copy of `dropped_days`; retention waits longer between announcing and dropping.
REFRESH_S = 60.0
REMEDY = "the day left QuestDB behind its backup: tradelake restore --day {day}, then send it again"


def dropped_days(questdb: QuestDB) -> dict[str, frozenset[date]]:
    """The UTC days removed from each table. Query again every `REFRESH_S`.

    Raises:
        RetryableError: the server is down.
    """
    rows = questdb.rows(f"SELECT table_name, ts FROM {META_RETENTION.name} WHERE dropped")
    return {table: frozenset(day.date() for name, day in rows if name == table) for table in {row[0] for row in rows}}


def behind(ts: pl.Series, days: frozenset[date]) -> pl.Series:
    """For each time, whether it falls on one of ``days``, so that its row must be refused with `REMEDY`.

    A row written to a removed day would recompute the day's candles from that row alone.
    """
    return ts.dt.date().is_in(list(days))


def note(questdb: QuestDB, table: str, days: list[date], dropped: bool, now: datetime) -> None:
    """Records that ``days`` are about to leave ``table`` or have been restored; returns when the record is visible."""
    frame = pl.DataFrame(
        {
            "ts": [datetime.combine(day, time(), UTC) for day in days],
            "table_name": [table] * len(days),
            "dropped": [dropped] * len(days),
            "changed_at": [now] * len(days),
        },
        schema_overrides={"ts": pl.Datetime("us", "UTC"), "changed_at": pl.Datetime("us", "UTC")},
    )
    questdb.write(META_RETENTION, frame)
    questdb.wait_applied([META_RETENTION.name])
